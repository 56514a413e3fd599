import {
  addEvidence,
  type CompletenessEvidence,
  changeState,
  findRevision,
  type StudyRevision,
} from '../archive/index.js'
import { type Queryable, type Transaction, transaction } from '../platform/database.js'
import type { Endpoints } from '../platform/endpoints.js'
import { addJob, type JobPayloads } from '../platform/jobs.js'
import { chooseProvider } from './canary.js'
import { chooseRoute, readTraits } from './chooseRoute.js'
import { type Completeness, judgeCompleteness, maxRefetches, refetch } from './completeness.js'
import { analysisQueue, type PipelineContext } from './context.js'
import { fetchedFrom } from './fetchPriors.js'
import { readVerdicts } from './readVerdicts.js'
import { startShadows } from './shadow.js'
import { whenToAnalyze } from './whenToAnalyze.js'

/** Nothing arrived for a quiet period: the study counts as complete, and a route is chosen for it. */
export async function settle({ study }: JobPayloads['settle'], context: PipelineContext): Promise<void> {
  const completeness = await askBeforehand(study, context)
  if (completeness === 'fetched') return // what came puts settling off anew
  if ('tooEarly' in completeness) {
    await addJob(context.database, 'settle', { study }, { key: `settle:${study}`, inSeconds: completeness.tooEarly })
    return
  }
  await transaction(context.database, async tx => {
    const current = await findRevision(tx, study, undefined, true)
    if (current?.state !== 'receiving') return
    const { revision } = current
    const { quietSeconds, endpoints } = context
    const wait = await quietPeriodLeft(tx, study, secondsToBeQuiet(completeness, endpoints, quietSeconds))
    if (wait > 0) {
      await addJob(tx, 'settle', { study }, { key: `settle:${study}`, inSeconds: wait })
      return
    }
    const at = new Date().toISOString()
    await addEvidence(tx, [study], { ...evidenceOf(completeness, quietSeconds), at })
    if (revision > 1)
      await addEvidence(tx, [study], { kind: 'late', reason: `it came when revision ${revision - 1} had settled`, at })
    const before = revision > 1 ? await findRevision(tx, study, revision - 1) : undefined
    if (before?.state === 'completed' && !(await hasNewImages(tx, study, revision))) {
      // Reports and the like: what was analysed of the study is as good as before. One that failed is taken up again.
      const verdicts = await readVerdicts(tx, study, revision)
      const detail = { reason: 'no image is new', ...(verdicts > 0 ? { verdicts } : {}) }
      return changeState(tx, study, revision, 'completed', detail)
    }
    await sendOnItsWay(tx, current, context)
  })
}

/** Chooses a route and a provider for a revision, and has it analysed; or says why not. */
export async function sendOnItsWay(tx: Transaction, current: StudyRevision, context: PipelineContext): Promise<void> {
  const { studyInstanceUid: study, revision } = current
  if (revision > 1) await supersedeEarlier(tx, study, revision)
  if (current.inconsistent) return changeState(tx, study, revision, 'failed', { reason: current.inconsistent })

  const traits = await readTraits(tx, study)
  if (traits.sources.length > 0 && traits.sources.every(source => source.startsWith(fetchedFrom(''))))
    return changeState(tx, study, revision, 'ignored', { reason: 'fetched as an earlier examination of a patient' })
  const choice = chooseRoute(context.endpoints.routes, traits)
  if ('reason' in choice) return changeState(tx, study, revision, 'ignored', { reason: choice.reason })
  const { route } = choice
  const chosen = await chooseProvider(tx, route, study)
  const time = whenToAnalyze(route.priority, context.endpoints.offPeak, new Date())
  const waits = time.runAt ? { waitsUntil: time.runAt.toISOString() } : {}
  await changeState(tx, study, revision, 'settled', { route: route.name, ...chosen, ...waits })
  await tx.query(
    `insert into analysis (study_instance_uid, revision, route, provider, choice, status) values ($1, $2, $3, $4, $5, 'running')
     on conflict do nothing`,
    [study, revision, route.name, chosen.provider, chosen.choice],
  )
  await startShadows(tx, route, study, revision)
  await addJob(
    tx,
    'analyze',
    { study, revision },
    { key: `analyze:${study}:${revision}`, queue: await analysisQueue(tx, chosen.provider, study), ...time },
  )
}

/** Judges whether the study is whole, when it has been quiet for a moment. What is missing is fetched at once: should its sender still bring it, that is a re-send. */
async function askBeforehand(
  study: string,
  context: PipelineContext,
): Promise<Completeness | { tooEarly: number } | 'fetched'> {
  const { database, endpoints, quietSeconds } = context
  const unknown: Completeness = { outcome: 'unknown' }
  if (!(await canBeJudged(study, context))) return unknown
  const current = await findRevision(database, study)
  if (current?.state !== 'receiving') return unknown
  const early = Math.min(quietSeconds, endpoints.completeness.afterSeconds)
  const tooEarly = await quietPeriodLeft(database, study, early)
  if (tooEarly > 0) return { tooEarly }
  const completeness = await judgeCompleteness(study, context)
  if (completeness.outcome !== 'missing') return completeness
  const { rows } = await database.query<{ tries: number }>(
    `select count(*)::int tries from study_event where study_instance_uid = $1 and revision = $2 and kind = 'missing instances fetched'`,
    [study, current.revision],
  )
  if (rows[0]!.tries >= maxRefetches) return completeness
  return (await refetch(study, current.revision, completeness, context)) > 0 ? 'fetched' : completeness
}

/** Is there anything but the quiet period to tell whether a study is whole? */
async function canBeJudged(study: string, { endpoints, database }: PipelineContext): Promise<boolean> {
  const { ask, required } = endpoints.completeness
  if (ask.length > 0 || required.length > 0) return true
  const { rows } = await database.query('select 1 from announced_instance where study_instance_uid = $1 limit 1', [
    study,
  ])
  return rows.length > 0
}

/** A study that is whole goes on sooner, one that lacks series later. */
function secondsToBeQuiet(
  { outcome }: Completeness,
  { completeness: { afterSeconds, waitSeconds } }: Endpoints,
  quietSeconds: number,
): number {
  if (outcome === 'complete') return Math.min(quietSeconds, afterSeconds)
  return outcome === 'incomplete' ? Math.max(quietSeconds, waitSeconds) : quietSeconds
}

function evidenceOf(completeness: Completeness, quietSeconds: number): Pick<CompletenessEvidence, 'kind' | 'reason'> {
  switch (completeness.outcome) {
    case 'complete':
      return { kind: 'complete', reason: completeness.reason }
    case 'missing':
    case 'incomplete':
      return { kind: 'partial', reason: completeness.reason }
    case 'unknown':
      return { kind: 'presumed', reason: `nothing arrived for ${quietSeconds} s` }
  }
}

/** Whether an instance that opened or joined the revision has pixels. */
async function hasNewImages(tx: Transaction, study: string, revision: number): Promise<boolean> {
  const { rows } = await tx.query(
    `select 1 from instance where study_instance_uid = $1 and revision = $2 and origin = 'received'
        and attributes #>> '{00280010,Value,0}' is not null limit 1`,
    [study, revision],
  )
  return rows.length > 0
}

/** Seconds until the quiet period ends, by the database's clock; a few milliseconds do not count. */
async function quietPeriodLeft(tx: Queryable, study: string, quietSeconds: number): Promise<number> {
  const { rows } = await tx.query<{ left: number }>(
    `select $2 - extract(epoch from clock_timestamp() - last_instance_at)::float8 as left from study where study_instance_uid = $1`,
    [study, quietSeconds],
  )
  const left = rows[0]?.left ?? 0
  return left > 0.05 ? left : 0
}

/** What has not been reported of earlier revisions will not be: the newer one holds their images too. */
async function supersedeEarlier(tx: Transaction, study: string, revision: number): Promise<void> {
  const { rows } = await tx.query<{ revision: number }>(
    `select revision from study_revision where study_instance_uid = $1 and revision < $2 and state in ('settled', 'analyzing', 'reporting')`,
    [study, revision],
  )
  for (const earlier of rows) {
    await changeState(tx, study, earlier.revision, 'superseded', { reason: `revision ${revision} has more images` })
  }
}
