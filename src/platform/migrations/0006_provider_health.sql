-- Whether a provider was there, minute by minute: its health check answered as agreed, and its calls did not fail in a row.
create table provider_health (
  provider text not null,
  at timestamptz not null default now(),
  up boolean not null,
  problem text,
  primary key (provider, at)
);
