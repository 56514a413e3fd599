import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { errorContext, type Log } from './log.js'

pg.types.setTypeParser(pg.types.builtins.INT8, Number) // byte counts and ids stay below 2^53

export type Database = pg.Pool
export type Transaction = pg.PoolClient
/** Either the pool or a transaction on it. */
export type Queryable = Pick<pg.Pool, 'query'>

/** A pool on the schema `radbridge` of the given server. */
export function openDatabase(connection: string | pg.PoolConfig, log: Log): Database {
  const pool = new pg.Pool({
    ...(typeof connection === 'string' ? { connectionString: connection } : connection),
    options: '-c search_path=radbridge,public',
    max: 20,
    connectionTimeoutMillis: 5000,
    application_name: 'radbridge',
  })
  // A server that goes takes all connections at once: they are told together.
  let lost = 0
  pool.on('error', error => {
    if (pool.ending || lost++ > 0) return
    setImmediate(() => {
      log.warn('idle database connections were lost', { connections: lost, ...errorContext(error) })
      lost = 0
    })
  })
  // A connection cut while it is lent out says so by this event; its next query fails, and that is acted on there.
  pool.on('connect', client =>
    client.on('error', error => log.debug('a database connection was lost', errorContext(error))),
  )
  return pool
}

/** Runs `work` in one transaction; anything thrown rolls it back. */
export async function transaction<T>(database: Database, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await database.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(rollbackError => (broken = rollbackError))
    throw error
  } finally {
    client.release(broken)
  }
}

/** Whether an error says that the database cannot be reached, or cannot work now. */
export function isUnreachable(error: unknown): boolean {
  // Connection failures of pg, and PostgreSQL's own classes 08 (connection), 57 (shutdown) and 53 (resources).
  const { code, message } = error as NodeJS.ErrnoException
  if (code && /^(ECONN|ENOENT|EPIPE|ETIMEDOUT|08|57|53)/.test(code)) return true
  return /terminated|timeout exceeded when trying to connect|not queryable/i.test(message ?? '')
}

/**
 * SQL of the moment up to which all that has happened can be seen. A transaction that is still at work may show what it has done, and when, only after a later one: who
 * reads a table on from where they stopped reads no further than the beginning of the oldest.
 */
export const settledMoment = `coalesce(
  (select min(xact_start) from pg_stat_activity
    where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid()), clock_timestamp())`

const migrationFolder = fileURLToPath(new URL('./migrations/', import.meta.url))

/** Brings the schema up to date: each SQL file of migrations/ once, in the order of their names, in one transaction each. */
export async function migrate(database: Database, log: Log): Promise<void> {
  const files = readdirSync(migrationFolder)
    .filter(file => file.endsWith('.sql'))
    .sort()
  await transaction(database, async tx => {
    await tx.query(`select pg_advisory_xact_lock(hashtext('radbridge.migrate'))`) // one node migrates, the others wait
    await tx.query('create schema if not exists radbridge')
    await tx.query(
      'create table if not exists radbridge.migration (name text primary key, applied_at timestamptz not null default now())',
    )
    const { rows } = await tx.query<{ name: string }>('select name from radbridge.migration')
    const applied = new Set(rows.map(row => row.name))
    for (const file of files.filter(name => !applied.has(name))) {
      await tx.query(readFileSync(migrationFolder + file, 'utf8'))
      await tx.query('insert into radbridge.migration (name) values ($1)', [file])
      log.info('database migrated', { migration: file })
    }
  })
}
