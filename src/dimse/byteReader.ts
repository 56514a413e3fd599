/** The other side has ended the connection in the middle of something. */
export class ConnectionEnded extends Error {
  constructor(message = 'the connection ended') {
    super(message)
  }
}

/** Reads a connection piece by piece, no faster than what was read is used. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Buffer>
  private rest: Buffer = Buffer.alloc(0)

  constructor(connection: AsyncIterable<Buffer>) {
    this.chunks = connection[Symbol.asyncIterator]()
  }

  /** So many bytes. @throws ConnectionEnded */
  async exactly(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let missing = count; missing > 0; ) {
      const part = await this.some(missing)
      parts.push(part)
      missing -= part.length
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  /** What is there, at least one byte and at most so many. @throws ConnectionEnded */
  async some(most: number): Promise<Buffer> {
    while (this.rest.length === 0) {
      const { value, done } = await this.chunks.next()
      if (done) throw new ConnectionEnded()
      this.rest = value
    }
    const part = this.rest.subarray(0, most)
    this.rest = this.rest.subarray(part.length)
    return part
  }
}
