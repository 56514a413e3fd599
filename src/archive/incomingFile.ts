import { randomUUID } from 'node:crypto'
import { close, closeSync, constants, fsync, open, write } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { blockBytes, givePiece, pieceBytes, takePiece } from './alignedPieces.js'

// Descriptors, not FileHandles: a handle can only be closed by one more trip through the thread pool, and each trip costs a received
// instance 0.1 to 0.2 ms.
const [openDescriptor, writeAt, sync, closeDescriptor] = [
  promisify(open),
  promisify(write),
  promisify(fsync),
  promisify(close),
]

/** Pieces of one file that wait to be written; who brings more waits. */
const mostWaiting = 2

/**
 * A file that is written from its first byte to its last one, in pieces. `direct`: past the system's cache (O_DIRECT). What is received is read again later, if at
 * all, and to give it pages of the cache costs more than all the rest of storing it (docs/decisions/0003-blob-store.md).
 */
export class IncomingFile {
  private readonly descriptor: Promise<number>
  /** For what is less than a block, where `descriptor` takes whole blocks only. */
  private readonly buffered: Promise<number>
  private piece: Buffer | undefined
  private filled = 0
  /** Of the pieces that are written or wait to be. */
  private length = 0
  private waiting = 0
  private written: Promise<void>
  private problem: Error | undefined
  private isClosed = false

  /**
   * @param path of a file that is not there yet
   * @param ready when its folder is there
   */
  constructor(
    path: string,
    private readonly direct: boolean,
    ready = Promise.resolve(),
  ) {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    this.descriptor = ready.then(() => openDescriptor(path, direct ? flags | constants.O_DIRECT : flags, 0o600))
    this.buffered = direct ? this.descriptor.then(() => openDescriptor(path, constants.O_WRONLY)) : this.descriptor
    this.written = this.buffered.then(
      () => {},
      error => {
        this.problem = error as Error
      },
    )
  }

  /** Whether files of a folder can be written with `direct`. */
  static async canBeDirect(folder: string): Promise<boolean> {
    if (!constants.O_DIRECT) return false
    const path = join(folder, `.direct-${randomUUID()}`)
    const file = new IncomingFile(path, true)
    try {
      file.write(Buffer.alloc(blockBytes + 1))
      await file.finish()
      return true
    } catch {
      return false
    } finally {
      await file.close()
      await rm(path, { force: true }).catch(() => {})
    }
  }

  /** Appends a copy of the bytes. @returns a promise to wait for when the disk is behind */
  write(bytes: Buffer): Promise<void> | undefined {
    for (let at = 0; at < bytes.length && !this.problem; ) {
      this.piece ??= takePiece()
      const copied = bytes.copy(this.piece, this.filled, at)
      at += copied
      this.filled += copied
      if (this.filled === pieceBytes) this.writePiece(pieceBytes)
    }
    return this.waiting >= mostWaiting ? this.written : undefined
  }

  /** All bytes are there, as somebody who opens the file reads them. @returns the descriptor @throws what the disk has refused */
  async complete(): Promise<number> {
    if (this.piece) this.writePiece(this.filled)
    await this.written
    if (this.problem) throw this.problem
    return this.descriptor
  }

  /** Makes all bytes durable, and closes. @throws what the disk has refused */
  async finish(): Promise<void> {
    const descriptor = await this.complete()
    await sync(descriptor)
    this.isClosed = true
    // Nothing is left to be written: they return at once.
    for (const open of new Set([descriptor, await this.buffered]))
      try {
        closeSync(open)
      } catch {
        // The bytes are durable, and the descriptor is gone either way: closing it again might close another file's.
      }
  }

  /** Closes it as it is, if it is open: a number may be that of another file by now. */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    if (this.piece) givePiece(this.piece)
    this.piece = undefined
    await this.written
    const open = await Promise.allSettled([this.descriptor, this.buffered])
    const descriptors = new Set(open.flatMap(one => (one.status === 'fulfilled' ? [one.value] : [])))
    await Promise.all([...descriptors].map(one => closeDescriptor(one).catch(() => {})))
  }

  private writePiece(bytes: number): void {
    const piece = this.piece!
    const position = this.length
    this.piece = undefined
    this.filled = 0
    this.length += bytes
    this.waiting++
    const blocks = this.direct ? bytes - (bytes % blockBytes) : bytes
    this.written = this.written.then(async () => {
      // Both are over before anything is closed: a number that is closed may be that of another file in the next moment.
      await Promise.all([
        this.writeAll(this.descriptor, piece.subarray(0, blocks), position),
        this.writeAll(this.buffered, piece.subarray(blocks, bytes), position + blocks),
      ])
      this.waiting--
      givePiece(piece)
    })
  }

  /** A short write is carried on until the system says why it cannot; that is the problem then. */
  private async writeAll(open: Promise<number>, bytes: Buffer, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length && !this.problem; )
        done += (await writeAt(await open, bytes, done, bytes.length - done, position + done)).bytesWritten
    } catch (error) {
      this.problem ??= error as Error
    }
  }
}
