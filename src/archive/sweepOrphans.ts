import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../platform/database.js'
import { type BlobKey, type BlobStore, folderOf, isBlobKey } from './blobStore.js'

const day = 24 * 60 * 60 * 1000
const sweptUntil = 'orphans-swept-until'
/** There is no index of blob keys: one scan of the instances answers for so many. */
const keysAtOnce = 20_000

/** So many orphans may be what killed processes left behind; more of them, that are over a hundredth of the files, are not. */
const orphansByCrashes = 200

/** Far too many files are in no index: the database is not that of this store, or of another day. */
export class TooManyOrphans extends Error {
  constructor(
    readonly orphans: number,
    readonly files: number,
  ) {
    super(`${orphans} of ${files} files of the store are in no index: was the database restored? See radbridge fsck`)
  }
}

/**
 * Removes files that no instance refers to: what a process was receiving when it was killed. Nothing of them was ever acknowledged.
 * Only folders and files that are a day old are looked at, since a young one may be on its way into the index, and each folder once.
 * @returns how many were removed
 * @throws TooManyOrphans, and nothing is removed, if there are so many that they are rather the files of a lost or restored index
 */
export async function sweepOrphans(database: Database, blobs: BlobStore, now = new Date()): Promise<number> {
  const { rows } = await database.query<{ value: string }>('select value from setting where name = $1', [sweptUntil])
  const from = rows[0]?.value ?? ''
  const until = folderOf(new Date(now.getTime() - day))
  const orphans: BlobKey[] = []
  let files = 0
  let keys: BlobKey[] = []
  for (const folder of [...(await foldersBetween(blobs.directory, from, until)), undefined]) {
    if (folder) {
      const names = await readdir(join(blobs.directory, folder))
      keys.push(...names.map(name => `${folder}/${name}`).filter(isBlobKey)) // what is not ours is left alone
    }
    if (folder && keys.length < keysAtOnce) continue
    files += keys.length
    orphans.push(...(await withoutInstance(database, keys)))
    keys = []
  }
  const times = await Promise.all(orphans.map(key => blobs.modifiedAt(key)))
  const old = orphans.filter((_, i) => (times[i] ?? Number.POSITIVE_INFINITY) < now.getTime() - day)
  if (old.length > orphansByCrashes && old.length > files / 100) throw new TooManyOrphans(old.length, files)
  await Promise.all(old.map(key => blobs.remove(key)))
  await database.query(
    'insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    [sweptUntil, until],
  )
  return old.length
}

export async function withoutInstance(database: Database, keys: readonly BlobKey[]): Promise<BlobKey[]> {
  const { rows } = await database.query<{ blob_key: BlobKey }>(
    'select blob_key from instance where blob_key = any ($1) union all select blob_key from answer where blob_key = any ($1)',
    [keys],
  )
  const kept = new Set(rows.map(row => row.blob_key))
  return keys.filter(key => !kept.has(key))
}

/** Minute folders, by name from `from` (included) to `until` (not included). */
export async function foldersBetween(directory: string, from: string, until: string): Promise<string[]> {
  let folders = ['']
  for (let depth = 1; depth <= 4; depth++) {
    const names = await Promise.all(
      folders.map(async parent => {
        const entries = await readdir(join(directory, parent), { withFileTypes: true })
        return entries
          .filter(entry => entry.isDirectory() && /^\d+$/.test(entry.name))
          .map(entry => (parent ? `${parent}/${entry.name}` : entry.name))
      }),
    )
    folders = names.flat().filter(folder => folder >= from.slice(0, folder.length) && folder < until)
  }
  return folders.sort()
}
