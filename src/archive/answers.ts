import type { DicomJson } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import { toJsonb } from '../platform/jsonText.js'
import type { BlobKey } from './blobStore.js'

/** An object that a provider of kind `dicom` sent back. UIDs are those that the provider knows. */
export interface Answer {
  /** Who sent it. */
  source: string
  studyInstanceUid: string
  sopInstanceUid: string
  sopClassUid: string
  blobKey: BlobKey
  header: DicomJson
}

/** Keeps an answer. @returns the blob that is not needed: that of an earlier one of the same SOP Instance UID */
export async function keepAnswer(db: Queryable, answer: Answer): Promise<BlobKey | undefined> {
  const { rows } = await db.query<{ old: BlobKey | null }>(
    `with old as (select blob_key from answer where source = $1 and sop_instance_uid = $3)
     insert into answer (source, study_instance_uid, sop_instance_uid, sop_class_uid, blob_key, header) values ($1, $2, $3, $4, $5, $6)
     on conflict (source, sop_instance_uid) do update
        set study_instance_uid = excluded.study_instance_uid, sop_class_uid = excluded.sop_class_uid, blob_key = excluded.blob_key,
            header = excluded.header, received_at = excluded.received_at
     returning (select blob_key from old) old`,
    [
      answer.source,
      answer.studyInstanceUid,
      answer.sopInstanceUid,
      answer.sopClassUid,
      answer.blobKey,
      toJsonb(answer.header),
    ],
  )
  return rows[0]?.old ?? undefined
}

/** How many objects have been answered about a study since then, and how long nothing more has come, seconds. */
export async function countAnswers(
  db: Queryable,
  source: string,
  studyInstanceUid: string,
  since: Date,
): Promise<{ count: number; quietFor: number }> {
  const { rows } = await db.query<{ count: number; quietFor: number }>(
    `select count(*)::int count, coalesce(extract(epoch from clock_timestamp() - max(received_at)), 0)::float8 "quietFor"
       from answer where source = $1 and study_instance_uid = $2 and received_at >= $3`,
    [source, studyInstanceUid, since],
  )
  return rows[0]!
}

/** The same objects, in the order in which they came. */
export async function answersSince(
  db: Queryable,
  source: string,
  studyInstanceUid: string,
  since: Date,
): Promise<Answer[]> {
  const { rows } = await db.query<Answer>(
    `select source, study_instance_uid "studyInstanceUid", sop_instance_uid "sopInstanceUid", sop_class_uid "sopClassUid", blob_key "blobKey", header
       from answer where source = $1 and study_instance_uid = $2 and received_at >= $3 order by received_at, id`,
    [source, studyInstanceUid, since],
  )
  return rows
}
