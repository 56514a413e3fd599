-- Who may use the console and the APIs. See src/admin/access/.
create table account (
  name text primary key,                         -- what is typed to sign in
  role text not null check (role in ('viewer','radiologist','operator','administrator')),
  password_hash text not null,                   -- argon2id
  totp_secret text,                              -- base32; a code is asked for once it is confirmed
  totp_confirmed boolean not null default false,
  totp_last_step bigint not null default 0,      -- a code is taken once
  failures int not null default 0,               -- in a row
  locked_until timestamptz,
  disabled boolean not null default false,
  created_at timestamptz not null default now(),
  signed_in_at timestamptz
);

create table api_token (
  id int generated always as identity primary key,
  name text not null,
  digest bytea not null unique,                  -- SHA-256 of the token
  scopes text[] not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);

create table session (
  digest bytea primary key,                      -- SHA-256 of the cookie
  name text not null,
  role text not null,
  kind text not null check (kind in ('account','oidc','token')),
  csrf text not null,
  id_token text,                                 -- of OpenID Connect, for signing out there
  created_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index on session (name);

-- A sign-in by OpenID Connect that has begun.
create table oidc_login (
  state text primary key,
  nonce text not null,
  verifier text not null,                        -- PKCE
  created_at timestamptz not null default now()
);
