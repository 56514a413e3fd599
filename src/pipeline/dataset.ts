import type { Finding, Findings, ImageReference } from '../analysis/findings.js'
import type { StudyObject } from '../analysis/normalizedStudy.js'
import { findRevision } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { deriveUid } from '../dicom/uid.js'
import type { Queryable } from '../platform/database.js'
import { mayNamePatient } from '../privacy/burnedIn.js'
import { type Deidentification, pseudonymousUid } from '../privacy/deidentify.js'
import type { PipelineContext } from './context.js'
import { normalizedStudy } from './normalizedStudy.js'

/** A study that radiologists have given verdicts on. */
export interface LabelledStudy {
  studyInstanceUid: string
  verdicts: number
}

/** Studies with verdicts of the last days, the oldest first. */
export async function labelledStudies(db: Queryable, days: number): Promise<LabelledStudy[]> {
  const { rows } = await db.query<LabelledStudy>(
    `select study_instance_uid "studyInstanceUid", count(*)::int verdicts from verdict
      where at > now() - make_interval(days => $1) group by study_instance_uid order by min(at), study_instance_uid`,
    [days],
  )
  return rows
}

/** What radiologists say of a study, with the UIDs of its de-identified objects. */
export interface StudyLabels {
  studyInstanceUid: string
  algorithm: Findings['algorithm']
  findings: (Finding & { verdict: 'true-positive' | 'false-positive' | null })[]
  /** Lesions that are there and were not found: where is not known. */
  missed: number
}

export type DatasetStudy =
  | { outcome: 'study'; labels: StudyLabels; objects: AsyncIterable<StudyObject> }
  | { outcome: 'not-found' }
  /** Its pixels may name the patient. */
  | { outcome: 'withheld'; reason: string }

/** A study as it may leave the hospital for training: de-identified images, and labels. Pseudonyms are those of data sets, and no provider's. */
export async function datasetStudy(study: string, context: PipelineContext): Promise<DatasetStudy> {
  const { database } = context
  const { rows } = await database.query<{ revision: number; findings: Findings }>(
    `select revision, findings from analysis where study_instance_uid = $1 and arm = 'primary' and findings is not null
      and exists (select from verdict v where v.study_instance_uid = $1) order by revision desc limit 1`,
    [study],
  )
  const revision = rows[0] && (await findRevision(database, study, rows[0].revision))
  if (!rows[0] || !revision) return { outcome: 'not-found' }
  const normalized = await normalizedStudy(study, rows[0].revision, context)
  const images = normalized.series.flatMap(series => series.images)
  const reason = images.map(image => mayNamePatient(image.header)).find(why => why)
  if (reason) return { outcome: 'withheld', reason }
  const deidentify: Deidentification = {
    key: `${context.pseudonymKey} dataset`,
    patient: `${textOf(revision.attributes, '00100021') ?? ''} ${textOf(revision.attributes, '00100020') ?? ''}`,
    retainLongitudinal: true,
  }
  const { rows: verdicts } = await database.query<{
    uid: string
    verdict: 'true-positive' | 'false-positive' | 'missed'
  }>('select tracking_uid uid, verdict from verdict where study_instance_uid = $1', [study])
  return {
    outcome: 'study',
    labels: labelsOf(study, rows[0].findings, verdicts, deidentify.key),
    objects: normalized.objects(deidentify),
  }
}

function labelsOf(
  study: string,
  { algorithm, items }: Findings,
  verdicts: readonly { uid: string; verdict: 'true-positive' | 'false-positive' | 'missed' }[],
  key: string,
): StudyLabels {
  const image = <T extends ImageReference>(reference: T): T => ({
    ...reference,
    sopInstanceUid: pseudonymousUid(key, reference.sopInstanceUid),
  })
  return {
    studyInstanceUid: pseudonymousUid(key, study),
    algorithm,
    findings: items.map(item => {
      const given = verdicts.find(({ uid }) => uid === item.trackingUid)?.verdict
      return {
        ...item,
        trackingUid: deriveUid('dataset', key, item.trackingUid),
        regions: item.regions.map(image),
        ...(item.sources ? { sources: item.sources.map(image) } : {}),
        ...(item.mask ? { mask: { ...item.mask, slices: item.mask.slices.map(image) } } : {}),
        verdict: given === 'true-positive' || given === 'false-positive' ? given : null,
      }
    }),
    missed: verdicts.filter(({ verdict }) => verdict === 'missed').length,
  }
}
