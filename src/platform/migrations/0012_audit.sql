-- What was done, and by whom (PS3.15 A.5). Rows are only ever added; each holds the hash of the one before it. See src/platform/audit.ts.
create table audit (
  id bigint primary key,                         -- 1, 2, 3 … without gaps
  at timestamptz not null,
  event text not null,
  outcome text not null check (outcome in ('success','failure')),
  actor text not null,
  event_data jsonb not null,
  previous bytea not null,
  hash bytea not null
);
create index on audit (at);
create index on audit (event, id);
create index on audit (actor, id);

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the audit trail is only ever added to';
end $$;
create trigger audit_is_append_only before update or delete on audit for each row execute function audit_is_append_only();
create trigger audit_is_not_truncated before truncate on audit for each statement execute function audit_is_append_only();
