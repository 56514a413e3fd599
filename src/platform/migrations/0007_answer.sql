-- Objects that a provider of kind dicom sent back: read into findings, and no part of the archive.
create table answer (
  id bigint generated always as identity primary key,
  provider text not null,
  study_instance_uid text not null,     -- as the provider knows it
  sop_instance_uid text not null,
  sop_class_uid text not null,
  blob_key text not null,
  header jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  unique (provider, sop_instance_uid)
);
create index on answer (provider, study_instance_uid);
