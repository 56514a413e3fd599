import { budgetReports } from '../admin/providerReport.js'
import { driftAlarms } from '../admin/quality.js'
import type { PipelineContext } from '../pipeline/context.js'
import type { Queryable } from '../platform/database.js'
import { settledMoment, transaction } from '../platform/database.js'
import { type Occurrence, raise } from './raise.js'

/** The share of a budget from which on it is told. */
const budgetWarning = 0.8
/** Attempts in a row after which a destination counts as away. */
const attemptsWhenAway = 3

/**
 * Looks once a minute at what has happened since it looked last, and at how things are, and tells of it. Everything is found in the database, so that whichever node
 * looks tells of all.
 */
export async function observe(context: PipelineContext): Promise<void> {
  const { database, endpoints, blobs, minimumFreeBytes } = context
  const rules = endpoints.notifications
  if (rules.length === 0) return
  const day = new Date().toISOString().slice(0, 10)
  const state = await Promise.all([
    providersAway(database),
    destinationsAway(database, day),
    disk(await blobs.freeBytes(), minimumFreeBytes, day),
    budgets(context, day),
    rules.some(({ on }) => on.includes('drift')) ? drift(database, day) : [],
  ])
  await transaction(database, async tx => {
    const happened = [...(await studiesFailed(tx)), ...(await deadLetters(tx)), ...(await canarySteps(tx))]
    for (const occurrence of [...happened, ...state.flat()]) await raise(tx, occurrence, rules)
  })
}

/** Rows of a table of what happened that came since it was looked last, and can all be seen; the first look only remembers where it stands. */
async function since<R extends { id: number }>(
  tx: Queryable,
  name: string,
  table: 'study_event' | 'canary_decision',
  query: string,
): Promise<R[]> {
  const setting = `observed ${name}`
  const { rows } = await tx.query<{ value: string }>('select value from setting where name = $1 for update', [setting])
  const { rows: last } = await tx.query<{ id: number | null }>(
    `select max(id) id from ${table} where at < ${settledMoment}`,
  )
  const from = Number(rows[0]?.value ?? 0)
  const until = Math.max(from, last[0]?.id ?? 0)
  await tx.query(
    'insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    [setting, String(until)],
  )
  if (!rows[0]) return []
  return (await tx.query<R>(query, [from, until])).rows
}

async function studiesFailed(tx: Queryable): Promise<Occurrence[]> {
  const rows = await since<{ id: number; study: string; reason: string | null }>(
    tx,
    'failed studies',
    'study_event',
    `select id, study_instance_uid study, detail ->> 'reason' reason from study_event where id > $1 and id <= $2 and kind = 'failed'`,
  )
  return rows.map(({ id, study, reason }) => ({
    event: 'study-failed',
    key: `failed:${id}`,
    study,
    summary: `A study failed: ${reason ?? 'its deliveries were given up'}`,
  }))
}

async function deadLetters(tx: Queryable): Promise<Occurrence[]> {
  const rows = await since<{ id: number; study: string; destination: string; detail: string; objects: number }>(
    tx,
    'dead letters',
    'study_event',
    `select max(id) id, study_instance_uid study, detail ->> 'destination' destination, max(detail ->> 'detail') detail, count(*)::int objects
       from study_event where id > $1 and id <= $2 and kind = 'delivery dead' group by 2, 3`,
  )
  return rows.map(({ id, study, destination, detail, objects }) => ({
    event: 'dead-letter',
    key: `dead:${id}`,
    study,
    summary: `${objects} object${objects === 1 ? '' : 's'} could not be delivered to ${destination}: ${detail}`,
    detail: { destination, objects },
  }))
}

async function canarySteps(tx: Queryable): Promise<Occurrence[]> {
  const rows = await since<{ id: number; route: string; provider: string; from: number; to: number; reason: string }>(
    tx,
    'canary steps',
    'canary_decision',
    `select id, route, provider, from_percent "from", to_percent "to", reason from canary_decision where id > $1 and id <= $2`,
  )
  return rows.map(({ id, route, provider, from, to, reason }) => ({
    event: 'canary-step',
    key: `canary:${id}`,
    summary: `The share of ${provider} on route ${route} went from ${from} % to ${to} %: ${reason}`,
    detail: { route, provider, from, to },
  }))
}

/** Providers that went away or came back: by the minute in which that was noted. */
async function providersAway(db: Queryable): Promise<Occurrence[]> {
  const { rows } = await db.query<{ provider: string; up: boolean; problem: string | null; at: Date }>(
    `select provider, up, problem, at from (
       select provider, up, problem, at, lag(up) over (partition by provider order by at) was from provider_health where at > now() - interval '1 hour') h
      where up is distinct from coalesce(was, true)`,
  )
  return rows.map(({ provider, up, problem, at }) => ({
    event: up ? 'provider-back' : 'provider-away',
    key: `provider:${provider}:${up}:${at.toISOString()}`,
    summary: up ? `Provider ${provider} is there again` : `Provider ${provider} is away: ${problem}`,
    detail: { provider },
  }))
}

async function destinationsAway(db: Queryable, day: string): Promise<Occurrence[]> {
  const { rows } = await db.query<{ destination: string; objects: number; error: string }>(
    `select destination, count(*)::int objects, max(last_error) error from delivery d
      where state = 'pending' and attempts >= $1
        and not exists (select from delivery o where o.destination = d.destination and o.delivered_at > now() - interval '10 minutes')
      group by destination`,
    [attemptsWhenAway],
  )
  return rows.map(({ destination, objects, error }) => ({
    event: 'destination-away',
    key: `destination:${destination}:${day}`,
    summary: `Destination ${destination} takes nothing, ${objects} object${objects === 1 ? ' waits' : 's wait'}: ${error}`,
    detail: { destination, objects },
  }))
}

/** Twice the space at which nothing is taken any more is little. */
function disk(free: number, minimum: number, day: string): Occurrence[] {
  if (free > 2 * minimum) return []
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1)
  return [
    {
      event: 'disk',
      key: `disk:${day}:${free < minimum}`,
      summary:
        free < minimum
          ? `The disk is nearly full (${gigabytes(free)} GB free): no study is taken any more`
          : `The disk is getting full: ${gigabytes(free)} GB free; below ${gigabytes(minimum)} GB no study is taken any more`,
      detail: { freeBytes: free },
    },
  ]
}

async function budgets({ database, endpoints }: PipelineContext, day: string): Promise<Occurrence[]> {
  const reports = await budgetReports(database, endpoints.providers)
  return reports.flatMap(({ provider, currency, day: today, month, perDay, perMonth }) =>
    (
      [
        ['today', today, perDay, day],
        ['this month', month, perMonth, day.slice(0, 7)],
      ] as const
    ).flatMap(([when, spent, budget, period]) => {
      if (budget === null || spent < budgetWarning * budget) return []
      const isSpent = spent >= budget
      return [
        {
          event: 'budget' as const,
          key: `budget:${provider}:${period}:${isSpent}`,
          summary: `Provider ${provider} has cost ${spent.toFixed(2)} of ${budget} ${currency} ${when}${isSpent ? ': the budget is spent' : ''}`,
          detail: { provider, spent, budget, currency },
        },
      ]
    }),
  )
}

/** Reads the analyses of two months: once an hour, by one node. */
async function drift(db: Queryable, day: string): Promise<Occurrence[]> {
  const { rowCount } = await db.query(
    `insert into setting (name, value) values ('looked for drift', now()::text)
     on conflict (name) do update set value = excluded.value where setting.value::timestamptz < now() - interval '1 hour'`,
  )
  if (!rowCount) return []
  return (await driftAlarms(db)).map(({ provider, arm, what, before, lately, p }) => ({
    event: 'drift',
    key: `drift:${provider}:${arm}:${what}:${day}`,
    summary: `${what} of ${provider} (${arm}): ${(lately.value * 100).toFixed(0)} % lately, ${(before.value * 100).toFixed(0)} % before`,
    detail: { provider, arm, what, p },
  }))
}
