import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, Transaction } from './database.js'
import { freeDeadNodes, freeLostJobs, lockClass } from './deadNodes.js'
import { errorContext, type Log } from './log.js'

const sweepMilliseconds = 2000
/** Short: until it holds its lock again, others take this node for dead. */
const reopenMilliseconds = 100

/** Ids of the jobs that a node is working on. */
export interface JobsInHand {
  ids(): string[]
}

export interface NodeLiveness {
  readonly nodeId: number
  /** True when no other node was alive at the time this one came up. */
  readonly alone: boolean
  registerWorker(workerId: string): void
  /** Jobs that this node is working on: what else is locked by its workers is lost to it, and is freed. */
  holds(jobs: JobsInHand): void
  stop(): Promise<void>
}

/**
 * Says "this node lives" by a PostgreSQL session advisory lock, held for the node's lifetime, and frees what nodes had in hand
 * whose lock can be taken, that is, which are dead: at once at start, then every two seconds.
 */
export async function startNodeLiveness(database: Database, log: Log): Promise<NodeLiveness> {
  let session: Transaction | undefined = await database.connect()
  const { rows } = await session.query<{ id: number }>('insert into node default values returning id')
  const nodeId = rows[0]!.id
  await session.query(`select pg_advisory_lock(${lockClass}, $1)`, [nodeId])
  const workerIds = new Set<string>()
  let inHand: JobsInHand = { ids: () => [] }
  const stopping = new AbortController()
  await freeDeadNodes(session, nodeId, log)
  const peers = await session.query('select 1 from node where id <> $1', [nodeId])

  const watch = (async () => {
    while (await pause(session ? sweepMilliseconds : reopenMilliseconds, stopping.signal)) {
      try {
        session ??= await open(database, nodeId, workerIds)
        await freeDeadNodes(session, nodeId, log)
        await freeLostJobs(session, workerIds, inHand.ids(), log)
      } catch (error) {
        if (session) log.warn('node liveness: the database session was lost, opening another', errorContext(error))
        session?.release(true)
        session = undefined
      }
    }
  })()

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
    holds(jobs) {
      inHand = jobs
    },
    async stop() {
      stopping.abort()
      await watch
      await database.query('delete from node where id = $1', [nodeId]).catch(() => {})
      session?.release(true) // ends the session and with it the lock
    },
  }
}

/** A session that holds the lock of this node again, and its row, which another node may have swept away meanwhile. */
async function open(database: Database, nodeId: number, workerIds: Set<string>): Promise<Transaction> {
  const session = await database.connect()
  try {
    await session.query(`select pg_advisory_lock(${lockClass}, $1)`, [nodeId])
    await session.query(
      `insert into node (id, worker_ids) overriding system value values ($1, $2)
         on conflict (id) do update set worker_ids = excluded.worker_ids`,
      [nodeId, [...workerIds]],
    )
    return session
  } catch (error) {
    session.release(true)
    throw error
  }
}

/** False, at once, when `signal` says to stop. */
function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  return sleep(milliseconds, true, { ref: false, signal }).catch(() => false)
}
