import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { type Database, isUnreachable } from './database.js'

const retryMilliseconds = 500

/**
 * The pool for Graphile Worker, which says once that a job has ended, and waits for no answer: if the database is away at that moment, the error is nobody's (it would
 * end the process), and the job stays locked by a worker that has forgotten it. Through this pool it is said until it was heard.
 * @param stopped true: nobody waits any more
 */
export function steadyPool(database: Database, stopped: () => boolean): Database {
  const connect = (callback?: Parameters<Database['connect']>[0]) =>
    callback ? database.connect(callback) : Promise.resolve(new LazyClient(database, stopped))
  return new Proxy(database, {
    get(target, name) {
      if (name === 'connect') return connect
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Connects with its first query. */
class LazyClient {
  private client: pg.PoolClient | undefined

  constructor(
    private readonly database: Database,
    private readonly stopped: () => boolean,
  ) {}

  async query(config: string | pg.QueryConfig, values?: unknown[]): Promise<pg.QueryResult> {
    for (;;) {
      try {
        this.client ??= await this.database.connect()
        return await this.client.query(config as pg.QueryConfig, values)
      } catch (error) {
        if (!endsJobs(config) || !isUnreachable(error) || this.stopped()) throw error
        this.client?.release(true)
        this.client = undefined
        await sleep(retryMilliseconds)
      }
    }
  }

  release(error?: Error | boolean): void {
    this.client?.release(error)
    this.client = undefined
  }
}

/** By the names of the library's prepared statements. */
const endsJobs = (config: string | pg.QueryConfig) =>
  typeof config !== 'string' && /^(complete|fail)_jobs?(_q)?\//.test(config.name ?? '')
