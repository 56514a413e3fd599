import { randomUUID } from 'node:crypto'
import { createReadStream, type ReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'

/** A blob's name within the store. It is made by us from time and chance; nothing a sender says becomes a path. */
export type BlobKey = string & { readonly kind?: 'BlobKey' }

/** A file being received. It has no key, and no reader can see it, until `BlobStore.keep`. */
export interface IncomingBlob {
  readonly handle: FileHandle
  readonly path: string
}

/**
 * ext4, XFS and Btrfs by the magic number of statfs(2): a file's fsync after its rename commits the rename with it. On any other file
 * system its folder is synchronized too.
 */
const orderedFileSystems: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e])

/**
 * Blobs as files in folders by minute: `2026/11/24/1045/NAME.dcm`. All that is kept within a moment stands in one folder,
 * so that one fsync of a folder makes a whole batch of names durable (docs/decisions/0003-blob-store.md).
 */
export class BlobStore {
  private readonly incoming: string
  private readonly madeFolders = new Set<string>()
  /** By folder: the fsync that is running, and the one that begins after it. */
  private readonly runningSync = new Map<string, Promise<void>>()
  private readonly nextSync = new Map<string, Promise<void>>()

  private constructor(
    private readonly directory: string,
    private readonly namesFollowFiles: boolean,
  ) {
    this.incoming = join(directory, 'incoming')
  }

  /** Opens the store and removes what a process that was killed left unfinished. */
  static async open(directory: string): Promise<BlobStore> {
    await mkdir(join(directory, 'incoming'), { recursive: true, mode: 0o700 })
    const { type } = await statfs(directory)
    const store = new BlobStore(directory, orderedFileSystems.has(type))
    const leftovers = await readdir(store.incoming)
    await Promise.all(leftovers.map(name => rm(join(store.incoming, name), { force: true })))
    return store
  }

  async receive(): Promise<IncomingBlob> {
    const path = join(this.incoming, randomUUID())
    return { handle: await open(path, 'wx+', 0o600), path }
  }

  /**
   * Gives a received file its final name, then makes bytes and name durable. Until this has resolved nothing may refer to the key.
   */
  async keep(blob: IncomingBlob): Promise<BlobKey> {
    const now = new Date().toISOString()
    const folder = [now.slice(0, 4), now.slice(5, 7), now.slice(8, 10), now.slice(11, 13) + now.slice(14, 16)].join('/')
    await this.makeFolder(folder)
    const key: BlobKey = `${folder}/${randomUUID()}.dcm`
    await rename(blob.path, this.pathOf(key))
    await blob.handle.sync()
    if (!this.namesFollowFiles) await this.syncName(folder)
    await blob.handle.close()
    return key
  }

  async discard(blob: IncomingBlob): Promise<void> {
    await blob.handle.close().catch(() => {})
    await rm(blob.path, { force: true })
  }

  pathOf(key: BlobKey): string {
    if (!/^[0-9/]+\/[0-9a-f-]+\.dcm$/.test(key)) throw new Error('not a blob key')
    return join(this.directory, key)
  }

  read(key: BlobKey): ReadStream {
    return createReadStream(this.pathOf(key), { highWaterMark: 256 * 1024 })
  }

  async remove(key: BlobKey): Promise<void> {
    await rm(this.pathOf(key), { force: true })
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

  private async makeFolder(folder: string): Promise<void> {
    if (this.madeFolders.has(folder)) return
    const created = await mkdir(join(this.directory, folder), { recursive: true, mode: 0o700 })
    if (created) {
      // The new folder's own name must be durable in its parent, and so on up to the store.
      const parts = folder.split('/')
      for (let depth = parts.length - 1; depth >= 0; depth--)
        await syncFolder(join(this.directory, ...parts.slice(0, depth)))
    }
    if (this.madeFolders.size > 100) this.madeFolders.clear()
    this.madeFolders.add(folder)
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
