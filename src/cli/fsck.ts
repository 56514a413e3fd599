import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { folderOf } from '../archive/blobStore.js'
import { adoptFiles, type BlobStore, brokenRows, unknownFiles } from '../archive/index.js'
import { openBlobStore } from '../main/openBlobStore.js'
import { openOrStartDatabase } from '../main/openOrStartDatabase.js'
import type { Undo } from '../main/undo.js'
import { type Database, migrate } from '../platform/database.js'
import { lockDataFolder } from '../platform/dataFolderLock.js'
import { migrateJobs } from '../platform/jobs.js'
import { createLog, type Log } from '../platform/log.js'
import { loadSettings, type Settings } from '../platform/settings.js'

interface Opened {
  database: Database
  blobs: BlobStore
}

/** What is younger may be on its way into the index of another node. */
const youngMilliseconds = 5 * 60_000

/**
 * Compares index and stored files, both ways. Exit code 0: all is well, or was mended; 1: something is lost, or is to be mended.
 * With `--repair` files that no row names are taken into the index; nothing is ever removed.
 */
export async function fsck(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      checksums: { type: 'boolean', default: false },
      repair: { type: 'boolean', default: false },
    },
  })
  return withStore(loadSettings(process.env, values.config), async opened => {
    const broken = await tellBrokenRows(opened, values.checksums)
    const { files, unknown, adopted, unreadable, elsewhere } = await lookForFiles(opened, values.repair, false)
    console.log(`${files} files, ${unknown} of them in no row`)
    if (values.repair && unknown > 0)
      console.log(
        `${adopted} taken into the index: their studies settle when the service starts; ${unreadable} are no complete instances, which nobody was told are stored; ${elsewhere} are stored under their UID in another file`,
      )
    else if (unknown > 0) console.log('with --repair those that are complete are taken into the index')
    return broken > 0 || (unknown > 0 && !values.repair) ? 1 : 0
  })
}

/** Rebuilds a lost index. The studies count as completed: nothing is analysed or delivered again. */
export async function reindex(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { config: { type: 'string' } } })
  return withStore(loadSettings(process.env, values.config), async opened => {
    const { rows } = await opened.database.query<{ any: boolean }>('select exists (select from instance) as any')
    if (rows[0]!.any) {
      console.error('the index is not empty: radbridge fsck --repair takes in what it lacks')
      return 1
    }
    const { files, adopted, unreadable, elsewhere } = await lookForFiles(opened, true, true)
    // As far as it can be told: the time of the files.
    console.log(
      `${files} files: ${adopted} instances are in the index; ${unreadable} are no complete instances; ${elsewhere} have the UID of another file`,
    )
    return 0
  })
}

async function tellBrokenRows({ database, blobs }: Opened, checksums: boolean): Promise<number> {
  let [broken, rows] = [0, 0]
  const onChecked = (count: number) => {
    rows += count
    return true
  }
  for await (const { sopInstanceUid, studyInstanceUid, problem } of brokenRows(database, blobs, {
    checksums,
    onChecked,
  })) {
    console.error(`study ${studyInstanceUid}, instance ${sopInstanceUid}: ${problem}`)
    broken++
  }
  console.log(
    `${rows} instances, ${broken} of them broken${checksums ? '' : ' (their bytes were not read: --checksums)'}`,
  )
  if (broken > 0) console.log('bring these files back from a backup, or have their studies sent again')
  return broken
}

async function lookForFiles({ database, blobs }: Opened, repair: boolean, settled: boolean) {
  const told = { files: 0, unknown: 0, adopted: 0, unreadable: 0, elsewhere: 0 }
  const before = folderOf(new Date(Date.now() + (settled ? youngMilliseconds : -youngMilliseconds)))
  for await (const keys of unknownFiles(database, blobs, before, n => (told.files += n))) {
    told.unknown += keys.length
    if (!repair) continue
    for (let start = 0; start < keys.length; start += 256) {
      const { adopted, unreadable, elsewhere } = await adoptFiles(
        database,
        blobs,
        keys.slice(start, start + 256),
        settled,
      )
      told.adopted += adopted
      told.unreadable += unreadable.length
      told.elsewhere += elsewhere.length
    }
  }
  return told
}

/** Opens index and store of a service that is stopped. @throws SettingsError if it runs */
async function withStore(settings: Settings, work: (opened: Opened) => Promise<number>): Promise<number> {
  const log: Log = createLog({ level: 'warn', format: 'text' })
  const undo: Undo = []
  try {
    mkdirSync(settings.dataDirectory, { recursive: true, mode: 0o755 })
    undo.push(lockDataFolder(settings.dataDirectory))
    const database = await openOrStartDatabase(settings, log, undo)
    await migrate(database, log)
    await migrateJobs(database, log)
    return await work({ database, blobs: await openBlobStore(settings, undo) })
  } finally {
    for (const step of undo.reverse()) await step()
  }
}
