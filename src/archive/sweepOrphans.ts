import type { Database } from '../platform/database.js'
import { type BlobKey, type BlobStore, folderOf } from './blobStore.js'

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
  const look = async () => {
    files += keys.length
    orphans.push(...(await withoutInstance(database, keys)))
    keys = []
  }
  for await (const some of blobs.list(from, until)) {
    keys.push(...some)
    if (keys.length >= keysAtOnce) await look()
  }
  await look()
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
