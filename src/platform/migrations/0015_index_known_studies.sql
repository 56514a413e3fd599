-- What receiving an instance costs the database: most of it was to read its header as jsonb and to compress it, and a good part statements that find nothing to do.

alter table instance add column attributes jsonb;     -- instance level attributes as DICOM JSON; what conditions ask for
update instance set attributes = coalesce((
  select jsonb_object_agg(key, value) from jsonb_each(header)
   where key in ('00080016', '00080018', '00080201', '00200013', '00280008', '00280010', '00280011', '00280100', '0040A040', '0040A493')), '{}');
alter table instance alter column attributes set not null;
-- The data set as DICOM JSON, bulk data left out: UTF-8, as it is or deflated. See src/archive/packedHeader.ts.
alter table instance alter column header type bytea using convert_to(header::text, 'UTF8');
alter table instance alter column header set storage external;
alter type incoming_instance add attribute attributes jsonb;

/*
 Puts a batch of instances into the index in one call, so that a commit costs one round trip however many there are. Rows are touched in the order of their UIDs, so that two nodes cannot
 block each other. See src/archive/indexInstances.ts. An instance of a study and a series that are there, as nearly each is, costs five statements instead of eleven.
 outcome: 'stored'; 'present' when this SOP Instance UID is there already, with stored_blob_key;
          'other-series', 'other-study' when its UID, or its series', is there in another place.
 quiet_seconds: a settle job is put so far ahead for each study that got a received instance; null for none.
*/
drop function if exists index_instances(jsonb, text[], double precision); -- of data folders from before
create function index_instances(instances jsonb, headers bytea[], quiet_seconds double precision)
returns table (ordinal int, outcome text, stored_blob_key text)
language plpgsql
-- Planning anew costs more than any of its statements. A plan that is made once and kept must not be one for the empty tables of the first day: rows are found by index.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  batch incoming_instance[];
  studies text[];
  touched text[];                    -- studies that got a received instance
  is_new boolean;
  stored int := 0;
  found int;
begin
  select array_agg(r order by r.sop_instance_uid, r.ordinal), array_agg(distinct r.study_instance_uid),
         array_agg(distinct r.study_instance_uid) filter (where r.origin = 'received')
    into batch, studies, touched
    from jsonb_populate_recordset(null::incoming_instance, instances) r;

  is_new := (select count(*) from study s where s.study_instance_uid = any (studies)) < cardinality(studies);
  loop
    if is_new then
      insert into study (study_instance_uid, attributes, patient_id, patient_name, study_date, study_time, accession_number,
                         study_id, referring_physician, study_description)
      select s.study_instance_uid, s.attributes, s.patient_id, s.patient_name, s.study_date, s.study_time, s.accession_number,
             s.study_id, s.referring_physician, s.study_description
        from (select * from unnest(batch) i where i.study is not null) i, jsonb_populate_record(null::study, i.study) s
       where not exists (select from series e where e.series_instance_uid = i.series_instance_uid
                                                and e.study_instance_uid <> i.study_instance_uid)
       order by s.study_instance_uid
          on conflict do nothing;
    end if;
    -- Settling and receiving of one study see each other one after the other.
    perform 1 from study s where s.study_instance_uid = any (studies) order by s.study_instance_uid for update;
    get diagnostics found = row_count;
    exit when is_new or found = cardinality(studies);
    is_new := true; -- one was deleted meanwhile
  end loop;

  if is_new then
    insert into study_revision (study_instance_uid, revision)
    select s.study_instance_uid, 1 from study s where s.study_instance_uid = any (studies)
        on conflict do nothing;
  end if;

  for attempt in 1 .. 2 loop
    if is_new or attempt = 2 then
      insert into series (series_instance_uid, study_instance_uid, modality, series_number, series_description, attributes)
      select e.series_instance_uid, i.study_instance_uid, e.modality, e.series_number, e.series_description, e.attributes
        from (select * from unnest(batch) i where i.series is not null) i, jsonb_populate_record(null::series, i.series) e
       where exists (select from study s where s.study_instance_uid = i.study_instance_uid)
       order by e.series_instance_uid
          on conflict do nothing;
    end if;

    return query
    with inserted as (
      insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, revision, origin, source, sop_class_uid,
                            transfer_syntax_uid, instance_number, blob_key, byte_length, crc32, attributes, header, warning)
      select i.sop_instance_uid, i.series_instance_uid, i.study_instance_uid,
             coalesce(i.revision, s.revision + case when v.state = 'receiving' then 0 else 1 end), i.origin, i.source, i.sop_class_uid,
             i.transfer_syntax_uid, i.instance_number, i.blob_key, i.byte_length, i.crc32,
             i.attributes, headers[i.ordinal + 1], i.warning
        from unnest(batch) i
        join series e on e.series_instance_uid = i.series_instance_uid and e.study_instance_uid = i.study_instance_uid
        join study s on s.study_instance_uid = i.study_instance_uid
        join study_revision v on v.study_instance_uid = s.study_instance_uid and v.revision = s.revision
          on conflict do nothing
      returning blob_key
    )
    select i.ordinal, 'stored', i.blob_key from unnest(batch) i where i.blob_key in (select blob_key from inserted);
    get diagnostics found = row_count;
    stored := stored + found;
    exit when is_new or stored = cardinality(batch);
  end loop;

  if stored < cardinality(batch) then
    -- Those that were there before this call, or earlier in the batch.
    return query
    select i.ordinal,
           case when p.sop_instance_uid is null then 'other-study'
                when p.study_instance_uid <> i.study_instance_uid or p.series_instance_uid <> i.series_instance_uid then 'other-series'
                else 'present' end,
           p.blob_key
      from unnest(batch) i left join instance p on p.sop_instance_uid = i.sop_instance_uid
     where p.blob_key is distinct from i.blob_key;

    select array_agg(distinct i.study_instance_uid) into touched
      from unnest(batch) i join instance p on p.blob_key = i.blob_key and p.sop_instance_uid = i.sop_instance_uid
     where i.origin = 'received';
  end if;
  if touched is null then return; end if;

  update study s set inconsistent = 'instances of two patients (Patient ID differs)'
    from unnest(batch) i
   where s.study_instance_uid = i.study_instance_uid and i.origin = 'received' and i.study is not null and s.inconsistent is null
     and coalesce(s.patient_id, '') <> coalesce(i.study ->> 'patient_id', '');

  perform open_revisions(touched, quiet_seconds);
end $$;

-- Notes that something arrived for these studies, opens the next revision of each that had settled, and puts off settling. A settle job
-- that was put off within the last tenth of the quiet period (a second at most) stays: it looks at last_instance_at and waits for the rest.
create or replace function open_revisions(studies text[], quiet_seconds double precision) returns void
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
  insert into study_revision (study_instance_uid, revision)
  select s.study_instance_uid, s.revision + 1
    from study s join study_revision v on v.study_instance_uid = s.study_instance_uid and v.revision = s.revision
   where s.study_instance_uid = any (studies) and v.state <> 'receiving';
  if found then
    update study s set revision = (select max(v.revision) from study_revision v where v.study_instance_uid = s.study_instance_uid)
     where s.study_instance_uid = any (studies);
  end if;

  update study s set last_instance_at = clock_timestamp() where s.study_instance_uid = any (studies);

  if quiet_seconds is not null then
    perform graphile_worker.add_job('settle', json_build_object('study', uid), job_key => 'settle:' || uid,
                                    run_at => clock_timestamp() + quiet_seconds * interval '1 second')
       from unnest(studies) uid
      where not exists (select from graphile_worker.jobs j
                         where j.key = 'settle:' || uid and j.locked_at is null
                           and j.run_at > clock_timestamp() + (quiet_seconds - least(1, quiet_seconds / 10)) * interval '1 second')
      order by uid;
  end if;
end $$;
