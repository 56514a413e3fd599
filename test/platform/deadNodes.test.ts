import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Gate } from '../../src/analysis/calling/gate.js'
import { type Database, openDatabase } from '../../src/platform/database.js'
import { addDueJob, addJob, startJobs, type Tasks } from '../../src/platform/jobs.js'
import { silentLog } from '../../src/platform/log.js'
import { startNodeLiveness } from '../../src/platform/nodeLiveness.js'
import { startTestDatabase } from '../fixtures/database.js'
import { until } from '../fixtures/service.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
beforeAll(async () => {
  base = await startTestDatabase()
})
afterAll(() => base?.stop())

const signal = new AbortController().signal
const idle = (analyze: Tasks['analyze']) => ({ analyze }) as unknown as Tasks

/** A node with a pool of its own, whose sessions can be cut as by a SIGKILL. */
async function startNode(analyze?: Tasks['analyze']) {
  const { connectionString, ...options } = base.database.options
  const database: Database = openDatabase(connectionString ?? options, silentLog)
  const liveness = await startNodeLiveness(database, silentLog)
  const stopJobs = analyze ? await startJobs(database, idle(analyze), liveness, silentLog, 1) : async () => {}
  return { database, liveness, stopJobs }
}

/** Its lock is free and it is still in the table: what a killed node leaves. The job is as one that it had in hand. */
async function leaveDeadNode(job: string): Promise<number> {
  const { rows } = await base.database.query<{ id: number }>(
    `insert into node (worker_ids) values (array['dead-worker-' || gen_random_uuid()]) returning id`,
  )
  await base.database.query(
    `update graphile_worker._private_jobs set locked_by = worker_ids[1], locked_at = now(), attempts = attempts + 1
       from node where node.id = $1 and key = $2`,
    [rows[0]!.id, job],
  )
  return rows[0]!.id
}

const jobOf = async (key: string) =>
  (
    await base.database.query<{ attempts: number; locked_by: string | null; later: number }>(
      'select attempts, locked_by, extract(epoch from run_at - now())::float8 later from graphile_worker.jobs where key = $1',
      [key],
    )
  ).rows[0]!

test('a job whose node died gets its attempt back, waits after the third time, and is given up after the twelfth', async () => {
  const key = 'a study'
  await addJob(base.database, 'analyze', { study: '2.25.1', revision: 1 }, { key })
  for (let death = 1; death <= 12; death++) {
    await leaveDeadNode(key)
    const { database, liveness } = await startNode()
    const { attempts, locked_by, later } = await jobOf(key)
    expect(locked_by).toBeNull()
    expect(attempts).toBe(death < 12 ? 0 : 8)
    if (death <= 3) expect(later).toBeLessThanOrEqual(0)
    else expect(later).toBeGreaterThan(Math.min(30, 2 ** (death - 3)) - 1)
    await liveness.stop()
    await database.end()
  }
  await base.database.query('select graphile_worker.complete_jobs(array(select id from graphile_worker.jobs))')
})

test('the job of a node that dies runs elsewhere within five seconds, and its call at a provider holds no place any more', async () => {
  const key = 'a second study'
  const limits = { concurrency: 1, timeoutSeconds: 600 }
  const survivor = await startNode(async () => {})
  await addJob(
    base.database,
    'analyze',
    { study: '2.25.2', revision: 1 },
    { key, runAt: new Date(Date.now() + 3_600_000) },
  )
  const dead = await leaveDeadNode(key)
  await base.database.query('update graphile_worker._private_jobs set run_at = now() where key = $1', [key])
  const stuck = new Gate(base.database, 'remote', limits, dead)
  void stuck.run(
    () => new Promise(() => {}),
    () => true,
    signal,
  )
  const began = performance.now()
  const gate = new Gate(survivor.database, 'remote', limits, survivor.liveness.nodeId)
  await gate.run(
    async () => ({ result: 1 }),
    () => true,
    signal,
  )
  expect(performance.now() - began).toBeLessThan(5000)
  await until('the job', async () => ((await jobOf(key)) ? undefined : true), 5)
  await survivor.stopJobs()
  await survivor.liveness.stop()
  await survivor.database.end()
}, 180_000)

test('that a job has ended is said until the database has heard it, and it runs once', async () => {
  const key = 'a third study'
  let runs = 0
  const node = await startNode(async () => {
    runs++
    await base.crash()
  })
  await addJob(base.database, 'analyze', { study: '2.25.3', revision: 1 }, { key })
  await until('its end', async () => (runs > 0 && !(await jobOf(key).catch(() => true)) ? true : undefined), 20)
  expect(runs).toBe(1)
  await node.stopJobs()
  await node.liveness.stop()
  await node.database.end()
}, 180_000)

test('a node may be stopped while it opens its session anew, or fails to, and leaves neither lock nor row', async () => {
  const locks = `select pid from pg_locks where locktype = 'advisory' and objid = $1`
  for (const reachable of [true, false]) {
    const { database, liveness } = await startNode()
    const lock = [liveness.nodeId]
    if (!reachable) {
      const refused = new Error('connection refused')
      database.connect = ((told?: (error: Error) => void) => (told ? told(refused) : Promise.reject(refused))) as never
    }
    await base.database.query(`select pg_terminate_backend(pid) from (${locks}) held`, lock)
    await sleep(2110) // its next look has found the session gone
    await liveness.stop()
    await database.end()
    const free = async () => (await base.database.query(locks, lock)).rowCount === 0
    await until('the lock', async () => ((await free()) ? true : undefined), 5)
  }
})

test('a job that the database has given to a worker which never heard of it is run', async () => {
  const key = 'a fourth study'
  const worker = (await base.database.query<{ worker: string }>(`select 'worker-' || gen_random_uuid() worker`))
    .rows[0]!.worker
  let runs = 0
  const node = await startNode(async () => void runs++)
  node.liveness.registerWorker(worker)
  await addJob(base.database, 'analyze', { study: '2.25.4', revision: 1 }, { key, inSeconds: 3600, queue: 'a queue' })
  await base.database.query(
    `with j as (update graphile_worker._private_jobs set locked_by = $1, locked_at = now() - interval '11 seconds', attempts = 1, run_at = now()
                 where key = $2 returning job_queue_id)
     update graphile_worker._private_job_queues q set locked_by = $1, locked_at = now() from j where q.id = j.job_queue_id`,
    [worker, key],
  )
  await until('the job', async () => (runs > 0 ? true : undefined), 8)
  await node.stopJobs()
  await node.liveness.stop()
  await node.database.end()
}, 180_000)

test('what is due once in a minute is done once, by whichever node asks first, also when it is done before the next one asks', async () => {
  const jobs = async () =>
    (await base.database.query(`select 1 from graphile_worker.jobs where task_identifier = 'observe'`)).rowCount
  const asked = await Promise.all(Array.from({ length: 10 }, () => addDueJob(base.database, 'observe', 'minute')))
  expect(asked.filter(Boolean)).toHaveLength(1)
  expect(await jobs()).toBe(1)
  await base.database.query(
    `select graphile_worker.complete_jobs(array(select id from graphile_worker.jobs where task_identifier = 'observe'))`,
  )
  const again = await addDueJob(base.database, 'observe', 'minute')
  const { rows } = await base.database.query<{ same: boolean }>(
    `select value::timestamptz = date_trunc('minute', now()) as same from setting where name = 'due observe'`,
  )
  if (rows[0]!.same) expect(again).toBe(false) // unless the minute is over by now
  await base.database.query(
    `update setting set value = (now() - interval '2 minutes')::text where name = 'due observe'`,
  )
  expect(await addDueJob(base.database, 'observe', 'minute')).toBe(true)
})
