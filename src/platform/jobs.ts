import { EventEmitter } from 'node:events'
import { Logger, type Runner, run, runMigrations, type WorkerEvents } from 'graphile-worker'
import type { Database, Queryable } from './database.js'
import { errorContext, type Log } from './log.js'
import type { JobsInHand, NodeLiveness } from './nodeLiveness.js'
import { steadyPool } from './steadyPool.js'
import { inStudySpan } from './tracing.js'

/** What the pipeline can be asked to do; the payload of each task. */
export interface JobPayloads {
  settle: { study: string }
  analyze: { study: string; revision: number }
  report: { study: string; revision: number; urgent?: true }
  deliver: { delivery: number }
  shadow: { study: string; revision: number; provider: string }
  /** The report of a storage commitment (dimse/storageCommitment.ts) to an application entity. */
  reportCommitment: { aeTitle: string; report: object }
  notifyAvailability: { study: string; revision: number; destination: string }
  notify: { notification: number }
  /** Looks for what is to be notified of. */
  observe: Record<string, never>
  purge: Record<string, never>
  scrub: Record<string, never>
  watchProviders: Record<string, never>
  /** Ends what jobs were about that the queue has given up. */
  watchJobs: Record<string, never>
}
export type JobName = keyof JobPayloads

export interface JobContext {
  jobId: string
  /** 1 for the first try. */
  attempt: number
  lastAttempt: boolean
  log: Log
}
export type Tasks = { [N in JobName]: (payload: JobPayloads[N], context: JobContext) => Promise<void> }

/**
 * Adds a job in the caller's transaction, so that it exists exactly if the transaction commits.
 * @param options.key a job of this key that has not begun is replaced: its time and payload become these
 * @param options.inSeconds not before, by the clock of the database: those of nodes may differ
 * @param options.runAt not before a time of day
 * @param options.queue jobs of one queue run one after another
 * @param options.priority greater ones wait while there are others
 */
export async function addJob<N extends JobName>(
  db: Queryable,
  name: N,
  payload: JobPayloads[N],
  options: {
    key?: string
    inSeconds?: number
    runAt?: Date
    queue?: string
    maxAttempts?: number
    priority?: number
  } = {},
): Promise<void> {
  await db.query(
    `select graphile_worker.add_job($1, $2::json, job_key => $3, run_at => coalesce($4, now() + make_interval(secs => $8)), queue_name => $5, max_attempts => $6, priority => $7)`,
    [
      name,
      JSON.stringify(payload),
      options.key ?? null,
      options.runAt ?? null,
      options.queue ?? null,
      options.maxAttempts ?? 8,
      options.priority ?? 0,
      options.inSeconds ?? null,
    ],
  )
}

/**
 * Adds a job that is due once in a minute, or once in a day, by the clock of the database; whoever asks first adds it, and nobody else does, whatever the clocks of nodes say.
 * @returns whether it was added
 */
export async function addDueJob(db: Queryable, name: JobName, once: 'minute' | 'day'): Promise<boolean> {
  const { rowCount } = await db.query(
    `with due as (
       insert into setting (name, value) values ('due ' || $1, date_trunc($2, now())::text)
       on conflict (name) do update set value = excluded.value where setting.value::timestamptz < excluded.value::timestamptz
       returning 1)
     select graphile_worker.add_job($1, '{}', job_key => $1, max_attempts => 1) from due`,
    [name, once],
  )
  return rowCount === 1
}

/** Creates or updates the queue's own tables (schema graphile_worker). */
export async function migrateJobs(database: Database, log: Log): Promise<void> {
  await runMigrations({ pgPool: database, logger: quietLogger(log) })
}

/** Starts working on jobs. The returned function stops taking new ones and waits for those in hand. */
export async function startJobs(
  database: Database,
  tasks: Tasks,
  liveness: NodeLiveness,
  log: Log,
  concurrency: number,
): Promise<() => Promise<void>> {
  const events = new EventEmitter() as WorkerEvents
  // Jobs are locked in the name of the pool, or of one of its workers, as the library sees fit.
  events.on('pool:create', ({ workerPool }) => liveness.registerWorker(workerPool.id))
  events.on('worker:create', ({ worker }) => liveness.registerWorker(worker.workerId))
  liveness.holds(jobsInHand(events))
  let stopped = false
  const runner: Runner = await run({
    pgPool: steadyPool(database, () => stopped),
    concurrency,
    events,
    noHandleSignals: true,
    pollInterval: 1000,
    logger: quietLogger(log),
    taskList: Object.fromEntries(
      Object.entries(tasks).map(([name, task]) => [
        name,
        async (payload: unknown, helpers: { job: { id: string; attempts: number; max_attempts: number } }) => {
          const { id: jobId, attempts, max_attempts } = helpers.job
          const study = (payload as { study?: string }).study
          const jobLog = log.child({ job: name, ...(study ? { study } : {}) })
          const context = { jobId, attempt: attempts, lastAttempt: attempts >= max_attempts, log: jobLog }
          try {
            await traced(name, payload, attempts, () =>
              (task as (p: unknown, c: JobContext) => Promise<void>)(payload, context),
            )
          } catch (error) {
            jobLog.warn('job failed, will be tried again', {
              attempt: attempts,
              of: max_attempts,
              ...errorContext(error),
            })
            throw error
          }
        },
      ]),
    ),
  })
  runner.promise.catch(error => log.error('the job runner has ended', errorContext(error)))
  return async () => {
    // A database that is away when the service stops is not waited for without end: other nodes free what is locked.
    const patience = setTimeout(() => (stopped = true), stopMilliseconds)
    await runner.stop()
    clearTimeout(patience)
    stopped = true
  }
}

const stopMilliseconds = 20_000

/** Told of the end of a job, the database needs a moment to hear it. */
const endMilliseconds = 5000

/** Ids of the jobs that workers have, and of those whose end is being told. */
function jobsInHand(events: WorkerEvents): JobsInHand {
  const begun = new Map<string, number>()
  events.on('job:start', ({ job }) => begun.set(String(job.id), job.attempts))
  events.on('job:complete', ({ job }) => {
    const forget = () => {
      if (begun.get(String(job.id)) === job.attempts) begun.delete(String(job.id))
    }
    setTimeout(forget, endMilliseconds).unref()
  })
  return { ids: () => [...begun.keys()] }
}

/** Within the trace of the study that a job is for; a delivery puts itself there. */
function traced(name: string, payload: unknown, attempt: number, work: () => Promise<void>): Promise<void> {
  const { study, revision } = payload as { study?: string; revision?: number }
  return study && revision ? inStudySpan(name, study, revision, { 'radbridge.attempt': attempt }, work) : work()
}

/** Graphile Worker's own lines are noise at info level; what a job does is logged by the job. */
function quietLogger(log: Log): Logger {
  return new Logger(() => (level, message) => {
    if (level === 'error') log.debug(message)
  })
}
