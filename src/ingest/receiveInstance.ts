import { crc32 } from '@node-rs/crc32'
import type { BlobKey, BlobStore, IncomingBlob } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { type HeaderOutcome, type InstanceHeader, readPart10Header } from '../dicom/part10.js'
import { PixelDataCheck } from '../dicom/pixelDataCheck.js'
import { reason } from '../dicom/reasons.js'
import type { SourceRules } from '../platform/endpoints.js'

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
  private blob: IncomingBlob | undefined
  /** The beginning of the instance, until its header is read. */
  private beginning: Buffer[] | undefined = []
  private nextAttempt = firstHeaderAttempt
  private header: InstanceHeader | undefined
  /** From when the header is read. */
  private pixels: PixelDataCheck | undefined
  private refusal: Refusal | undefined

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

  /**
   * @param chunk is copied: its memory may be used for something else afterwards
   * @returns a promise to wait for before more is written, when the disk is slower than the network
   */
  write(chunk: Buffer): Promise<void> | undefined {
    this.byteLength += chunk.length
    if (this.refusal || chunk.length === 0) return undefined
    const { maxInstanceBytes, accept } = this.limits
    const most = Math.min(maxInstanceBytes, accept?.maxInstanceBytes ?? maxInstanceBytes)
    if (this.byteLength > most) {
      this.refuse(reason.outOfResources, `larger than the limit of ${most} bytes for one instance`)
      return undefined
    }
    this.checksum = crc32(chunk, this.checksum)
    if (this.beginning) this.readBeginning(this.beginning, chunk)
    else this.pixels!.next(chunk)
    if (this.refusal) return undefined
    this.blob ??= this.blobs.receive()
    return this.blob.write(chunk)
  }

  /** All bytes are there: makes them durable. */
  async end(): Promise<ReceivedInstance | Refusal> {
    if (!this.refusal && this.beginning) this.readHeader(Buffer.concat(this.beginning), true)
    if (this.refusal || !this.header) {
      await this.abort()
      return this.refusal!
    }
    const pixels = this.pixels!.end(this.byteLength)
    if (pixels.outcome === 'cut') {
      await this.abort()
      return { ...this.identity(), outcome: 'refused', reason: reason.cannotUnderstand, detail: pixels.detail }
    }
    let blobKey: BlobKey
    try {
      blobKey = await this.blob!.keep()
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
    await this.blob?.discard().catch(() => {})
  }

  private async storageRefused(error: NodeJS.ErrnoException): Promise<Refusal> {
    await this.abort()
    const detail = `the storage refused the bytes (${error.code ?? error.name})`
    return { ...this.identity(), outcome: 'refused', reason: reason.outOfResources, detail }
  }

  private readBeginning(before: Buffer[], chunk: Buffer): void {
    const isEnough = this.byteLength >= this.nextAttempt
    if (isEnough) this.readHeader(before.length === 0 ? chunk : Buffer.concat([...before, chunk]), false)
    if (this.beginning && !this.refusal) before.push(Buffer.from(chunk))
  }

  /** @param beginning all that has come */
  private readHeader(beginning: Buffer, whole: boolean): void {
    const outcome: HeaderOutcome = readPart10Header(beginning, whole)
    if (outcome.outcome === 'incomplete') {
      this.nextAttempt = beginning.length * 4
      if (beginning.length > maxHeader)
        this.refuse(reason.outOfResources, `the header is longer than ${maxHeader} bytes`)
      return
    }
    this.beginning = undefined
    if (outcome.outcome === 'refused') {
      this.refusal = { ...outcome }
      return
    }
    this.header = outcome.header
    const forbidden = whyNotAccepted(outcome.header, this.limits.accept)
    if (forbidden) {
      this.refuse(reason.sopClassNotSupported, forbidden)
      return
    }
    this.pixels = new PixelDataCheck(outcome.header)
    this.pixels.next(beginning)
  }

  private identity() {
    const { sopClassUid, sopInstanceUid, studyInstanceUid } = this.header!
    return { sopClassUid, sopInstanceUid, studyInstanceUid }
  }

  private refuse(code: number, detail: string): void {
    this.refusal = { ...(this.header ? this.identity() : {}), outcome: 'refused', reason: code, detail }
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
