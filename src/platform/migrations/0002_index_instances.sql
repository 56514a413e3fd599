-- A row of what `index_instances` takes. The function stood here; it and `open_revisions` are those of 0015_index_known_studies.sql.

create type incoming_instance as (
  ordinal int,                       -- position in the batch, from 0
  study_instance_uid text,
  series_instance_uid text,
  sop_instance_uid text,
  sop_class_uid text,
  transfer_syntax_uid text,
  instance_number text,
  origin text,
  source text,
  revision int,                      -- of a result; received instances get theirs from the state of the study
  blob_key text,
  byte_length bigint,
  crc32 bigint,
  warning int,
  study jsonb,                       -- columns of study, for the first instance of each study in the batch
  series jsonb                       -- columns of series, likewise
);
