import { type Database, openDatabase } from '../platform/database.js'
import { startEmbeddedPostgres } from '../platform/embeddedPostgres.js'
import type { Log } from '../platform/log.js'
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
  return database
}
