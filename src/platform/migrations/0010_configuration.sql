-- Endpoints as versioned documents: the newest is in force. See src/platform/configuration.ts.
create table configuration (
  version int primary key,                -- 1, 2, 3 …
  document json not null,                 -- as it was written, in its order, defaults left out; secrets are references
  author text not null,
  comment text not null default '',
  restores int,                           -- the earlier version that it brings back
  created_at timestamptz not null default clock_timestamp()
);
