import type { Transaction } from './database.js'
import type { Log } from './log.js'

/** Class of the advisory locks by which nodes say that they live. */
export const lockClass = `hashtext('radbridge.node')`

/** A job that was in hand so often when a node died is believed to be why, and is given up (pipeline/givenUp.ts). */
const mostDeaths = 12
/** From so many on it waits, longer each time, so that it takes no node down with each breath. */
const innocentDeaths = 3

/**
 * What nodes had in hand that live no more is free for others: their jobs, and their places at providers. A worker that no node has registered is taken for dead
 * after ten seconds: a node registers its own within milliseconds.
 */
export async function freeDeadNodes(session: Transaction, ownId: number, log: Log): Promise<void> {
  const { rows } = await session.query<{ id: number; worker_ids: string[] }>(
    `select id, worker_ids from node where id <> $1 and pg_try_advisory_lock(${lockClass}, id)`,
    [ownId],
  )
  try {
    await session.query('begin')
    // One node at a time: what another has freed is not freed, and counted, again.
    await session.query(`select pg_advisory_xact_lock(hashtext('radbridge.free'))`)
    const strangers = await session.query<{ locked_by: string }>(
      `select distinct locked_by from graphile_worker.jobs
        where locked_by is not null and locked_at < now() - interval '10 seconds'
          and not exists (select from node where locked_by = any (worker_ids))`,
    )
    const deadWorkers = [...rows.flatMap(row => row.worker_ids), ...strangers.rows.map(row => row.locked_by)]
    if (deadWorkers.length > 0) {
      const jobs = await freeJobs(session, deadWorkers)
      log.warn('freed the jobs of dead workers', {
        nodes: rows.map(row => row.id),
        workers: deadWorkers.length,
        jobs,
      })
    }
    const dead = rows.map(row => row.id)
    if (dead.length > 0) {
      // A probe that a dead node had sent is not waited for.
      await session.query(
        `with freed as (delete from provider_call where node = any ($1) returning provider)
         update provider_gate set probe_until = null where provider in (select provider from freed)`,
        [dead],
      )
      await session.query('delete from node where id = any ($1)', [dead])
    }
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  } finally {
    for (const { id } of rows) await session.query(`select pg_advisory_unlock(${lockClass}, $1)`, [id]).catch(() => {})
  }
}

/** That its node died is not the job's failure: it gets its attempt back, until that has happened too often. @returns how many jobs were freed */
async function freeJobs(session: Transaction, workers: readonly string[]): Promise<number> {
  const { rows } = await session.query<{ id: string; deaths: number }>(
    `insert into job_death as d (job_id) select id from graphile_worker.jobs where locked_by = any ($1)
     on conflict (job_id) do update set deaths = d.deaths + 1, at = now() returning job_id id, deaths`,
    [workers],
  )
  await session.query('select graphile_worker.force_unlock_workers($1)', [workers])
  await session.query(
    `select graphile_worker.reschedule_jobs(
              array[j.id],
              run_at => case when deaths > ${innocentDeaths} then now() + interval '1 second' * least(30, 2 ^ (deaths - ${innocentDeaths})) end,
              attempts => case when deaths >= ${mostDeaths} then j.max_attempts else greatest(0, j.attempts - 1) end)
       from graphile_worker.jobs j join unnest($1::bigint[], $2::int[]) d(id, deaths) using (id)`,
    [rows.map(row => row.id), rows.map(row => row.deaths)],
  )
  return rows.length
}

/**
 * Frees jobs that are locked by a node's own workers, and that none of them has: the answer by which the database gave one to a worker was lost with its connection.
 * @param inHand ids of those that the workers have
 */
export async function freeLostJobs(
  session: Transaction,
  workers: ReadonlySet<string>,
  inHand: readonly string[],
  log: Log,
): Promise<void> {
  if (workers.size === 0) return
  // The library frees all jobs of a worker or none; these are its own tables.
  const { rowCount } = await session.query(
    `with lost as (
       update graphile_worker._private_jobs set locked_at = null, locked_by = null, attempts = greatest(0, attempts - 1)
        where locked_by = any ($1) and locked_at < now() - interval '10 seconds' and not id = any ($2::bigint[])
       returning id, job_queue_id),
     queues as (
       update graphile_worker._private_job_queues q set locked_at = null, locked_by = null
         from lost where q.id = lost.job_queue_id and q.locked_by = any ($1))
     select id from lost`,
    [[...workers], inHand],
  )
  if (rowCount) log.warn('freed jobs that were lost with a connection to the database', { jobs: rowCount })
}
