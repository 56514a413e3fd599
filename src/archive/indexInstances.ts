import { type DicomJson, pick, textOf } from '../dicom/dicomJson.js'
import { reason } from '../dicom/reasons.js'
import type { Queryable, Transaction } from '../platform/database.js'
import { toJsonb } from '../platform/jsonText.js'
import type { BlobKey } from './blobStore.js'
import { packHeader } from './packedHeader.js'

export interface InstanceToIndex {
  sopInstanceUid: string
  sopClassUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  transferSyntaxUid: string
  header: DicomJson
  blobKey: BlobKey
  byteLength: number
  /** CRC-32 of all bytes. */
  crc32: number
  origin: 'received' | 'result'
  source?: string
  /** The revision of a result; received instances get theirs from the state of the study. */
  revision?: number
  warning?: number
}

export type IndexOutcome =
  | { outcome: 'stored' }
  /** This SOP Instance UID is there already; whether with the same bytes is not said. */
  | { outcome: 'present'; storedBlobKey: BlobKey }
  | { outcome: 'refused'; reason: number; detail: string }

/** Attributes of the patient and the study that QIDO-RS returns and that results copy (PS3.18 table 10.6.3-3, PS3.3 C.7.1, C.7.2). */
const studyLevelTags = [
  '00080020',
  '00080030',
  '00080050',
  '00080051',
  '00080090',
  '00080201',
  '00081030',
  '00081032',
  '00100010',
  '00100020',
  '00100021',
  '00100030',
  '00100032',
  '00100040',
  '00101010',
  '00101020',
  '00101030',
  '0020000D',
  '00200010',
]
const seriesLevelTags = [
  '00080060',
  '00080021',
  '00080031',
  '0008103E',
  '00180015',
  '0020000E',
  '00200011',
  '00400244',
  '00400245',
  '00400275',
]

/** Attributes of an instance that QIDO-RS returns, and those that conditions ask for; the rest is in its header. */
export const instanceLevelTags = [
  '00080016',
  '00080018',
  '00080201',
  '00200013',
  '00280008',
  '00280010',
  '00280011',
  '00280100',
  '0040A040',
  '0040A493',
]

/**
 * Puts instances into the index with one call, whatever their number (migrations/0015_index_known_studies.sql). An instance that arrives
 * after its study settled opens the study's next revision.
 * @param quietSeconds settling of the studies is put off by so much; undefined for results, which settle nothing
 * @returns an outcome for each instance, in their order; a second one of the same UID in `batch` is compared with the first
 */
export async function indexInstances(
  db: Queryable,
  batch: readonly InstanceToIndex[],
  quietSeconds?: number,
): Promise<IndexOutcome[]> {
  const studies = new Set<string>()
  const series = new Set<string>()
  const rows = batch.map((instance, ordinal) => toRow(instance, ordinal, studies, series))
  const headers = await Promise.all(batch.map(instance => packHeader(instance.header)))
  const { rows: outcomes } = await db.query<{ ordinal: number; outcome: string; stored_blob_key: BlobKey }>({
    name: 'index_instances', // prepared once for each connection
    text: 'select * from index_instances($1, $2, $3)',
    values: [toJsonb(rows), headers, quietSeconds ?? null],
  })
  const byOrdinal = new Map(outcomes.map(row => [row.ordinal, row]))
  return batch.map((_, ordinal): IndexOutcome => {
    const row = byOrdinal.get(ordinal)
    if (!row) throw new Error('an instance was neither stored nor found')
    const { outcome, stored_blob_key: storedBlobKey } = row
    if (outcome === 'stored') return { outcome }
    if (outcome === 'present') return { outcome, storedBlobKey }
    const what =
      outcome === 'other-study'
        ? 'Series Instance UID is stored in another study'
        : 'SOP Instance UID is stored in another series'
    return { outcome: 'refused', reason: reason.dataSetDoesNotMatchSopClass, detail: `this ${what}` }
  })
}

/**
 * Puts other bytes in the place of a stored instance, which opens a new revision of its study if that had settled.
 * @returns the key of the blob that is no longer referred to
 */
export async function replaceInstance(
  tx: Transaction,
  instance: InstanceToIndex,
  quietSeconds: number,
): Promise<BlobKey> {
  const { studyInstanceUid, sopInstanceUid } = instance
  await tx.query('select 1 from study where study_instance_uid = $1 for update', [studyInstanceUid])
  const { rows } = await tx.query<{ blob_key: BlobKey }>('select blob_key from instance where sop_instance_uid = $1', [
    sopInstanceUid,
  ])
  await tx.query('select open_revisions(array[$1], $2)', [studyInstanceUid, quietSeconds])
  await tx.query(
    `update instance i set blob_key = $2, byte_length = $3, crc32 = $4, header = $5, transfer_syntax_uid = $6, warning = $7, attributes = $8,
            received_at = now(), revision = (select revision from study s where s.study_instance_uid = i.study_instance_uid)
      where sop_instance_uid = $1`,
    [
      sopInstanceUid,
      instance.blobKey,
      instance.byteLength,
      instance.crc32,
      await packHeader(instance.header),
      instance.transferSyntaxUid,
      instance.warning ?? null,
      toJsonb(pick(instance.header, instanceLevelTags)),
    ],
  )
  return rows[0]!.blob_key
}

/** A row of type incoming_instance; study and series are described by the first instance of each patient, study and series. */
function toRow(instance: InstanceToIndex, ordinal: number, studies: Set<string>, series: Set<string>) {
  const { header, studyInstanceUid, seriesInstanceUid } = instance
  const studyKey = `${studyInstanceUid} ${textOf(header, '00100020') ?? ''}`
  const newStudy = !studies.has(studyKey)
  const newSeries = !series.has(`${studyInstanceUid} ${seriesInstanceUid}`)
  studies.add(studyKey)
  series.add(`${studyInstanceUid} ${seriesInstanceUid}`)
  return {
    ordinal,
    study_instance_uid: studyInstanceUid,
    series_instance_uid: seriesInstanceUid,
    sop_instance_uid: instance.sopInstanceUid,
    sop_class_uid: instance.sopClassUid,
    transfer_syntax_uid: instance.transferSyntaxUid,
    instance_number: textOf(header, '00200013'),
    origin: instance.origin,
    source: instance.source,
    revision: instance.revision,
    blob_key: instance.blobKey,
    byte_length: instance.byteLength,
    crc32: instance.crc32,
    warning: instance.warning,
    attributes: pick(header, instanceLevelTags),
    ...(newStudy ? { study: studyColumns(studyInstanceUid, header) } : {}),
    ...(newSeries ? { series: seriesColumns(seriesInstanceUid, header) } : {}),
  }
}

function studyColumns(studyInstanceUid: string, header: DicomJson) {
  return {
    study_instance_uid: studyInstanceUid,
    attributes: pick(header, studyLevelTags),
    patient_id: textOf(header, '00100020'),
    patient_name: searchableName(header),
    study_date: textOf(header, '00080020'),
    study_time: textOf(header, '00080030'),
    accession_number: textOf(header, '00080050'),
    study_id: textOf(header, '00200010'),
    referring_physician: textOf(header, '00080090'),
    study_description: textOf(header, '00081030'),
  }
}

function seriesColumns(seriesInstanceUid: string, header: DicomJson) {
  return {
    series_instance_uid: seriesInstanceUid,
    modality: textOf(header, '00080060'),
    series_number: textOf(header, '00200011'),
    series_description: textOf(header, '0008103E'),
    attributes: pick(header, seriesLevelTags),
  }
}

/** All name groups together, so that a search finds any of them. */
function searchableName(header: DicomJson): string | undefined {
  const name = header['00100010']?.Value?.[0]
  if (typeof name !== 'object' || name === null) return undefined
  return Object.values(name).join('=')
}
