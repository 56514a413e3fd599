import { releaseMemory } from '../platform/releaseMemory.js'

/** The other side has ended the connection in the middle of something. */
export class ConnectionEnded extends Error {
  constructor(message = 'the connection ended') {
    super(message)
  }
}

/** Reads a connection piece by piece, no faster than what was read is used. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Buffer>
  /** What was read from the connection last. */
  private chunk: Buffer = Buffer.alloc(0)
  /** What is left of it. */
  private rest: Buffer = this.chunk

  constructor(connection: AsyncIterable<Buffer>) {
    this.chunks = connection[Symbol.asyncIterator]()
  }

  /** So many bytes, good until the next call. @throws ConnectionEnded */
  async exactly(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let missing = count; missing > 0; ) {
      const part = await this.some(missing)
      missing -= part.length
      if (missing === 0 && parts.length === 0) return part
      parts.push(Buffer.from(part))
    }
    return Buffer.concat(parts)
  }

  /** What is there, at least one byte and at most so many; good until the next call. @throws ConnectionEnded */
  async some(most: number): Promise<Buffer> {
    while (this.rest.length === 0) {
      const { value, done } = await this.chunks.next()
      if (done) throw new ConnectionEnded()
      releaseMemory(this.chunk)
      this.chunk = value
      this.rest = value
    }
    const part = this.rest.subarray(0, most)
    this.rest = this.rest.subarray(part.length)
    return part
  }
}
