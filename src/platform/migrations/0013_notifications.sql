-- What administrators are told of, by rule. See src/notifications/.
create table notification (
  id bigint generated always as identity primary key,
  rule text not null,
  event text not null,
  key text not null,                       -- one thing that happened is told once by a rule
  study_instance_uid text,
  summary text not null,                   -- holds no patient data
  detail jsonb not null default '{}',
  state text not null default 'pending' check (state in ('pending','sent','dead','suppressed')),
  attempts int not null default 0,
  last_error text,
  created_at timestamptz not null default clock_timestamp(),
  sent_at timestamptz,
  unique (rule, key)
);
create index on notification (rule, created_at);
