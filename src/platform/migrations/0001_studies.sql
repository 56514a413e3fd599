-- A study as it was received, and what came of it. Terms are those of PS3.3; times are UTC.

create table study (
  study_instance_uid text primary key,
  revision int not null default 1,              -- the newest revision
  attributes jsonb not null,                    -- study and patient level attributes as DICOM JSON, of the first instance
  patient_id text,
  patient_name text,
  study_date text,
  study_time text,
  accession_number text,
  study_id text,
  referring_physician text,
  study_description text,
  inconsistent text,                            -- why the study may not be analysed (two patients in one study, …)
  received_at timestamptz not null default now(),
  last_instance_at timestamptz not null default now()
);
create index on study (study_date, study_instance_uid);
create index on study (patient_id);
create index on study (accession_number);
create index on study (received_at desc);

-- Revision N of a study is the set of received instances with instance.revision <= N.
create table study_revision (
  study_instance_uid text not null references study on delete cascade,
  revision int not null,
  state text not null default 'receiving'
    check (state in ('receiving','settled','analyzing','reporting','delivering','completed','failed','ignored','superseded')),
  reason text,
  evidence jsonb not null default '[]',         -- completeness: [{ kind: presumed | partial, reason, at }]
  settled_at timestamptz,
  finished_at timestamptz,
  changed_at timestamptz not null default now(),
  primary key (study_instance_uid, revision)
);
create index on study_revision (state);
create index on study_revision (finished_at) where finished_at is not null;

create table series (
  series_instance_uid text primary key,
  study_instance_uid text not null references study on delete cascade,
  modality text,
  series_number text,
  series_description text,
  attributes jsonb not null
);
create index on series (study_instance_uid);
create index on series (modality);

create table instance (
  sop_instance_uid text primary key,
  series_instance_uid text not null references series on delete cascade,
  study_instance_uid text not null references study on delete cascade,
  revision int not null,                        -- the revision that this instance opened or joined
  origin text not null check (origin in ('received','result')),
  source text,                                  -- which sender
  sop_class_uid text not null,
  transfer_syntax_uid text not null,
  instance_number text,
  blob_key text not null,
  byte_length bigint not null,
  crc32 bigint not null,                        -- CRC-32 of all bytes of the blob, to tell rot
  header jsonb not null,                        -- the data set as DICOM JSON, bulk data left out
  warning int,                                  -- Warning Reason (0008,1196) it was stored with
  received_at timestamptz not null default now()
);
create index on instance (study_instance_uid);
create index on instance (series_instance_uid);
create index on instance (sop_class_uid);

create table analysis (
  id bigint generated always as identity primary key,
  study_instance_uid text not null references study on delete cascade,
  revision int not null,
  route text not null,
  arm text not null default 'primary',
  provider text not null,
  choice text not null default 'primary' check (choice in ('primary','canary')),  -- why this provider
  status text not null check (status in ('running','findings','no-findings','not-applicable','incomplete','failed')),
  findings jsonb,
  requests int,                                 -- to a remote provider
  units double precision,                       -- that it counted
  error text,
  rejected jsonb,                               -- results that cannot be right, as they were answered
  progress jsonb,                               -- {done, of, findings}: images of the study and its priors
  waiting_since timestamptz,                    -- its provider is away
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  unique (study_instance_uid, revision, route, arm)
);

create table delivery (
  id bigint generated always as identity primary key,
  study_instance_uid text not null references study on delete cascade,
  revision int not null,
  sop_instance_uid text not null references instance on delete cascade,
  destination text not null,
  state text not null default 'pending' check (state in ('pending','delivered','dead')),
  attempts int not null default 0,
  first_attempt_at timestamptz,
  next_attempt_at timestamptz,
  delivered_at timestamptz,
  last_error text,
  unique (sop_instance_uid, destination)
);
create index on delivery (study_instance_uid);
create index on delivery (state) where state <> 'delivered';
create index on delivery (destination, delivered_at) where delivered_at is not null;

-- The timeline of a study. Details hold no patient data.
create table study_event (
  id bigint generated always as identity primary key,
  study_instance_uid text not null references study on delete cascade,
  revision int not null,
  kind text not null,
  detail jsonb not null default '{}',
  at timestamptz not null default clock_timestamp()
);
create index on study_event (study_instance_uid, id);

-- Running processes; each holds pg_advisory_lock(hashtext('radbridge.node'), id) for as long as it lives.
create table node (
  id int generated always as identity primary key,
  worker_ids text[] not null default '{}',
  started_at timestamptz not null default now()
);

create table setting (
  name text primary key,
  value text not null
);
