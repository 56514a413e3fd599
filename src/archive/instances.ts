import type { DicomJson } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import type { BlobKey } from './blobStore.js'
import { headerText, withHeaders } from './packedHeader.js'

/** A stored instance as the index knows it. */
export interface StoredInstance {
  sopInstanceUid: string
  sopClassUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  transferSyntaxUid: string
  blobKey: BlobKey
  byteLength: number
  /** Of all its bytes. */
  crc32: number
  origin: 'received' | 'result'
  header: DicomJson
}

const columns = `sop_instance_uid "sopInstanceUid", sop_class_uid "sopClassUid", study_instance_uid "studyInstanceUid",
  series_instance_uid "seriesInstanceUid", transfer_syntax_uid "transferSyntaxUid", blob_key "blobKey",
  byte_length "byteLength", crc32, origin, header`

type Row = Omit<StoredInstance, 'header'> & { header: Buffer }

/** Instance Number is text that somebody wrote. */
const byNumber = `nullif(regexp_replace(instance_number, '[^0-9]', '', 'g'), '')::numeric`

/** The received instances that make up a revision of a study. */
export async function instancesOfRevision(db: Queryable, study: string, revision: number): Promise<StoredInstance[]> {
  const { rows } = await db.query<Row>(
    `select ${columns} from instance
      where study_instance_uid = $1 and revision <= $2 and origin = 'received' order by series_instance_uid, sop_instance_uid`,
    [study, revision],
  )
  return withHeaders(rows)
}

/** Instances of a study, or of one series, or one instance of it. Empty if there is none. */
export async function findInstances(
  db: Queryable,
  level: { study: string; series?: string; instance?: string },
): Promise<StoredInstance[]> {
  const { rows } = await db.query<Row>(
    `select ${columns} from instance
      where study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
        and ($3::text is null or sop_instance_uid = $3)
      order by series_instance_uid, ${byNumber}, sop_instance_uid`,
    [level.study, level.series ?? null, level.instance ?? null],
  )
  return withHeaders(rows)
}

/** The instances of these UIDs that are stored. */
export async function instancesByUid(db: Queryable, sopInstanceUids: readonly string[]): Promise<StoredInstance[]> {
  const { rows } = await db.query<Row>(`select ${columns} from instance where sop_instance_uid = any ($1)`, [
    sopInstanceUids,
  ])
  return withHeaders(rows)
}

export async function findInstance(db: Queryable, sopInstanceUid: string): Promise<StoredInstance | undefined> {
  const { rows } = await db.query<Row>(`select ${columns} from instance where sop_instance_uid = $1`, [sopInstanceUid])
  return (await withHeaders(rows))[0]
}

/** An instance that is to be given to somebody, without its header. */
export type RetrievableInstance = Omit<StoredInstance, 'header' | 'origin'>

/** The instances that have all of these: each list may name several, and an absent one allows any. */
export async function instancesToRetrieve(
  db: Queryable,
  wanted: {
    patients?: string[] | undefined
    studies?: string[] | undefined
    series?: string[] | undefined
    instances?: string[] | undefined
  },
): Promise<RetrievableInstance[]> {
  const conditions: string[] = []
  const values: string[][] = []
  const among = (sql: string, list: string[] | undefined) => {
    if (list) conditions.push(`${sql} = any ($${values.push(list)})`)
  }
  among('i.sop_instance_uid', wanted.instances)
  among('i.series_instance_uid', wanted.series)
  among('i.study_instance_uid', wanted.studies)
  if (wanted.patients)
    conditions.push(
      `i.study_instance_uid in (select study_instance_uid from study where patient_id = any ($${values.push(wanted.patients)}))`,
    )
  const { rows } = await db.query<RetrievableInstance>(
    `select sop_instance_uid "sopInstanceUid", sop_class_uid "sopClassUid", study_instance_uid "studyInstanceUid",
            series_instance_uid "seriesInstanceUid", transfer_syntax_uid "transferSyntaxUid", blob_key "blobKey",
            byte_length "byteLength", crc32
       from instance i where ${conditions.join(' and ')}
      order by series_instance_uid, ${byNumber}, sop_instance_uid`,
    values,
  )
  return rows
}

/** Headers as the text of their DICOM JSON, which is not parsed, by SOP Instance UID. */
export async function headersOf(db: Queryable, sopInstanceUids: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await db.query<{ uid: string; header: Buffer }>(
    'select sop_instance_uid uid, header from instance where sop_instance_uid = any ($1)',
    [sopInstanceUids],
  )
  return new Map(await Promise.all(rows.map(async ({ uid, header }) => [uid, await headerText(header)] as const)))
}
