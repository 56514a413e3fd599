-- Storage Commitment as SCU (PS3.4 annex J): an object that a destination stored and has not yet committed to keep is `stored`.
alter table delivery drop constraint delivery_state_check;
alter table delivery add constraint delivery_state_check check (state in ('pending','stored','delivered','dead'));
alter table delivery add column commitment_uid text;      -- Transaction UID (0008,1195) of the request that is waited for
create index on delivery (commitment_uid) where commitment_uid is not null;

-- Studies that we asked another archive for by C-MOVE: what arrives of them on our behalf counts for this source.
create table expected_transfer (
  study_instance_uid text primary key,
  source text not null,
  until timestamptz not null
);

-- What Instance Availability Notifications (PS3.4 annex R) said that there is of a study.
create table announced_instance (
  study_instance_uid text not null,
  series_instance_uid text not null,
  sop_instance_uid text not null,
  announced_at timestamptz not null default now(),
  primary key (study_instance_uid, sop_instance_uid)
);
