import type { DicomJson } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import type { BlobKey } from './blobStore.js'

/** A stored instance as the index knows it. */
export interface StoredInstance {
  sopInstanceUid: string
  sopClassUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  transferSyntaxUid: string
  blobKey: BlobKey
  byteLength: number
  origin: 'received' | 'result'
  header: DicomJson
}

const columns = `sop_instance_uid "sopInstanceUid", sop_class_uid "sopClassUid", study_instance_uid "studyInstanceUid",
  series_instance_uid "seriesInstanceUid", transfer_syntax_uid "transferSyntaxUid", blob_key "blobKey",
  byte_length "byteLength", origin, header`

/** The received instances that make up a revision of a study. */
export async function instancesOfRevision(db: Queryable, study: string, revision: number): Promise<StoredInstance[]> {
  const { rows } = await db.query<StoredInstance>(
    `select ${columns} from instance
      where study_instance_uid = $1 and revision <= $2 and origin = 'received' order by series_instance_uid, sop_instance_uid`,
    [study, revision],
  )
  return rows
}

/** Instances of a study, or of one series, or one instance of it. Empty if there is none. */
export async function findInstances(
  db: Queryable,
  level: { study: string; series?: string; instance?: string },
): Promise<StoredInstance[]> {
  const { rows } = await db.query<StoredInstance>(
    `select ${columns} from instance
      where study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
        and ($3::text is null or sop_instance_uid = $3)
      order by series_instance_uid, nullif(regexp_replace(instance_number, '[^0-9]', '', 'g'), '')::numeric, sop_instance_uid`,
    [level.study, level.series ?? null, level.instance ?? null],
  )
  return rows
}

/** The instances of these UIDs that are stored. */
export async function instancesByUid(db: Queryable, sopInstanceUids: readonly string[]): Promise<StoredInstance[]> {
  const { rows } = await db.query<StoredInstance>(`select ${columns} from instance where sop_instance_uid = any ($1)`, [
    sopInstanceUids,
  ])
  return rows
}

export async function findInstance(db: Queryable, sopInstanceUid: string): Promise<StoredInstance | undefined> {
  const { rows } = await db.query<StoredInstance>(`select ${columns} from instance where sop_instance_uid = $1`, [
    sopInstanceUid,
  ])
  return rows[0]
}
