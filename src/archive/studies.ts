import type { DicomJson } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import type { StudyState } from './studyState.js'
import { followStudyState, selectWorkitemsOfRevision, type Workitem } from './workitems.js'

export type { StudyState } from './studyState.js'

/** Why a study is believed to be whole, or known not to be. */
export interface CompletenessEvidence {
  /** `complete`: all that somebody who should know says there is has come. `late`: it came when an earlier revision had settled. `undecodable`: images that are stored, and were kept from the analysis by their transfer syntax. */
  kind: 'complete' | 'presumed' | 'partial' | 'late' | 'undecodable'
  reason: string
  at: string
}

export interface StudyRevision {
  studyInstanceUid: string
  revision: number
  /** The study's newest revision; a greater one than `revision` has superseded it. */
  newest: number
  state: StudyState
  reason: string | null
  evidence: CompletenessEvidence[]
  inconsistent: string | null
  attributes: DicomJson
  settledAt: Date | null
}

const columns = `v.study_instance_uid "studyInstanceUid", v.revision, s.revision newest, v.state, v.reason, v.evidence,
  s.inconsistent, s.attributes, v.settled_at "settledAt"`

/** @param revision absent: the newest. @param lock true: held against changes until the transaction ends */
export async function findRevision(
  db: Queryable,
  study: string,
  revision?: number,
  lock = false,
): Promise<StudyRevision | undefined> {
  const { rows } = await db.query<StudyRevision>(
    `select ${columns} from study s join study_revision v using (study_instance_uid)
      where s.study_instance_uid = $1 and v.revision = coalesce($2, s.revision) ${lock ? 'for update' : ''}`,
    [study, revision ?? null],
  )
  return rows[0]
}

const finalStates: readonly StudyState[] = ['completed', 'failed', 'ignored', 'superseded']

/** Moves a revision to a state and writes that into the study's timeline, in one statement; its workitem follows. */
export async function changeState(
  tx: Queryable,
  study: string,
  revision: number,
  state: StudyState,
  detail: { reason?: string } & Record<string, unknown> = {},
): Promise<void> {
  const { rows } = await tx.query<Workitem>(
    `with changed as (
       update study_revision set state = $3, reason = $4, changed_at = clock_timestamp(),
              settled_at = case when $3 = 'settled' then clock_timestamp() else settled_at end,
              finished_at = case when $5 then clock_timestamp() end
        where study_instance_uid = $1 and revision = $2),
     noted as (insert into study_event (study_instance_uid, revision, kind, detail) values ($1, $2, $3, $6))
     ${selectWorkitemsOfRevision}`,
    [study, revision, state, detail.reason ?? null, finalStates.includes(state), JSON.stringify(detail)],
  )
  await followStudyState(tx, study, revision, state, detail.reason, rows)
}

/** @param detail must hold no patient data */
export async function addEvent(
  tx: Queryable,
  study: string,
  revision: number,
  kind: string,
  detail: object = {},
): Promise<void> {
  await tx.query('insert into study_event (study_instance_uid, revision, kind, detail) values ($1, $2, $3, $4)', [
    study,
    revision,
    kind,
    JSON.stringify(detail),
  ])
}

/** Adds evidence of completeness to the newest revision of each study, once for each reason. */
export async function addEvidence(
  db: Queryable,
  studies: readonly string[],
  evidence: CompletenessEvidence,
): Promise<void> {
  await db.query(
    `update study_revision v set evidence = v.evidence || jsonb_build_array($2::jsonb)
       from study s where s.study_instance_uid = v.study_instance_uid and s.revision = v.revision
        and s.study_instance_uid = any ($1)
        and not v.evidence @> jsonb_build_array(jsonb_build_object('kind', $3::text, 'reason', $4::text))`,
    [studies, JSON.stringify(evidence), evidence.kind, evidence.reason],
  )
}
