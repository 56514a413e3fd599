import { createHash } from 'node:crypto'
import type { Queryable, Transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import type { Log } from '../platform/log.js'
import { readTraits } from './chooseRoute.js'
import { disagreementSince } from './shadowReport.js'

type CanarySettings = NonNullable<Route['analysis']['canary']>

/** The share goes up by so many points when less than so many of the analyses failed, and down when more did; never below `floor` by itself. */
const steps = { up: 10, upUnder: 0.01, down: 20, downOver: 0.05, floor: 5 } as const

interface CanaryState {
  percent: number
  cap: number
  frozen: boolean
  startedAt: Date
}

const columns = `percent, cap, frozen, started_at "startedAt"`

/** Where a patient with this kind of study stands, from 0 to 100: always in the same place, and evenly spread. */
export function placeOf(patient: string, studyType: string): number {
  const digest = createHash('sha256').update(`${patient}\0${studyType}`).digest()
  return (digest.readUInt32BE(0) / 2 ** 32) * 100
}

/** The share that a ramp asks for so long after its start; 0 before its first day. */
export function rampPercent(ramp: CanarySettings['ramp'], startedAt: Date, now: Date): number {
  const day = Math.floor((now.getTime() - startedAt.getTime()) / 86_400_000) + 1
  return ramp.filter(entry => entry.day <= day).reduce((_, entry) => entry.percent, 0)
}

function shareOf({ ramp }: CanarySettings, { percent, cap, startedAt }: CanaryState, now = new Date()): number {
  return Math.min(cap, ramp.length > 0 ? rampPercent(ramp, startedAt, now) : percent)
}

/**
 * Which provider a study goes to. By patient and kind of study, so that a patient stays with one of them; a share that grows takes patients in and
 * lets none out.
 */
export async function chooseProvider(
  tx: Transaction,
  route: Route,
  study: string,
): Promise<{ provider: string; choice: 'primary' | 'canary' }> {
  const { primary, canary } = route.analysis
  if (!canary) return { provider: primary, choice: 'primary' }
  const state = await stateOf(tx, route.name, canary)
  const { rows } = await tx.query<{ patient: string | null }>(
    'select patient_id patient from study where study_instance_uid = $1',
    [study],
  )
  const { modalities, bodyParts } = await readTraits(tx, study)
  // Without a Patient ID a study can only stand for itself.
  const place = placeOf(rows[0]?.patient || study, [...modalities.sort(), '', ...bodyParts.sort()].join('\\'))
  return place < shareOf(canary, state)
    ? { provider: canary.provider, choice: 'canary' }
    : { provider: primary, choice: 'primary' }
}

async function stateOf(tx: Queryable, route: string, { provider, percent }: CanarySettings): Promise<CanaryState> {
  const { rows } = await tx.query<CanaryState>(
    `insert into canary (route, provider, percent) values ($1, $2, $3)
     on conflict (route) do update
        set percent = case when canary.provider = $2 then canary.percent else $3 end,
            cap = case when canary.provider = $2 then canary.cap else 100 end,
            started_at = case when canary.provider = $2 then canary.started_at else now() end,
            window_from = case when canary.provider = $2 then canary.window_from else now() end,
            provider = $2
     returning ${columns}`,
    [route, provider, percent],
  )
  return rows[0]!
}

/**
 * Notes what came of an analysis by a canary's provider, and, when there are enough since the last time, moves its share.
 * @param failed also if the primary provider then did it
 */
export async function noteOutcome(
  tx: Transaction,
  route: Route | undefined,
  study: string,
  revision: number,
  failed: boolean,
  log: Log,
): Promise<void> {
  const canary = route?.analysis.canary
  if (!route || !canary) return
  await tx.query(
    `insert into canary_outcome (route, study_instance_uid, revision, failed) values ($1, $2, $3, $4)
     on conflict (study_instance_uid, revision, route) do update set failed = excluded.failed, at = clock_timestamp()`,
    [route.name, study, revision, failed],
  )
  const { rows: states } = await tx.query<CanaryState>(`select ${columns} from canary where route = $1 for update`, [
    route.name,
  ])
  const state = states[0]
  if (!state || state.frozen || !canary.automatic) return
  const { rows } = await tx.query<{ sample: number; failures: number; p95: number | null; since: Date }>(
    `select count(*)::int sample, count(*) filter (where failed)::int failures, max(c.window_from) since,
            percentile_cont(0.95) within group (order by extract(epoch from a.finished_at - a.started_at)::float8)
              filter (where not failed) p95
       from canary_outcome o join canary c using (route)
       left join analysis a on a.study_instance_uid = o.study_instance_uid and a.revision = o.revision and a.arm = 'primary'
      where o.route = $1 and o.at > c.window_from`,
    [route.name],
  )
  const { sample, failures, p95, since } = rows[0]!
  if (sample < canary.minimumSample) return
  await tx.query('update canary set window_from = clock_timestamp() where route = $1', [route.name])
  const share = shareOf(canary, state)
  const rate = failures / sample
  const told = `${failures} of ${sample} analyses failed`
  const why = await tooBad(tx, route, rate > steps.downOver ? told : undefined, p95, since)
  if (why) {
    const to = Math.min(share, Math.max(steps.floor, share - steps.down))
    await decide(tx, route.name, canary, share, { cap: to }, to, `down: ${why}`, log, { sample, failures })
  } else if (rate < steps.upUnder) {
    const cap = Math.min(100, Math.max(state.cap, share + steps.up))
    const percent = Math.min(100, share + steps.up)
    const to = shareOf(canary, { ...state, cap, percent })
    if (to !== share || cap !== state.cap)
      await decide(tx, route.name, canary, share, { cap, percent }, to, `up: ${told}`, log, { sample, failures })
  }
}

/** Why a share has to go down: failures, slowness, or findings unlike those of the primary provider; undefined if it need not. */
async function tooBad(
  tx: Transaction,
  { name, analysis: { primary, canary } }: Route,
  failures: string | undefined,
  p95: number | null,
  since: Date,
): Promise<string | undefined> {
  if (failures) return failures
  const { maxP95Seconds, maxDisagreement } = canary!
  if (maxP95Seconds !== undefined && p95 !== null && p95 > maxP95Seconds)
    return `95 % of the analyses took up to ${p95.toFixed(1)} s, more than ${maxP95Seconds} s`
  if (maxDisagreement === undefined) return undefined
  const disagreement = await disagreementSince(tx, name, primary, since)
  if (disagreement === undefined || disagreement <= maxDisagreement) return undefined
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`
  return `${percent(disagreement)} of the lesions were found by one provider alone, more than ${percent(maxDisagreement)}`
}

/** What an administrator may do to a share. */
export type CanaryAction =
  | { action: 'freeze' }
  | { action: 'resume' }
  | { action: 'set'; percent: number }
  | { action: 'rollback' }

/** @returns the new share; undefined if the route has no canary */
export async function steerCanary(
  tx: Transaction,
  route: Route | undefined,
  request: CanaryAction,
  log: Log,
): Promise<number | undefined> {
  const canary = route?.analysis.canary
  if (!route || !canary) return undefined
  const state = await stateOf(tx, route.name, canary)
  const share = shareOf(canary, state)
  // What happened before is not held against a share that somebody has chosen since.
  await tx.query('update canary set window_from = clock_timestamp() where route = $1', [route.name])
  switch (request.action) {
    case 'freeze':
    case 'resume':
      await tx.query('update canary set frozen = $2 where route = $1', [route.name, request.action === 'freeze'])
      await decide(tx, route.name, canary, share, {}, share, `${request.action} by an administrator`, log)
      return share
    case 'rollback':
      await decide(tx, route.name, canary, share, { cap: 0, percent: 0 }, 0, 'rolled back by an administrator', log)
      return 0
    case 'set': {
      const cap = canary.ramp.length > 0 ? request.percent : 100
      const to = shareOf(canary, { ...state, percent: request.percent, cap })
      await decide(tx, route.name, canary, share, { percent: request.percent, cap }, to, 'set by an administrator', log)
      return to
    }
  }
}

async function decide(
  tx: Queryable,
  route: string,
  { provider }: CanarySettings,
  from: number,
  change: { cap?: number; percent?: number },
  to: number,
  reason: string,
  log: Log,
  numbers: { sample?: number; failures?: number } = {},
): Promise<void> {
  await tx.query('update canary set cap = coalesce($2, cap), percent = coalesce($3, percent) where route = $1', [
    route,
    change.cap ?? null,
    change.percent ?? null,
  ])
  await tx.query(
    `insert into canary_decision (route, provider, from_percent, to_percent, reason, sample, failures) values ($1, $2, $3, $4, $5, $6, $7)`,
    [route, provider, from, to, reason, numbers.sample ?? null, numbers.failures ?? null],
  )
  log.warn('the share of a canary was decided upon', { route, provider, from, to, reason })
}

export interface CanaryReport {
  route: string
  provider: string
  percent: number
  frozen: boolean
  /** As configured: from so many days after the start on. */
  ramp: { day: number; percent: number }[]
  startedAt: Date
  decisions: { at: Date; from: number; to: number; reason: string; sample: number | null; failures: number | null }[]
}

/** The shares as they are, with the last decisions. */
export async function listCanaries(db: Queryable, routes: readonly Route[]): Promise<CanaryReport[]> {
  const reports: CanaryReport[] = []
  for (const { name, analysis } of routes) {
    const { canary } = analysis
    if (!canary) continue
    const { rows: states } = await db.query<CanaryState>(
      `select ${columns} from canary where route = $1 and provider = $2`,
      [name, canary.provider],
    )
    // Until the first study has come it has not begun.
    const state = states[0] ?? { percent: canary.percent, cap: 100, frozen: false, startedAt: new Date() }
    const { rows } = await db.query<CanaryReport['decisions'][number]>(
      `select at, from_percent "from", to_percent "to", reason, sample, failures from canary_decision where route = $1 order by id desc limit 100`,
      [name],
    )
    reports.push({
      route: name,
      provider: canary.provider,
      percent: shareOf(canary, state),
      frozen: state.frozen,
      ramp: canary.ramp,
      startedAt: state.startedAt,
      decisions: rows,
    })
  }
  return reports
}
