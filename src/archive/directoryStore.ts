import { randomUUID } from 'node:crypto'
import { createReadStream, type ReadStream } from 'node:fs'
import { mkdir, open as openFile, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { type BlobKey, type BlobStore, folderOf, type IncomingBlob, isBlobKey } from './blobStore.js'
import { IncomingFile } from './incomingFile.js'

/**
 * ext4, XFS and Btrfs by the magic number of statfs(2): the first fsync of a new file commits its name with it. On any other file
 * system its folder is synchronized too.
 */
const orderedFileSystems: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e])

/**
 * Blobs as files in folders by minute: `2026/11/24/1045/NAME.dcm`. All that is received within a moment stands in one folder,
 * so that one fsync of a folder makes a whole batch of names durable (docs/decisions/0003-blob-store.md).
 */
export class DirectoryStore implements BlobStore {
  private readonly madeFolders = new Map<string, Promise<void>>()
  /** By folder: the fsync that is running, and the one that begins after it. */
  private readonly runningSync = new Map<string, Promise<void>>()
  private readonly nextSync = new Map<string, Promise<void>>()

  private constructor(
    readonly directory: string,
    private readonly namesFollowFiles: boolean,
    private readonly direct: boolean,
  ) {}

  static async open(directory: string): Promise<DirectoryStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const { type } = await statfs(directory)
    const isKnown = orderedFileSystems.has(type)
    return new DirectoryStore(directory, isKnown, isKnown && (await IncomingFile.canBeDirect(directory)))
  }

  receive(): IncomingBlob {
    const { key, file } = this.newFile(this.direct)
    return {
      key,
      write: bytes => file.write(bytes),
      keep: async () => {
        await file.finish()
        if (!this.namesFollowFiles) await this.syncName(key.slice(0, key.lastIndexOf('/')))
        return key
      },
      discard: async () => {
        await file.close()
        await this.remove(key)
      },
    }
  }

  newFile(direct: boolean): { key: BlobKey; file: IncomingFile } {
    const folder = folderOf(new Date())
    const key: BlobKey = `${folder}/${randomUUID()}.dcm`
    return { key, file: new IncomingFile(this.pathOf(key), direct, this.makeFolder(folder)) }
  }

  async localPath(key: BlobKey): Promise<string> {
    return this.pathOf(key)
  }

  pathOf(key: BlobKey): string {
    if (!isBlobKey(key)) throw new Error('not a blob key')
    return join(this.directory, key)
  }

  async read(key: BlobKey): Promise<ReadStream> {
    return createReadStream(this.pathOf(key), { highWaterMark: 256 * 1024 })
  }

  async remove(key: BlobKey): Promise<void> {
    await rm(this.pathOf(key), { force: true })
  }

  /** @returns milliseconds since 1970; undefined if the file is gone */
  async modifiedAt(key: BlobKey): Promise<number | undefined> {
    return stat(this.pathOf(key)).then(
      found => found.mtimeMs,
      () => undefined,
    )
  }

  async lengthOf(key: BlobKey): Promise<number | undefined> {
    return stat(this.pathOf(key)).then(
      found => found.size,
      () => undefined,
    )
  }

  async *list(from: string, until: string): AsyncGenerator<BlobKey[]> {
    for (const folder of await foldersBetween(this.directory, from, until)) {
      const names = await readdir(join(this.directory, folder))
      yield names.map(name => `${folder}/${name}`).filter(isBlobKey) // what is not ours is left alone
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory)
    return bavail * bsize
  }

  /** One fsync of a folder serves all names that were given before it began. */
  private syncName(folder: string): Promise<void> {
    const waiting = this.nextSync.get(folder)
    if (waiting) return waiting
    const running = this.runningSync.get(folder) ?? Promise.resolve()
    const next = running
      .catch(() => {})
      .then(() => {
        this.nextSync.delete(folder)
        const sync = syncFolder(join(this.directory, folder))
        this.runningSync.set(folder, sync)
        return sync.finally(() => {
          if (this.runningSync.get(folder) === sync) this.runningSync.delete(folder)
        })
      })
    this.nextSync.set(folder, next)
    return next
  }

  private makeFolder(folder: string): Promise<void> {
    const made = this.madeFolders.get(folder)
    if (made) return made
    const making = (async () => {
      const created = await mkdir(join(this.directory, folder), { recursive: true, mode: 0o700 })
      if (!created) return
      // The new folder's own name must be durable in its parent, and so on up to the store.
      const parts = folder.split('/')
      for (let depth = parts.length - 1; depth >= 0; depth--)
        await syncFolder(join(this.directory, ...parts.slice(0, depth)))
    })()
    if (this.madeFolders.size > 100) this.madeFolders.clear()
    this.madeFolders.set(folder, making)
    making.catch(() => this.madeFolders.delete(folder))
    return making
  }
}

/** Minute folders, by name from `from` (included) to `until` (not included). */
async function foldersBetween(directory: string, from: string, until: string): Promise<string[]> {
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

async function syncFolder(path: string): Promise<void> {
  const handle = await openFile(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
