import { close, closeSync, constants, fsync, ftruncate, open, write, writev } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

// Descriptors, not FileHandles: a handle can only be closed by one more trip through the thread pool, and each trip costs a received
// instance 0.1 to 0.2 ms.
const [openDescriptor, writeAt, writeVector, truncate, sync, closeDescriptor] = [
  promisify(open),
  promisify(write),
  promisify(writev),
  promisify(ftruncate),
  promisify(fsync),
  promisify(close),
]

/** A file that is written from its first byte to its last one, then made durable. */
export interface IncomingFile {
  /** Appends. The buffers are no longer needed when it has resolved. */
  write(buffers: readonly Buffer[]): Promise<void>
  /** Makes all bytes durable, and closes. */
  finish(): Promise<void>
  /** Closes it as it is. */
  close(): Promise<void>
}

const newFile = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL

/** By way of the system's cache, as any other file. */
export class CachedFile implements IncomingFile {
  private constructor(readonly descriptor: number) {}

  static async create(path: string): Promise<CachedFile> {
    return new CachedFile(await openDescriptor(path, newFile, 0o600))
  }

  /** A short write is carried on until the system says why it cannot. */
  async write(buffers: readonly Buffer[]): Promise<void> {
    let rest = [...buffers]
    while (rest.length > 0) {
      let { bytesWritten } = await writeVector(this.descriptor, rest)
      while (rest.length > 0 && bytesWritten >= rest[0]!.length) bytesWritten -= rest.shift()!.length
      if (rest.length > 0) rest = [rest[0]!.subarray(bytesWritten), ...rest.slice(1)]
    }
  }

  async finish(): Promise<void> {
    await sync(this.descriptor)
    closeDurable(this.descriptor)
  }

  async close(): Promise<void> {
    await closeDescriptor(this.descriptor).catch(() => {})
  }
}

/** What O_DIRECT asks of memory, offsets and lengths on any disk. */
const blockBytes = 4096
const pieceBytes = 1024 * 1024
const pieceCount = 64

/**
 * Past the system's cache (O_DIRECT), a piece at a time: what is received is read again later, if at all, and to give it pages of the cache costs more
 * than all the rest of storing it (docs/decisions/0003-blob-store.md).
 */
export class DirectFile implements IncomingFile {
  private filled = 0
  /** Of what is written. */
  private length = 0

  private constructor(
    private readonly descriptor: number,
    private piece: Buffer | undefined,
  ) {}

  /** @returns undefined if too many are being written at the moment */
  static async create(path: string): Promise<DirectFile | undefined> {
    const piece = takePiece()
    if (!piece) return undefined
    try {
      return new DirectFile(await openDescriptor(path, newFile | constants.O_DIRECT, 0o600), piece)
    } catch (error) {
      pieces.push(piece)
      throw error
    }
  }

  /** Whether files of a folder can be written so. */
  static async isPossible(folder: string): Promise<boolean> {
    if (!constants.O_DIRECT) return false
    const path = join(folder, `.direct-${process.pid}`)
    try {
      await rm(path, { force: true })
      const file = await DirectFile.create(path)
      await file?.write([Buffer.alloc(1)])
      await file?.finish()
      return file !== undefined
    } catch {
      return false
    } finally {
      await rm(path, { force: true }).catch(() => {})
    }
  }

  async write(buffers: readonly Buffer[]): Promise<void> {
    for (const bytes of buffers) {
      for (let at = 0; at < bytes.length; ) {
        const copied = bytes.copy(this.piece!, this.filled, at)
        at += copied
        this.filled += copied
        if (this.filled === pieceBytes) await this.writePiece(pieceBytes)
      }
    }
  }

  async finish(): Promise<void> {
    const length = this.length + this.filled
    if (this.filled > 0) {
      const padded = Math.ceil(this.filled / blockBytes) * blockBytes
      this.piece!.fill(0, this.filled, padded)
      await this.writePiece(padded)
    }
    if (this.length !== length) await truncate(this.descriptor, length)
    await sync(this.descriptor)
    closeDurable(this.descriptor)
    this.giveBack()
  }

  async close(): Promise<void> {
    await closeDescriptor(this.descriptor).catch(() => {})
    this.giveBack()
  }

  private async writePiece(bytes: number): Promise<void> {
    for (let written = 0; written < bytes; ) {
      const { bytesWritten } = await writeAt(this.descriptor, this.piece!, written, bytes - written, this.length)
      written += bytesWritten
      this.length += bytesWritten
    }
    this.filled = 0
  }

  private giveBack(): void {
    if (this.piece) pieces.push(this.piece)
    this.piece = undefined
  }
}

/** Nothing is left to be written: it returns at once. */
function closeDurable(descriptor: number): void {
  try {
    closeSync(descriptor)
  } catch {
    // The bytes are durable, and the descriptor is gone either way: closing it again might close another file's.
  }
}

/** Those that nobody uses. What was used last is used first, so that memory is touched only as far as it is needed. */
let pieces: Buffer[]

function takePiece(): Buffer | undefined {
  pieces ??= makePieces()
  return pieces.pop()
}

declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
} // of the browser's types, otherwise

/** The memory of WebAssembly is the only one that Node.js aligns to pages. */
function makePieces(): Buffer[] {
  const pages = (pieceBytes * pieceCount) / 65536
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  return Array.from({ length: pieceCount }, (_, i) => Buffer.from(buffer, i * pieceBytes, pieceBytes))
}
