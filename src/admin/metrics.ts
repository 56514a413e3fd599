import { SpanKind, trace } from '@opentelemetry/api'
import type { NextFunction, Request, Response } from 'express'
import { Gauge, Registry } from 'prom-client'
import type { BlobStore } from '../archive/index.js'
import type { Database } from '../platform/database.js'
import { metrics, registry } from '../platform/metrics.js'

const keptMilliseconds = 5000

/** Metrics in the text format of Prometheus: those of this process, and those that all nodes share, which are asked for every five seconds at most. */
export function metricsHandler({ database, blobs }: { database: Database; blobs: BlobStore }) {
  const shared = new Registry()
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames: [...labelNames], registers: [shared] })
  const studies = gauge('radbridge_studies', 'Studies by state of their newest revision', ['state'])
  const deliveries = gauge('radbridge_deliveries_open', 'Objects not yet delivered, by destination and state', [
    'destination',
    'state',
  ])
  const jobs = gauge('radbridge_jobs', 'Jobs that are due, by task', ['task'])
  const oldest = gauge('radbridge_job_oldest_seconds', 'How long the oldest job has been due')
  const providers = gauge('radbridge_provider_up', 'Whether a provider answered when it was asked last', ['provider'])
  const free = gauge('radbridge_storage_free_bytes', 'Free space of the store')
  let readAt = Number.NEGATIVE_INFINITY

  const read = async () => {
    const [states, open, due, health] = await Promise.all([
      database.query<{ state: string; count: number }>(
        `select v.state, count(*)::int count from study s join study_revision v using (study_instance_uid, revision) group by v.state`,
      ),
      database.query<{ destination: string; state: string; count: number }>(
        `select destination, state, count(*)::int count from delivery where state <> 'delivered' group by destination, state`,
      ),
      database.query<{ task: string; count: number; oldest: number }>(
        `select task_identifier task, count(*)::int count, max(extract(epoch from now() - run_at))::float8 oldest
           from graphile_worker.jobs where run_at <= now() and attempts < max_attempts group by task_identifier`,
      ),
      database.query<{ provider: string; up: boolean }>(
        'select distinct on (provider) provider, up from provider_health order by provider, at desc',
      ),
    ])
    for (const kind of [studies, deliveries, jobs, providers]) kind.reset()
    for (const row of states.rows) studies.set({ state: row.state }, row.count)
    for (const row of open.rows) deliveries.set({ destination: row.destination, state: row.state }, row.count)
    for (const row of due.rows) jobs.set({ task: row.task }, row.count)
    oldest.set(Math.max(0, ...due.rows.map(row => row.oldest)))
    for (const row of health.rows) providers.set({ provider: row.provider }, row.up ? 1 : 0)
    free.set(await blobs.freeBytes())
  }

  return async (_req: Request, res: Response): Promise<void> => {
    if (performance.now() - readAt > keptMilliseconds) {
      readAt = performance.now()
      await read().catch(() => shared.resetMetrics()) // those of the process are worth having without a database
    }
    res.type(registry.contentType).send(`${await registry.metrics()}\n${await shared.metrics()}`)
  }
}

/** Measures requests by the pattern of their route, so that no UID becomes a label. */
export function measured(req: Request, res: Response, next: NextFunction): void {
  const end = metrics.requests.startTimer()
  const span = trace.getTracer('radbridge').startSpan('HTTP request', { kind: SpanKind.SERVER })
  res.once('close', () => {
    const route = req.route ? `${req.baseUrl}${String(req.route.path)}` : 'none'
    end({ route, method: req.method, status: String(res.statusCode) })
    span.updateName(`${req.method} ${route}`)
    span.setAttributes({
      'http.route': route,
      'http.request.method': req.method,
      'http.response.status_code': res.statusCode,
    })
    span.end()
  })
  next()
}
