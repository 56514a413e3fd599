/** What a multipart body (RFC 2046 5.1) consists of, told piece by piece as it arrives. */
export interface PartHandlers {
  partBegin(headers: Readonly<Record<string, string>>): void
  /** @returns a promise to wait for before more is written */
  partData(bytes: Buffer): Promise<void> | undefined
  partEnd(): void
}

/** A body that is no multipart: the request as a whole is refused with 400. */
export class MalformedMultipart extends Error {}

const maxHeaderBytes = 16 * 1024
const maxPadding = 256
const cr = 0x0d
const lf = 0x0a
const dash = 0x2d

type State = 'preamble' | 'headers' | 'body' | 'epilogue'

/**
 * Splits a multipart body without copying it: parts are told in slices of the chunks that came in. A delimiter is a line end,
 * `--boundary`, optional blanks, and a line end or `--`; the same bytes within pixel data are data. Bare line feeds are accepted
 * if the body's first delimiter line ends in one. (Why not a library: docs/decisions/0004-multipart.md.)
 */
export class MultipartSplitter {
  private state: State = 'preamble'
  private readonly delimiter: Buffer
  /** Bytes held back: they may be the beginning of a delimiter, or an unfinished header line. */
  private held: Buffer = Buffer.from('\n') // the body's first line may be a delimiter: as if a line had ended before it
  /** So many of the next body bytes are not part of it but stand for the line end before it. */
  private virtualBytes = 0
  private lineFeedOnly: boolean | undefined
  private headers: Record<string, string> = {}
  private headerBytes = 0
  private backpressure: Promise<void> | undefined
  private parts = 0

  constructor(
    boundary: string,
    private readonly handlers: PartHandlers,
  ) {
    this.delimiter = Buffer.from(`\n--${boundary}`, 'latin1')
  }

  /** Number of parts that have begun. */
  get partCount(): number {
    return this.parts
  }

  /** True while the closing delimiter has not been seen and a part is open. */
  get insidePart(): boolean {
    return this.state === 'body'
  }

  get closed(): boolean {
    return this.state === 'epilogue'
  }

  /** @param chunk its memory may be used for something else afterwards, if the handlers keep nothing of it @throws MalformedMultipart */
  write(chunk: Buffer): Promise<void> | undefined {
    if (this.state === 'epilogue') return undefined
    this.backpressure = undefined
    let buffer = this.held.length > 0 ? Buffer.concat([this.held, chunk]) : chunk
    this.held = empty
    while (buffer.length > 0) {
      const rest: Buffer | undefined =
        this.state === 'headers' ? this.readHeaders(buffer) : this.readUntilDelimiter(buffer)
      if (rest === undefined || this.closed) break
      buffer = rest
    }
    return this.backpressure
  }

  /** The body has ended. What was held back belongs to the open part, if there is one. */
  end(): void {
    if (this.state === 'body') {
      this.emit(this.held)
      this.handlers.partEnd()
    }
    this.held = empty
  }

  /** @returns the bytes after the delimiter line, or undefined when all have been used or held */
  private readUntilDelimiter(buffer: Buffer): Buffer | undefined {
    let from = 0
    for (;;) {
      const at = buffer.indexOf(this.delimiter, from)
      if (at < 0) {
        this.hold(buffer, partialMatch(buffer, this.delimiter, this.lineFeedOnly !== true))
        return undefined
      }
      const ending = this.delimiterEnding(buffer, at + this.delimiter.length)
      if (ending === 'incomplete') {
        this.hold(buffer, at > 0 && buffer[at - 1] === cr ? at - 1 : at)
        return undefined
      }
      const lineEndIsRight =
        this.lineFeedOnly !== false || this.state === 'preamble' || (at > 0 && buffer[at - 1] === cr)
      if (ending === 'none' || !lineEndIsRight) {
        from = at + 1
        continue
      }
      if (this.state === 'body') {
        const crBefore = at > 0 && buffer[at - 1] === cr && this.lineFeedOnly !== true
        this.emit(buffer.subarray(0, crBefore ? at - 1 : at))
        this.handlers.partEnd()
      }
      if (ending.closing) {
        this.state = 'epilogue'
        return undefined
      }
      this.lineFeedOnly ??= ending.lineFeedOnly
      this.state = 'headers'
      this.headers = {}
      this.headerBytes = 0
      return buffer.subarray(ending.end)
    }
  }

  /** What stands after `--boundary`: blanks and a line end, or the two dashes of the closing delimiter. */
  private delimiterEnding(buffer: Buffer, start: number) {
    let at = start
    if (buffer.length >= start + 2 && buffer[at] === dash && buffer[at + 1] === dash) {
      return { closing: true, end: at + 2, lineFeedOnly: false }
    }
    while (at < buffer.length && (buffer[at] === 0x20 || buffer[at] === 0x09)) {
      if (++at - start > maxPadding) return 'none'
    }
    if (at >= buffer.length) return 'incomplete'
    if (buffer[at] === lf) return { closing: false, end: at + 1, lineFeedOnly: true }
    if (buffer[at] !== cr && !(at === start && buffer[at] === dash)) return 'none'
    if (at + 1 >= buffer.length) return 'incomplete'
    return buffer[at] === cr && buffer[at + 1] === lf ? { closing: false, end: at + 2, lineFeedOnly: false } : 'none'
  }

  private readHeaders(buffer: Buffer): Buffer | undefined {
    let at = 0
    for (;;) {
      const end = buffer.indexOf(lf, at)
      if (end < 0) {
        if (this.headerBytes + buffer.length - at > maxHeaderBytes) this.headersTooLong()
        this.held = Buffer.from(buffer.subarray(at))
        return undefined
      }
      this.headerBytes += end + 1 - at
      if (this.headerBytes > maxHeaderBytes) this.headersTooLong()
      const line = buffer.toString('latin1', at, end > at && buffer[end - 1] === cr ? end - 1 : end)
      at = end + 1
      if (line === '') break
      const colon = line.indexOf(':')
      if (colon > 0) this.headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
    }
    this.state = 'body'
    this.parts++
    this.handlers.partBegin(this.headers)
    // An empty part may be followed by its delimiter at once: look for it from the line end of the header block on.
    const lineEnd = this.lineFeedOnly ? 1 : 2
    this.virtualBytes = lineEnd
    return at >= lineEnd
      ? buffer.subarray(at - lineEnd)
      : Buffer.concat([Buffer.from('\r\n').subarray(-lineEnd), buffer.subarray(at)])
  }

  private headersTooLong(): never {
    throw new MalformedMultipart(`the header of a part is longer than ${maxHeaderBytes} bytes`)
  }

  private hold(buffer: Buffer, from: number): void {
    if (this.state === 'body') this.emit(buffer.subarray(0, from))
    this.held = from < buffer.length ? Buffer.from(buffer.subarray(from)) : empty
  }

  private emit(bytes: Buffer): void {
    const skipped = Math.min(this.virtualBytes, bytes.length)
    this.virtualBytes -= skipped
    if (bytes.length > skipped) this.backpressure = this.handlers.partData(bytes.subarray(skipped)) ?? this.backpressure
  }
}

const empty = Buffer.alloc(0)

/** Start of a suffix of `buffer` that is a prefix of the delimiter (with the CR before it), or its length. */
function partialMatch(buffer: Buffer, delimiter: Buffer, withCarriageReturn: boolean): number {
  const first = Math.max(0, buffer.length - delimiter.length + 1)
  for (let at = buffer.indexOf(lf, first); at >= 0; at = buffer.indexOf(lf, at + 1)) {
    if (delimiter.compare(buffer, at, buffer.length, 0, buffer.length - at) === 0) {
      return withCarriageReturn && at > 0 && buffer[at - 1] === cr ? at - 1 : at
    }
  }
  return withCarriageReturn && buffer.at(-1) === cr ? buffer.length - 1 : buffer.length
}
