-- The share of a route's patients that goes to another provider, and why it is what it is. See src/pipeline/canary.ts.
create table canary (
  route text primary key,
  provider text not null,               -- another one in the configuration starts anew
  percent double precision not null,    -- without a ramp: the share
  cap double precision not null default 100,  -- the share is never more: lowered by failures
  frozen boolean not null default false,      -- nothing changes it but an administrator
  started_at timestamptz not null default now(),
  window_from timestamptz not null default now()  -- analyses since then are evaluated next
);

-- Every change of a share, with the numbers it was decided by.
create table canary_decision (
  id bigint generated always as identity primary key,
  route text not null,
  provider text not null,
  at timestamptz not null default clock_timestamp(),
  from_percent double precision not null,
  to_percent double precision not null,
  reason text not null,
  sample int,
  failures int
);
create index on canary_decision (route, id);

-- What came of each analysis by a canary's provider, also of those that were then done by the primary one.
create table canary_outcome (
  route text not null,
  study_instance_uid text not null,
  revision int not null,
  failed boolean not null,
  at timestamptz not null default clock_timestamp(),
  primary key (study_instance_uid, revision, route)
);
create index on canary_outcome (route, at);
