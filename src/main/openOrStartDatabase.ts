import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, isUnreachable, openDatabase } from '../platform/database.js'
import { startEmbeddedPostgres } from '../platform/embeddedPostgres.js'
import { errorContext, type Log } from '../platform/log.js'
import type { Settings } from '../platform/settings.js'
import type { Undo } from './undo.js'

/** The database of the settings, else our own in the data folder, which is started. */
export async function openOrStartDatabase(settings: Settings, log: Log, undo: Undo): Promise<Database> {
  let connection: Parameters<typeof openDatabase>[0] | undefined = settings.database.url
  if (!connection) {
    const postgres = await startEmbeddedPostgres(settings.dataDirectory, log)
    undo.push(() => postgres.stop())
    connection = postgres.connection
  }
  const database = openDatabase(connection, log)
  undo.push(() => database.end())
  await untilReachable(database, log)
  return database
}

/** A database that is being restarted is waited for so long. */
const patienceSeconds = 60

/** @throws Error of the connection if the database does not come, or of the server if it refuses us */
async function untilReachable(database: Database, log: Log): Promise<void> {
  for (let waited = 0; ; waited++) {
    try {
      await database.query('select 1')
      return
    } catch (error) {
      if (!isUnreachable(error) || waited >= patienceSeconds) throw error
      if (waited === 0) log.warn('the database cannot be reached yet', errorContext(error))
      await sleep(1000)
    }
  }
}
