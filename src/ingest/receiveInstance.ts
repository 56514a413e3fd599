import { crc32 } from 'node:zlib'
import type { BlobKey, BlobStore, IncomingBlob } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { type HeaderOutcome, type InstanceHeader, readPart10Header } from '../dicom/part10.js'
import { reason } from '../dicom/reasons.js'
import type { SourceRules } from '../platform/endpoints.js'
import { PixelDataCheck } from './pixelDataCheck.js'

/** Bytes gathered before they are written with one call. */
const writeSize = 1024 * 1024
/** A sender waits while so many of its bytes are not yet written. */
const maxUnwritten = 4 * writeSize
/** Headers longer than this are refused: they have to be in memory to be read. */
const maxHeader = 64 * 1024 * 1024
const firstHeaderAttempt = 32 * 1024

export interface Refusal {
  outcome: 'refused'
  reason: number
  detail: string
  sopClassUid?: string
  sopInstanceUid?: string
  studyInstanceUid?: string
}

/** An instance whose bytes and name are durable, ready to be committed. */
export interface ReceivedInstance {
  outcome: 'received'
  header: InstanceHeader
  blobKey: BlobKey
  byteLength: number
  /** CRC-32 of all bytes. */
  crc32: number
  warning?: number
}

/**
 * One instance on its way in: `write` its bytes in order, then `end`, or `abort`. The header is read from the first bytes while
 * the rest arrives; an instance that must be refused is not written further.
 */
export class InstanceReceiver {
  private checksum = 0
  private byteLength = 0
  private unwritten: Buffer[] = []
  private unwrittenBytes = 0
  private pendingBytes = 0
  private writing: Promise<void> = Promise.resolve()
  private writeError: Error | undefined
  private blob: Promise<IncomingBlob> | undefined
  /** The beginning of the instance, until its header is read. */
  private beginning: Buffer[] | undefined = []
  private nextAttempt = firstHeaderAttempt
  private header: InstanceHeader | undefined
  private refusal: Refusal | undefined
  /** From when the header is read. */
  private pixels: PixelDataCheck | undefined

  constructor(
    private readonly blobs: BlobStore,
    private readonly limits: { maxInstanceBytes: number; accept?: SourceRules },
  ) {}

  /** The study it belongs to, once that is known; for the record when a transfer is cut. */
  get studyInstanceUid(): string | undefined {
    return this.header?.studyInstanceUid
  }

  /** Bytes that have come. */
  get length(): number {
    return this.byteLength
  }

  /** @returns a promise to wait for before more is written, when the disk is slower than the network */
  write(chunk: Buffer): Promise<void> | undefined {
    this.byteLength += chunk.length
    if (this.refusal) return undefined
    const { maxInstanceBytes, accept } = this.limits
    const most = Math.min(maxInstanceBytes, accept?.maxInstanceBytes ?? maxInstanceBytes)
    if (this.byteLength > most) {
      this.refuse(reason.outOfResources, `larger than the limit of ${most} bytes for one instance`)
      return undefined
    }
    this.checksum = crc32(chunk, this.checksum)
    this.unwritten.push(chunk)
    this.unwrittenBytes += chunk.length
    if (this.beginning) {
      this.beginning.push(chunk)
      if (this.byteLength >= this.nextAttempt) this.readHeader(false)
      if (this.refusal) return undefined
    } else this.pixels!.next(chunk)
    if (this.unwrittenBytes >= writeSize) this.flush()
    return this.pendingBytes > maxUnwritten ? this.writing : undefined
  }

  /** All bytes are there: makes them durable. */
  async end(): Promise<ReceivedInstance | Refusal> {
    if (!this.refusal && this.beginning) this.readHeader(true)
    if (!this.refusal) {
      this.flush()
      await this.writing
    }
    if (this.refusal || !this.header) {
      await this.abort()
      return this.refusal!
    }
    if (this.writeError) return this.storageRefused(this.writeError)
    const pixels = this.pixels!.end(this.byteLength)
    if (pixels.outcome === 'cut') {
      await this.abort()
      return { ...this.identity(), outcome: 'refused', reason: reason.cannotUnderstand, detail: pixels.detail }
    }
    let blobKey: BlobKey
    try {
      blobKey = await this.blobs.keep(await this.blob!)
    } catch (error) {
      return this.storageRefused(error as Error)
    }
    const warning = pixels.outcome === 'odd' ? reason.dataSetMismatchWarning : undefined
    return {
      outcome: 'received',
      header: this.header,
      blobKey,
      byteLength: this.byteLength,
      crc32: this.checksum,
      ...(warning ? { warning } : {}),
    }
  }

  async abort(): Promise<void> {
    await this.writing
    this.unwritten = []
    if (this.blob) await this.blob.then(blob => this.blobs.discard(blob)).catch(() => {})
  }

  private async storageRefused(error: NodeJS.ErrnoException): Promise<Refusal> {
    await this.abort()
    const detail = `the storage refused the bytes (${error.code ?? error.name})`
    return { ...this.identity(), outcome: 'refused', reason: reason.outOfResources, detail }
  }

  private flush(): void {
    const buffers = this.unwritten
    const bytes = this.unwrittenBytes
    if (bytes === 0) return
    this.unwritten = []
    this.unwrittenBytes = 0
    this.pendingBytes += bytes
    this.blob ??= this.blobs.receive()
    this.writing = this.writing.then(async () => {
      try {
        if (!this.writeError) await this.blobs.write(await this.blob!, buffers)
      } catch (error) {
        this.writeError = error as Error
      }
      this.pendingBytes -= bytes
    })
  }

  private readHeader(whole: boolean): void {
    const beginning = this.beginning!.length === 1 ? this.beginning![0]! : Buffer.concat(this.beginning!)
    const outcome: HeaderOutcome = readPart10Header(beginning, whole)
    if (outcome.outcome === 'incomplete') {
      this.beginning = [beginning]
      this.nextAttempt = beginning.length * 4
      if (beginning.length > maxHeader)
        this.refuse(reason.outOfResources, `the header is longer than ${maxHeader} bytes`)
      return
    }
    if (outcome.outcome === 'refused') {
      this.refusal = { ...outcome }
      this.dropBytes()
      return
    }
    this.header = outcome.header
    this.beginning = undefined
    const forbidden = whyNotAccepted(outcome.header, this.limits.accept)
    if (forbidden) {
      this.refuse(reason.sopClassNotSupported, forbidden)
      return
    }
    this.pixels = new PixelDataCheck(outcome.header)
    this.pixels.next(beginning)
    // The file is made while the rest arrives.
    this.blob ??= this.blobs.receive()
    this.blob.catch(() => {}) // told by the first write
  }

  private identity() {
    const { sopClassUid, sopInstanceUid, studyInstanceUid } = this.header!
    return { sopClassUid, sopInstanceUid, studyInstanceUid }
  }

  private refuse(code: number, detail: string): void {
    this.refusal = { ...(this.header ? this.identity() : {}), outcome: 'refused', reason: code, detail }
    this.dropBytes()
  }

  private dropBytes(): void {
    this.unwritten = []
    this.unwrittenBytes = 0
    this.beginning = undefined
  }
}

/** The rules of its source. */
function whyNotAccepted({ sopClassUid, json }: InstanceHeader, accept: SourceRules | undefined): string | undefined {
  if (accept?.sopClasses && !accept.sopClasses.includes(sopClassUid))
    return 'objects of this SOP class are not taken from this source'
  const modality = textOf(json, '00080060') ?? ''
  if (accept?.modalities && !accept.modalities.includes(modality))
    return 'objects of this modality are not taken from this source'
  return undefined
}
