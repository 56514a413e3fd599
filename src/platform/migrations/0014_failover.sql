-- How often a job was in hand when its node died: a node that dies is not the job's failure, but one that takes nodes down must end. See src/platform/deadNodes.ts.
create table job_death (
  job_id bigint primary key,
  deaths int not null default 1,
  at timestamptz not null default now()
);

-- Of a node that is no longer there, a call counts no more. Null: of a version that did not say.
alter table provider_call add column node int;
create index on provider_call (node);

/* As the function of four arguments (0005), which a node of the version before still calls, and says whose call it is. */
create function begin_call(name text, most int, gap_seconds double precision, lease_seconds double precision, node_id int)
returns table (call bigint, wait_seconds double precision, away boolean)
language plpgsql as $$
declare
  begun record;
begin
  select * into begun from begin_call(name, most, gap_seconds, lease_seconds);
  update provider_call c set node = node_id where c.id = begun.call;
  return query select begun.call, begun.wait_seconds, begun.away;
end $$;

-- QIDO-RS gives the newest first, those without a date last.
create index on study (study_date desc nulls last, study_instance_uid);

-- Of a filtered subscription (uid '?'): the workitems that it is for, [{ tag, value }].
alter table workitem_subscription add column filter jsonb;
