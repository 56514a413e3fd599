import type { PipelineContext } from '../pipeline/index.js'
import { packageVersion } from '../platform/packageVersion.js'
import { budgetReports, providerReports } from './providerReport.js'

const keptMilliseconds = 2000
let kept: { at: number; of: object; answer: Promise<object> } | undefined

/** What an administrator looks at first; asked for once in two seconds at most, however many look. */
export function readDashboard(context: PipelineContext): Promise<object> {
  if (kept && kept.of === context.database && performance.now() - kept.at < keptMilliseconds) return kept.answer
  const answer = read(context)
  kept = { at: performance.now(), of: context.database, answer }
  answer.catch(() => (kept = undefined))
  return answer
}

async function read({ database, endpoints, blobs, ingest }: PipelineContext): Promise<object> {
  const day = 86_400_000
  const now = new Date()
  const lastDay = { from: new Date(now.getTime() - day), to: now }
  const [states, hours, turnaround, deliveries, jobs, health, nodes, providers, budgets, free, problem, refused] =
    await Promise.all([
      database.query<{ state: string; count: number }>(
        `select v.state, count(*)::int count from study s join study_revision v using (study_instance_uid, revision)
          where s.received_at > now() - interval '24 hours' or v.state not in ('completed', 'ignored') group by v.state`,
      ),
      database.query(
        `select h "at", (select count(*)::int from study where received_at >= h and received_at < h + interval '1 hour') studies
           from generate_series(date_trunc('hour', now()) - interval '23 hours', date_trunc('hour', now()), interval '1 hour') h order by h`,
      ),
      database.query(
        `select percentile_cont(0.5) within group (order by seconds) p50, percentile_cont(0.95) within group (order by seconds) p95,
                percentile_cont(0.99) within group (order by seconds) p99, count(*)::int studies
           from (select extract(epoch from v.finished_at - v.settled_at)::float8 seconds from study_revision v
                  where v.state = 'completed' and v.finished_at > now() - interval '24 hours') t`,
      ),
      database.query(
        `select destination, state, count(*)::int count from delivery where state <> 'delivered' group by destination, state order by 1, 2`,
      ),
      database.query(
        `select count(*)::int due, coalesce(max(extract(epoch from now() - run_at)), 0)::float8 "oldestSeconds" from graphile_worker.jobs
          where run_at <= now() and attempts < max_attempts`,
      ),
      database.query(
        'select distinct on (provider) provider, up, problem, at from provider_health order by provider, at desc',
      ),
      database.query('select count(*)::int count from node'),
      providerReports(database, lastDay, endpoints.providers),
      budgetReports(database, endpoints.providers),
      blobs.freeBytes(),
      ingest.unavailableBecause(),
      database.query<{ instances: number }>(
        `select coalesce(sum((event_data ->> 'instances')::int), 0)::int instances from audit
          where event = 'instances-received' and outcome = 'failure' and at > now() - interval '24 hours'`,
      ),
    ])
  return {
    version: packageVersion,
    at: now,
    ready: problem === undefined,
    ...(problem ? { problem } : {}),
    nodes: nodes.rows[0].count,
    studies: Object.fromEntries(states.rows.map(({ state, count }) => [state, count])),
    refusedInstances: refused.rows[0]!.instances,
    receivedByHour: hours.rows,
    turnaroundSeconds: turnaround.rows[0],
    openDeliveries: deliveries.rows,
    jobs: jobs.rows[0],
    providers,
    providerHealth: health.rows,
    budgets,
    storage: { freeBytes: free },
  }
}
