import { randomUUID } from 'node:crypto'
import { close, closeSync, constants, fsync, ftruncate, open, write } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { blockBytes, givePiece, pieceBytes, takePiece } from './alignedPieces.js'

// Descriptors, not FileHandles: a handle can only be closed by one more trip through the thread pool, and each trip costs a received
// instance 0.1 to 0.2 ms.
const [openDescriptor, writeAt, truncate, sync, closeDescriptor] = [
  promisify(open),
  promisify(write),
  promisify(ftruncate),
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
    this.written = this.descriptor.then(
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
    try {
      const file = new IncomingFile(path, true)
      file.write(Buffer.alloc(1))
      await file.finish()
      return true
    } catch {
      return false
    } finally {
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
    const length = this.length + this.filled
    if (this.piece) {
      const padded = this.direct ? Math.ceil(this.filled / blockBytes) * blockBytes : this.filled
      this.piece.fill(0, this.filled, padded)
      this.writePiece(padded)
    }
    await this.written
    if (this.problem) throw this.problem
    const descriptor = await this.descriptor
    if (this.length !== length) await truncate(descriptor, length)
    return descriptor
  }

  /** Makes all bytes durable, and closes. @throws what the disk has refused */
  async finish(): Promise<void> {
    const descriptor = await this.complete()
    await sync(descriptor)
    this.isClosed = true
    try {
      closeSync(descriptor) // nothing is left to be written: it returns at once
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
    await this.descriptor.then(closeDescriptor).catch(() => {})
  }

  private writePiece(bytes: number): void {
    const piece = this.piece!
    const position = this.length
    this.piece = undefined
    this.filled = 0
    this.length += bytes
    this.waiting++
    this.written = this.written.then(async () => {
      try {
        // A short write is carried on until the system says why it cannot.
        for (let done = 0; done < bytes && !this.problem; )
          done += (await writeAt(await this.descriptor, piece, done, bytes - done, position + done)).bytesWritten
      } catch (error) {
        this.problem = error as Error
      }
      this.waiting--
      givePiece(piece)
    })
  }
}
