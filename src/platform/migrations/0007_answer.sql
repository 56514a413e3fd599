-- Objects that a provider of kind dicom sent back: read into findings, and no part of the archive.
create table answer (
  id bigint generated always as identity primary key,
  source text not null,                 -- who sent it
  study_instance_uid text not null,     -- as the provider knows it
  sop_instance_uid text not null,
  sop_class_uid text not null,
  blob_key text not null,
  header jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  unique (source, sop_instance_uid)
);
create index on answer (source, study_instance_uid);
