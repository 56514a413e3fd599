-- What radiologists say of a finding that was reported, or of one that was not found. The latest word counts.
create table verdict (
  study_instance_uid text not null references study on delete cascade,
  tracking_uid text not null,           -- of the finding; of a missed one a new UID
  revision int not null,                -- of the analysis that is judged
  verdict text not null check (verdict in ('true-positive', 'false-positive', 'missed')),
  at timestamptz not null default now(),
  primary key (study_instance_uid, tracking_uid)
);
