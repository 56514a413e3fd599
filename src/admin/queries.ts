import type { Queryable } from '../platform/database.js'

export const studyStates: readonly string[] = [
  'receiving',
  'settled',
  'analyzing',
  'reporting',
  'delivering',
  'completed',
  'failed',
  'ignored',
]

/** A study with all that happened to it. */
export interface StudyDetail {
  studyInstanceUid: string
  revision: number
  state: string
  reason: string | null
  evidence: { kind: string; reason: string; at: string }[]
  instances: number
  receivedAt: Date
  lastInstanceAt: Date
  revisions: {
    revision: number
    state: string
    reason: string | null
    settledAt: Date | null
    finishedAt: Date | null
  }[]
  timeline: { revision: number; kind: string; detail: object; at: Date }[]
  analyses: {
    revision: number
    route: string
    arm: string
    provider: string
    status: string
    error: string | null
    progress: { done: number; of: number; findings: number } | null
    /** Results that cannot be right, as they were answered. */
    rejected: { sopInstanceUid: string; frame: number; reason: string; content: unknown }[] | null
    findings: number | null
    startedAt: Date
    finishedAt: Date | null
  }[]
  results: { revision: number; sopClassUid: string; seriesInstanceUid: string; sopInstanceUid: string; bytes: number }[]
  deliveries: Delivery[]
}

export interface Delivery {
  id: number
  studyInstanceUid: string
  revision: number
  sopInstanceUid: string
  destination: string
  state: string
  attempts: number
  lastError: string | null
  nextAttemptAt: Date | null
  deliveredAt: Date | null
}

export interface StudySummary {
  studyInstanceUid: string
  revision: number
  state: string
  reason: string | null
  modalities: string[]
  instances: number
  receivedAt: Date
  changedAt: Date
}

export async function listStudies(db: Queryable, state: string | undefined, limit: number): Promise<StudySummary[]> {
  const { rows } = await db.query<StudySummary>(
    `select s.study_instance_uid "studyInstanceUid", s.revision, v.state, v.reason, s.received_at "receivedAt", v.changed_at "changedAt",
            coalesce((select jsonb_agg(distinct modality) from series e where e.study_instance_uid = s.study_instance_uid), '[]') modalities,
            (select count(*) from instance i where i.study_instance_uid = s.study_instance_uid and origin = 'received') instances
       from study s join study_revision v using (study_instance_uid, revision)
      where $1::text is null or v.state = $1
      order by s.received_at desc, s.study_instance_uid limit $2`,
    [state ?? null, limit],
  )
  return rows
}

export async function findStudy(db: Queryable, uid: string): Promise<StudyDetail | undefined> {
  const { rows } = await db.query<StudyDetail>(
    `select s.study_instance_uid "studyInstanceUid", s.revision, v.state, v.reason, v.evidence, s.received_at "receivedAt",
            s.last_instance_at "lastInstanceAt",
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

const selectDeliveries = `select id, study_instance_uid "studyInstanceUid", revision, sop_instance_uid "sopInstanceUid", destination, state,
  attempts, last_error "lastError", next_attempt_at "nextAttemptAt", delivered_at "deliveredAt" from delivery`

export async function listDeliveries(db: Queryable, state: string | undefined): Promise<Delivery[]> {
  const { rows } = await db.query<Delivery>(
    `${selectDeliveries} where $1::text is null or state = $1 order by id desc limit 1000`,
    [state ?? null],
  )
  return rows
}
