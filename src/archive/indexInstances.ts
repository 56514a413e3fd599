import { type DicomJson, pick, textOf } from '../dicom/dicomJson.js'
import { reason } from '../dicom/reasons.js'
import type { Transaction } from '../platform/database.js'
import type { BlobKey } from './blobStore.js'

export interface InstanceToIndex {
  sopInstanceUid: string
  sopClassUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  transferSyntaxUid: string
  header: DicomJson
  blobKey: BlobKey
  byteLength: number
  sha256: Buffer
  origin: 'received' | 'result'
  source?: string
  /** The revision of a result; received instances get theirs from the state of the study. */
  revision?: number
  warning?: number
}

export type IndexOutcome =
  | { outcome: 'stored'; revision: number }
  /** This SOP Instance UID is there already, with the very same bytes or with others. */
  | { outcome: 'identical' | 'different'; storedBlobKey: BlobKey }
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

/**
 * Puts instances into the index: studies, series and instances with one statement each, whatever their number.
 * Rows are touched in the order of their UIDs, so that two nodes cannot block each other.
 * @returns an outcome for each instance, in their order; a second one of the same UID in `batch` is compared with the first
 */
export async function indexInstances(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<IndexOutcome[]> {
  await insertStudies(tx, batch)
  await markInconsistentStudies(tx, batch)
  await insertSeries(tx, batch)
  const studyOfSeries = await findStudiesOfSeries(tx, batch)
  const inOtherStudy = (i: InstanceToIndex) => studyOfSeries.get(i.seriesInstanceUid) !== i.studyInstanceUid
  const accepted = batch.filter(instance => !inOtherStudy(instance))
  const stored = await insertInstances(tx, accepted)
  const present = await findPresent(tx, batch)

  return batch.map((instance): IndexOutcome => {
    if (inOtherStudy(instance)) return refused('this Series Instance UID is stored in another study')
    const revision = stored.get(instance.blobKey)
    if (revision !== undefined) return { outcome: 'stored', revision }
    const other = present.get(instance.sopInstanceUid)
    if (!other) throw new Error('the instance was neither stored nor found')
    if (
      other.study_instance_uid !== instance.studyInstanceUid ||
      other.series_instance_uid !== instance.seriesInstanceUid
    ) {
      return refused('this SOP Instance UID is stored in another study or series')
    }
    const outcome = other.sha256.equals(instance.sha256) ? 'identical' : 'different'
    return { outcome, storedBlobKey: other.blob_key }
  })
}

function refused(detail: string): IndexOutcome {
  return { outcome: 'refused', reason: reason.dataSetDoesNotMatchSopClass, detail }
}

/**
 * Puts other bytes in the place of a stored instance, which opens a new revision of its study if that had settled.
 * @returns the key of the blob that is no longer referred to
 */
export async function replaceInstance(tx: Transaction, instance: InstanceToIndex): Promise<BlobKey> {
  await lockStudies(tx, [instance.studyInstanceUid])
  const { rows } = await tx.query<{ blob_key: BlobKey }>(
    'select blob_key from instance where sop_instance_uid = $1 for update',
    [instance.sopInstanceUid],
  )
  await openRevisions(tx, [instance.studyInstanceUid])
  await tx.query(
    `update instance i set blob_key = $2, byte_length = $3, sha256 = $4, header = $5, transfer_syntax_uid = $6, warning = $7,
            received_at = now(), revision = (select revision from study s where s.study_instance_uid = i.study_instance_uid)
      where sop_instance_uid = $1`,
    [
      instance.sopInstanceUid,
      instance.blobKey,
      instance.byteLength,
      instance.sha256,
      json(instance.header),
      instance.transferSyntaxUid,
      instance.warning ?? null,
    ],
  )
  return rows[0]!.blob_key
}

async function insertStudies(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<void> {
  const first = new Map<string, InstanceToIndex>()
  for (const instance of batch)
    if (!first.has(instance.studyInstanceUid)) first.set(instance.studyInstanceUid, instance)
  const rows = [...first.values()].sort(byUid(i => i.studyInstanceUid)).map(({ studyInstanceUid, header }) => ({
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
  }))
  await tx.query(
    `insert into study (study_instance_uid, attributes, patient_id, patient_name, study_date, study_time, accession_number,
                        study_id, referring_physician, study_description)
     select study_instance_uid, attributes, patient_id, patient_name, study_date, study_time, accession_number,
            study_id, referring_physician, study_description
       from jsonb_to_recordset($1) as r (study_instance_uid text, attributes jsonb, patient_id text, patient_name text,
            study_date text, study_time text, accession_number text, study_id text, referring_physician text, study_description text)
     on conflict do nothing`,
    [json(rows)],
  )
  await tx.query(
    `insert into study_revision (study_instance_uid, revision)
     select uid, 1 from unnest($1::text[]) as uid on conflict do nothing`,
    [rows.map(row => row.study_instance_uid)],
  )
}

/** All name groups together, so that a search finds any of them. */
function searchableName(header: DicomJson): string | undefined {
  const name = header['00100010']?.Value?.[0]
  if (typeof name !== 'object' || name === null) return undefined
  return Object.values(name).join('=')
}

/** A study of two patients is kept but marked, since no analysis of it could be delivered to the right one. */
async function markInconsistentStudies(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<void> {
  const pairs = new Map<string, readonly [string, string]>()
  for (const { studyInstanceUid, header, origin } of batch) {
    if (origin === 'result') continue
    const patient = textOf(header, '00100020') ?? ''
    pairs.set(`${studyInstanceUid} ${patient}`, [studyInstanceUid, patient])
  }
  await tx.query(
    `update study set inconsistent = 'instances of two patients (Patient ID differs)'
       from unnest($1::text[], $2::text[]) as seen (uid, patient)
      where study_instance_uid = uid and coalesce(patient_id, '') <> patient and inconsistent is null`,
    [[...pairs.values()].map(p => p[0]), [...pairs.values()].map(p => p[1])],
  )
}

async function insertSeries(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<void> {
  const first = new Map<string, InstanceToIndex>()
  for (const instance of batch)
    if (!first.has(instance.seriesInstanceUid)) first.set(instance.seriesInstanceUid, instance)
  const rows = [...first.values()].sort(byUid(i => i.seriesInstanceUid)).map(instance => ({
    series_instance_uid: instance.seriesInstanceUid,
    study_instance_uid: instance.studyInstanceUid,
    modality: textOf(instance.header, '00080060'),
    series_number: textOf(instance.header, '00200011'),
    series_description: textOf(instance.header, '0008103E'),
    attributes: pick(instance.header, seriesLevelTags),
  }))
  await tx.query(
    `insert into series (series_instance_uid, study_instance_uid, modality, series_number, series_description, attributes)
     select * from jsonb_to_recordset($1) as r (series_instance_uid text, study_instance_uid text, modality text,
                                                 series_number text, series_description text, attributes jsonb)
     on conflict do nothing`,
    [json(rows)],
  )
}

async function findStudiesOfSeries(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<Map<string, string>> {
  const { rows } = await tx.query<{ series_instance_uid: string; study_instance_uid: string }>(
    'select series_instance_uid, study_instance_uid from series where series_instance_uid = any ($1)',
    [[...new Set(batch.map(i => i.seriesInstanceUid))]],
  )
  return new Map(rows.map(row => [row.series_instance_uid, row.study_instance_uid]))
}

/**
 * @returns blob key → revision of each row that was inserted
 * An instance that arrives after its study settled opens the next revision, here, in the same statement order for all.
 */
async function insertInstances(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<Map<BlobKey, number>> {
  if (batch.length === 0) return new Map()
  const unique = new Map<string, InstanceToIndex>()
  for (const instance of batch) if (!unique.has(instance.sopInstanceUid)) unique.set(instance.sopInstanceUid, instance)
  const rows = [...unique.values()].sort(byUid(i => i.sopInstanceUid)).map(instance => ({
    sop_instance_uid: instance.sopInstanceUid,
    series_instance_uid: instance.seriesInstanceUid,
    study_instance_uid: instance.studyInstanceUid,
    revision: instance.revision ?? null,
    origin: instance.origin,
    source: instance.source ?? null,
    sop_class_uid: instance.sopClassUid,
    transfer_syntax_uid: instance.transferSyntaxUid,
    instance_number: textOf(instance.header, '00200013') ?? null,
    blob_key: instance.blobKey,
    byte_length: instance.byteLength,
    sha256: instance.sha256.toString('hex'),
    header: instance.header,
    warning: instance.warning ?? null,
  }))
  await lockStudies(
    tx,
    rows.map(row => row.study_instance_uid),
  )
  const { rows: inserted } = await tx.query<{
    blob_key: BlobKey
    study_instance_uid: string
    origin: string
    revision: number
  }>(
    `insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, revision, origin, source, sop_class_uid,
                           transfer_syntax_uid, instance_number, blob_key, byte_length, sha256, header, warning)
     select r.sop_instance_uid, r.series_instance_uid, r.study_instance_uid,
            coalesce(r.revision, s.revision + case when v.state = 'receiving' then 0 else 1 end), r.origin, r.source,
            r.sop_class_uid, r.transfer_syntax_uid, r.instance_number, r.blob_key, r.byte_length, decode(r.sha256, 'hex'), r.header, r.warning
       from jsonb_to_recordset($1) as r (sop_instance_uid text, series_instance_uid text, study_instance_uid text, revision int,
            origin text, source text, sop_class_uid text, transfer_syntax_uid text, instance_number text, blob_key text,
            byte_length bigint, sha256 text, header jsonb, warning int)
       join study s using (study_instance_uid)
       join study_revision v on v.study_instance_uid = s.study_instance_uid and v.revision = s.revision
     on conflict do nothing
     returning blob_key, study_instance_uid, origin, revision`,
    [json(rows)],
  )
  await openRevisions(
    tx,
    inserted.filter(row => row.origin === 'received').map(row => row.study_instance_uid),
  )
  return new Map(inserted.map(row => [row.blob_key, row.revision]))
}

/** Settling and receiving of one study see each other one after the other. */
async function lockStudies(tx: Transaction, uids: readonly string[]): Promise<void> {
  await tx.query('select 1 from study where study_instance_uid = any ($1) order by study_instance_uid for update', [
    [...new Set(uids)],
  ])
}

/** Notes that something arrived for these studies, and opens the next revision of each that had settled. */
async function openRevisions(tx: Transaction, uids: readonly string[]): Promise<void> {
  const studies = [...new Set(uids)].sort()
  if (studies.length === 0) return
  await tx.query(
    `insert into study_revision (study_instance_uid, revision)
     select s.study_instance_uid, s.revision + 1 from study s
       join study_revision v on v.study_instance_uid = s.study_instance_uid and v.revision = s.revision
      where s.study_instance_uid = any ($1) and v.state <> 'receiving'`,
    [studies],
  )
  await tx.query(
    `update study s set last_instance_at = now(),
            revision = (select max(revision) from study_revision v where v.study_instance_uid = s.study_instance_uid)
      where study_instance_uid = any ($1)`,
    [studies],
  )
}

interface Present {
  sop_instance_uid: string
  study_instance_uid: string
  series_instance_uid: string
  blob_key: BlobKey
  sha256: Buffer
}

async function findPresent(tx: Transaction, batch: readonly InstanceToIndex[]): Promise<Map<string, Present>> {
  const { rows } = await tx.query<Present>(
    `select sop_instance_uid, study_instance_uid, series_instance_uid, blob_key, sha256
       from instance where sop_instance_uid = any ($1)`,
    [batch.map(i => i.sopInstanceUid)],
  )
  return new Map(rows.map(row => [row.sop_instance_uid, row]))
}

/** PostgreSQL's jsonb holds neither U+0000 nor a lone surrogate; both become U+FFFD. */
function json(value: object): string {
  const text = JSON.stringify(value)
  if (!text.includes('\\u0000') && !text.includes('\\ud')) return text
  return JSON.stringify(value, (_, v) => (typeof v === 'string' ? v.replaceAll('\0', '\ufffd').toWellFormed() : v))
}

function byUid<T>(uid: (value: T) => string) {
  return (a: T, b: T) => (uid(a) < uid(b) ? -1 : 1)
}
