-- Unified Procedure Steps (PS3.4 annex CC, PS3.18 chapter 11): analyses of ours, and what others ask each other for.
create table workitem (
  uid text primary key,                    -- SOP Instance UID
  state text not null check (state in ('SCHEDULED','IN PROGRESS','COMPLETED','CANCELED')),
  transaction_uid text,                    -- that of the one who has claimed it
  dataset jsonb not null,                  -- DICOM JSON
  study_instance_uid text,                 -- of an analysis of ours
  revision int,
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);
create index on workitem (study_instance_uid, revision);
create index on workitem (state, created_at);

create table workitem_subscription (
  ae_title text not null,
  uid text not null,                       -- of a workitem; '' for all of them
  deletion_lock boolean not null default false,
  primary key (ae_title, uid)
);
create index on workitem_subscription (uid);
