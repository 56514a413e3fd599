import { z } from 'zod'
import type { Queryable } from '../platform/database.js'
import { time } from './operation.js'

export const studyStates = [
  'receiving',
  'settled',
  'analyzing',
  'reporting',
  'delivering',
  'completed',
  'failed',
  'ignored',
] as const

export const deliveryStates = ['pending', 'stored', 'delivered', 'dead'] as const

const uid = z.string()
const whole = z.number().int()
const maybe = z.string().nullable()
const maybeTime = time.nullable()

const deliverySchema = z.object({
  id: whole,
  studyInstanceUid: uid,
  revision: whole,
  sopInstanceUid: uid,
  destination: z.string(),
  state: z.enum(deliveryStates),
  attempts: whole,
  lastError: maybe,
  nextAttemptAt: maybeTime,
  deliveredAt: maybeTime,
})
export type Delivery = z.infer<typeof deliverySchema>
export const deliveriesSchema = z.array(deliverySchema)

const progress = z.object({ done: whole, of: whole, findings: whole }).nullable()

/** Patient and examination: only for those who may see them. */
const patient = z
  .object({
    name: maybe,
    id: maybe,
    accessionNumber: maybe,
    studyDate: maybe,
    description: maybe,
  })
  .optional()

/** A study with all that happened to it. */
export const studyDetailSchema = z.object({
  studyInstanceUid: uid,
  revision: whole,
  state: z.string(),
  reason: maybe,
  evidence: z.array(z.object({ kind: z.string(), reason: z.string(), at: z.string() })),
  instances: whole,
  receivedAt: time,
  lastInstanceAt: time,
  revisions: z.array(
    z.object({ revision: whole, state: z.string(), reason: maybe, settledAt: maybeTime, finishedAt: maybeTime }),
  ),
  timeline: z.array(z.object({ revision: whole, kind: z.string(), detail: z.looseObject({}), at: time })),
  analyses: z.array(
    z.object({
      revision: whole,
      route: z.string(),
      arm: z.string(),
      provider: z.string(),
      status: z.string(),
      error: maybe,
      progress,
      rejected: z
        .array(z.object({ sopInstanceUid: uid, frame: whole, reason: z.string(), content: z.unknown() }))
        .nullable()
        .describe('results that cannot be right, as they were answered'),
      findings: whole.nullable(),
      startedAt: time,
      finishedAt: maybeTime,
    }),
  ),
  results: z.array(
    z.object({ revision: whole, sopClassUid: uid, seriesInstanceUid: uid, sopInstanceUid: uid, bytes: whole }),
  ),
  deliveries: deliveriesSchema,
  patient,
})
export type StudyDetail = z.infer<typeof studyDetailSchema>

const patientColumns = `jsonb_build_object('name', patient_name, 'id', patient_id, 'accessionNumber', accession_number,
  'studyDate', study_date, 'description', study_description)`

export const studySummarySchema = z.object({
  studyInstanceUid: uid,
  revision: whole,
  state: z.string(),
  reason: maybe,
  modalities: z.array(z.string()),
  instances: whole,
  receivedAt: time,
  changedAt: time,
  patient,
})
export type StudySummary = z.infer<typeof studySummarySchema>

export interface StudySearch {
  state?: string | undefined
  modality?: string | undefined
  /** The beginning of a patient's name, or a Patient ID, Accession Number or Study Instance UID. */
  text?: string | undefined
  /** Received before, and after. */
  before?: Date | undefined
  after?: Date | undefined
  limit: number
}

/** Studies by the time of their first instance, the latest first. @param withPatient those who ask may see patient data, and search by it */
export async function listStudies(
  db: Queryable,
  { state, modality, text, before, after, limit }: StudySearch,
  withPatient = false,
): Promise<StudySummary[]> {
  const { rows } = await db.query<StudySummary & Record<string, string | null>>(
    `select s.study_instance_uid "studyInstanceUid", s.revision, v.state, v.reason, s.received_at "receivedAt", v.changed_at "changedAt",
            coalesce((select jsonb_agg(distinct modality) from series e where e.study_instance_uid = s.study_instance_uid), '[]') modalities,
            (select count(*) from instance i where i.study_instance_uid = s.study_instance_uid and origin = 'received') instances,
            case when $7 then ${patientColumns} end patient
       from study s join study_revision v using (study_instance_uid, revision)
      where ($1::text is null or v.state = $1)
        and ($2::text is null or exists (select from series e where e.study_instance_uid = s.study_instance_uid and e.modality = $2))
        and ($3::text is null or s.study_instance_uid = $3
             or ($7 and (s.patient_id = $3 or s.accession_number = $3 or s.patient_name ilike $8)))
        and ($4::timestamptz is null or s.received_at < $4) and ($5::timestamptz is null or s.received_at >= $5)
      order by s.received_at desc, s.study_instance_uid limit $6`,
    [
      state ?? null,
      modality ?? null,
      text ?? null,
      before ?? null,
      after ?? null,
      limit,
      withPatient,
      `${(text ?? '').replace(/[\\%_]/g, '\\$&')}%`,
    ],
  )
  return rows.map(({ patient, ...row }) => (patient ? { ...row, patient } : row) as StudySummary)
}

/** @param withPatient who asks may see patient data */
export async function findStudy(db: Queryable, uid: string, withPatient = false): Promise<StudyDetail | undefined> {
  const { rows } = await db.query<StudyDetail>(
    `select s.study_instance_uid "studyInstanceUid", s.revision, v.state, v.reason, v.evidence, s.received_at "receivedAt",
            s.last_instance_at "lastInstanceAt", ${withPatient ? `${patientColumns} patient,` : ''}
            (select count(*) from instance i where i.study_instance_uid = s.study_instance_uid and origin = 'received') instances
       from study s join study_revision v using (study_instance_uid, revision) where s.study_instance_uid = $1`,
    [uid],
  )
  const study = rows[0]
  if (!study) return undefined
  const [revisions, timeline, analyses, results, deliveries] = await Promise.all([
    db.query(
      `select revision, state, reason, settled_at "settledAt", finished_at "finishedAt"
         from study_revision where study_instance_uid = $1 order by revision`,
      [uid],
    ),
    db.query('select revision, kind, detail, at from study_event where study_instance_uid = $1 order by id', [uid]),
    db.query(
      `select revision, route, arm, provider, status, error, progress, rejected, jsonb_array_length(findings -> 'items') findings,
              started_at "startedAt", finished_at "finishedAt"
         from analysis where study_instance_uid = $1 order by id`,
      [uid],
    ),
    db.query(
      `select revision, sop_class_uid "sopClassUid", series_instance_uid "seriesInstanceUid", sop_instance_uid "sopInstanceUid",
              byte_length bytes
         from instance where study_instance_uid = $1 and origin = 'result' order by revision, sop_instance_uid`,
      [uid],
    ),
    db.query<Delivery>(`${selectDeliveries} where study_instance_uid = $1 order by id`, [uid]),
  ])
  return {
    ...study,
    revisions: revisions.rows,
    timeline: timeline.rows,
    analyses: analyses.rows,
    results: results.rows,
    deliveries: deliveries.rows,
  }
}

/** State of the newest revision, and how far its analysis is; undefined if there is no such study. */
export async function howFar(
  db: Queryable,
  uid: string,
): Promise<{ state: string; progress: { done: number; of: number; findings: number } | null } | undefined> {
  const { rows } = await db.query(
    `select v.state, a.progress from study s join study_revision v using (study_instance_uid, revision)
       left join analysis a on a.study_instance_uid = s.study_instance_uid and a.revision = s.revision and a.arm = 'primary'
      where s.study_instance_uid = $1`,
    [uid],
  )
  return rows[0]
}

export const refusalsSchema = z.array(
  z.object({
    at: time,
    source: z.string(),
    studyInstanceUid: maybe.describe('null: it could not be read'),
    instances: whole,
    status: z.string().describe('hexadecimal, as it was answered (PS3.4 B.2.3, PS3.18 I.2.2)'),
    reason: z.string(),
  }),
)

/** Instances that were refused, the latest first, those of ten seconds, one study and one reason together. @param study of all studies if it is not said */
export async function listRefusals(
  db: Queryable,
  { study, limit }: { study?: string | undefined; limit: number },
): Promise<z.infer<typeof refusalsSchema>> {
  const { rows } = await db.query(
    `select at, actor source, event_data ->> 'study' "studyInstanceUid", (event_data ->> 'instances')::int instances,
            event_data #>> '{detail,status}' status, event_data #>> '{detail,reason}' reason
       from audit where event = 'instances-received' and outcome = 'failure' and ($1::text is null or event_data ->> 'study' = $1)
      order by at desc limit $2`,
    [study ?? null, limit],
  )
  return rows
}

const selectDeliveries = `select id, study_instance_uid "studyInstanceUid", revision, sop_instance_uid "sopInstanceUid", destination, state,
  attempts, last_error "lastError", next_attempt_at "nextAttemptAt", delivered_at "deliveredAt" from delivery`

export async function listDeliveries(db: Queryable, state: string | undefined): Promise<Delivery[]> {
  const { rows } = await db.query<Delivery>(
    `${selectDeliveries} where $1::text is null or state = $1 order by id desc limit 1000`,
    [state ?? null],
  )
  return rows
}

/** The findings of the newest primary analysis that has any, without masks and maps, which are large. */
export async function findFindings(db: Queryable, uid: string): Promise<object | undefined> {
  const { rows } = await db.query<{ findings: object }>(
    `select (findings - 'maps') || jsonb_build_object('revision', revision, 'provider', provider,
              'items', coalesce((select jsonb_agg(item - 'mask') from jsonb_array_elements(findings -> 'items') item), '[]')) findings
       from analysis
      where study_instance_uid = $1 and arm = 'primary' and findings is not null order by revision desc limit 1`,
    [uid],
  )
  return rows[0]?.findings
}
