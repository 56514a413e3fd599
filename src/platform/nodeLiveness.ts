import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, Transaction } from './database.js'
import { errorContext, type Log } from './log.js'

const lockClass = `hashtext('radbridge.node')`
const sweepMilliseconds = 2000

export interface NodeLiveness {
  readonly nodeId: number
  /** True when no other node was alive at the time this one came up. */
  readonly alone: boolean
  registerWorker(workerId: string): void
  stop(): Promise<void>
}

/**
 * Says "this node lives" by a PostgreSQL session advisory lock, held for the node's lifetime, and frees the jobs of nodes
 * whose lock can be taken, that is, which are dead: at once at start, then every two seconds.
 */
export async function startNodeLiveness(database: Database, log: Log): Promise<NodeLiveness> {
  let session = await database.connect()
  const { rows } = await session.query<{ id: number }>('insert into node default values returning id')
  const nodeId = rows[0]!.id
  await session.query(`select pg_advisory_lock(${lockClass}, $1)`, [nodeId])
  const workerIds = new Set<string>()
  let stopped = false
  await freeJobsOfDeadNodes(session, nodeId, log)
  const peers = await session.query('select 1 from node where id <> $1', [nodeId])

  const watch = (async () => {
    while (!stopped) {
      await sleep(sweepMilliseconds, undefined, { ref: false })
      if (stopped) return
      try {
        await freeJobsOfDeadNodes(session, nodeId, log)
      } catch (error) {
        if (stopped) return
        log.warn('node liveness: the database session was lost, opening another', errorContext(error))
        session.release(true)
        session = await reopen(database, nodeId, workerIds, () => stopped)
      }
    }
  })()
  watch.catch(error => log.error('node liveness has ended', errorContext(error)))

  return {
    nodeId,
    alone: peers.rowCount === 0,
    registerWorker(workerId) {
      workerIds.add(workerId)
      // Added, not replaced: these updates run side by side, and the last one need not be the latest.
      database
        .query('update node set worker_ids = array(select distinct unnest(worker_ids || $2::text[])) where id = $1', [
          nodeId,
          [workerId],
        ])
        .catch(error => log.warn('node liveness: worker not registered', errorContext(error)))
    },
    async stop() {
      stopped = true
      await database.query('delete from node where id = $1', [nodeId]).catch(() => {})
      session.release(true) // ends the session and with it the lock
    },
  }
}

async function reopen(
  database: Database,
  nodeId: number,
  workerIds: Set<string>,
  stopped: () => boolean,
): Promise<Transaction> {
  for (;;) {
    try {
      const session = await database.connect()
      await session.query(`select pg_advisory_lock(${lockClass}, $1)`, [nodeId])
      await session.query(
        `insert into node (id, worker_ids) overriding system value values ($1, $2)
         on conflict (id) do update set worker_ids = excluded.worker_ids`,
        [nodeId, [...workerIds]],
      )
      return session
    } catch (error) {
      if (stopped()) throw error
      await sleep(500)
    }
  }
}

/** A worker that no node has registered is taken for dead after ten seconds: a node registers its own within milliseconds. */
async function freeJobsOfDeadNodes(session: Transaction, ownId: number, log: Log): Promise<void> {
  const { rows } = await session.query<{ id: number; worker_ids: string[] }>(
    `select id, worker_ids from node where id <> $1 and pg_try_advisory_lock(${lockClass}, id)`,
    [ownId],
  )
  const strangers = await session.query<{ locked_by: string }>(
    `select distinct locked_by from graphile_worker.jobs
      where locked_by is not null and locked_at < now() - interval '10 seconds'
        and not exists (select from node where locked_by = any (worker_ids))`,
  )
  const deadWorkers = [...rows.flatMap(row => row.worker_ids), ...strangers.rows.map(row => row.locked_by)]
  if (deadWorkers.length > 0) {
    await session.query('select graphile_worker.force_unlock_workers($1)', [deadWorkers])
    log.warn('freed the jobs of dead workers', { nodes: rows.map(row => row.id), workers: deadWorkers.length })
  }
  for (const { id } of rows) {
    await session.query('delete from node where id = $1', [id])
    await session.query(`select pg_advisory_unlock(${lockClass}, $1)`, [id])
  }
}
