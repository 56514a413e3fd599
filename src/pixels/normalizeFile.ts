import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { DataSet } from 'dicom-parser'
import { type DicomJson, numberOf, textsOf } from '../dicom/dicomJson.js'
import { parseDataSet } from '../dicom/part10.js'
import {
  elementHeader,
  fileMeta,
  itemHeader,
  type Replacement,
  type RewriteOptions,
  rewriteDataSet,
  sequenceDelimitation,
  undefinedLength,
} from '../dicom/rewrite.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { deriveUid, implementationClassUid } from '../dicom/uid.js'
import {
  type Deidentification,
  deidentificationAttributes,
  deidentifier,
  pseudonymousUid,
} from '../privacy/deidentify.js'
import type { CodeStream } from './codecs/encoders.js'
import { compressFrame } from './compressFrame.js'
import { decodeFrame, type NormalizedFrame } from './decodeFrame.js'
import { embeddedOverlays, overlayAttributes, packBits } from './embeddedOverlays.js'
import { type FrameSource, maxInflated, openFrames } from './frames.js'
import { PixelProblem } from './imageDescription.js'
import { lossyHistory } from './lossyHistory.js'
import { mirrorDisplayAttributes, text, word } from './mirrorDisplayAttributes.js'
import { paletteTags } from './palette.js'
import { readExactly } from './readExactly.js'

export interface NormalizeOptions {
  /** Decode only: photometric interpretation, windows and UIDs stay. */
  keepPhotometric?: boolean
  /** Compressed without loss in this transfer syntax, one of `losslessEncoders`; with `keepPhotometric` only. */
  compress?: string
  /** Text becomes UTF-8. */
  utf8?: boolean
  /** Private elements are dropped, except those of these creators. */
  privateCreators?: readonly string[]
  /** Who the patient is becomes unknown, and all UIDs become others (PS3.15 annex E). Pixels stay as they are. */
  deidentify?: Deidentification
}

export interface NormalizeReport {
  sopInstanceUid: string
  transferSyntaxUid: { from: string; to: string }
  photometric: { from: string; to: string }
  frames: number
  /** Every change made, in words. */
  changes: string[]
}

/**
 * Writes an object decoded, as Explicit VR Little Endian, MONOCHROME2 or RGB, frame by frame: memory holds one of them. The output appears under
 * its name when it is complete.
 * @throws PixelProblem if it holds no image, or one that cannot be decoded, or compressed as it is wanted
 */
export async function normalizeFile(
  input: string,
  output: string,
  options: NormalizeOptions = {},
): Promise<NormalizeReport> {
  const source = await openFrames(input)
  const partial = `${output}.part`
  try {
    const file = await open(partial, 'w')
    try {
      const report = await new Normalization(input, source, options).write(file)
      await file.close()
      await rename(partial, output)
      return report
    } catch (error) {
      await file.close().catch(() => {})
      await rm(partial, { force: true })
      throw error
    }
  } finally {
    await source.close()
  }
}

const maxElementLength = 0xfffffffe
/** What may stand behind Pixel Data: padding and signatures (PS3.5 D), private elements. */
const maxTrailing = 64 * 1024 * 1024

class Normalization {
  private readonly changes = new Set<string>()

  constructor(
    private readonly input: string,
    private readonly source: FrameSource,
    private readonly options: NormalizeOptions,
  ) {}

  async write(file: FileHandle): Promise<NormalizeReport> {
    const { header, image } = this.source
    const overlays = this.options.keepPhotometric ? [] : embeddedOverlays(header.json, image)
    const overlayPlanes = await this.readOverlays(overlays.map(overlay => overlay.bit))
    const first = await this.decode(0)
    const replacements = this.replacements(first)
    for (const [i, overlay] of overlays.entries()) {
      for (const [tag, value] of overlayAttributes(overlay, image, overlayPlanes[i]!)) replacements.set(tag, value)
      this.changes.add(`the overlay in bit ${overlay.bit} of the samples to Overlay Data (${overlay.group},3000)`)
    }
    let sopInstanceUid = this.identity(first, replacements)
    const { deidentify } = this.options
    if (deidentify) {
      sopInstanceUid = pseudonymousUid(deidentify.key, sopInstanceUid)
      replacements.set('00080018', text('UI', sopInstanceUid))
      for (const [tag, value] of deidentificationAttributes(deidentify)) replacements.set(tag, value)
      this.changes.add('de-identified')
    }
    const { compress } = this.options
    const stream = compress === undefined ? undefined : await compressFrame(first, compress, image)
    if (stream?.photometric) replacements.set('00280004', text('CS', stream.photometric))
    const { before, after } = await this.rewrite(replacements)
    const transferSyntaxUid = compress ?? explicitVrLittleEndian
    const meta = fileMeta({
      sopClassUid: header.sopClassUid,
      sopInstanceUid,
      transferSyntaxUid,
      implementationClassUid,
    })
    await file.writev([meta, before])
    if (compress && stream) await this.writeStreams(file, first, compress, stream)
    else await this.writeNative(file, first)
    await file.writev([after])
    return {
      sopInstanceUid,
      transferSyntaxUid: { from: header.transferSyntax.uid, to: transferSyntaxUid },
      photometric: { from: image.photometric, to: first.photometric },
      frames: image.frames,
      changes: [...this.changes],
    }
  }

  private async writeNative(file: FileHandle, first: NormalizedFrame): Promise<void> {
    const { header, image } = this.source
    const frameBits = first.samples.length * (image.bitsAllocated === 1 ? 1 : first.bitsAllocated)
    const length = Math.ceil((frameBits * image.frames) / 8)
    if (length > maxElementLength)
      throw new PixelProblem('decoded, the frames are longer than the 4 GiB that Pixel Data can hold')
    await file.writev([elementHeader(header.pixelData!.tag, this.pixelVr(first), length + (length % 2))])
    await this.writeFrames(file, first, length)
    if (length % 2 === 1) await file.writev([Buffer.alloc(1)])
  }

  /** Encapsulated Pixel Data: a fragment a frame, its offset table empty (PS3.5 A.4). */
  private async writeStreams(
    file: FileHandle,
    first: NormalizedFrame,
    transferSyntaxUid: string,
    firstStream: CodeStream,
  ): Promise<void> {
    const { header, image } = this.source
    await file.writev([elementHeader(header.pixelData!.tag, 'OB', undefinedLength), itemHeader(0)])
    for (let frame = 0; frame < image.frames; frame++) {
      const { bytes, photometric } =
        frame === 0
          ? firstStream
          : await compressFrame(this.alike(frame, first, await this.decode(frame)), transferSyntaxUid, image)
      if (photometric !== firstStream.photometric)
        throw new PixelProblem(`frame ${frame + 1} is encoded otherwise than the first one`)
      await file.writev([itemHeader(bytes.length + (bytes.length % 2))])
      await writeAll(file, bytes)
      if (bytes.length % 2 === 1) await file.writev([Buffer.alloc(1)])
    }
    await file.writev([sequenceDelimitation])
  }

  private get rewriteOptions(): RewriteOptions {
    const { deidentify, ...options } = this.options
    // Without a list of private creators none is known to be safe.
    return deidentify ? { privateCreators: [], ...options, change: deidentifier(deidentify) } : options
  }

  private async decode(frame: number): Promise<NormalizedFrame> {
    const decoded = await decodeFrame(this.source, frame, { keepPhotometric: this.options.keepPhotometric ?? false })
    for (const change of decoded.changes) this.changes.add(change)
    return decoded
  }

  /** Overlays stand before Pixel Data: all frames are gone through for them first. */
  private async readOverlays(bits: readonly number[]): Promise<Uint8Array[]> {
    const { image } = this.source
    const pixels = image.rows * image.columns
    const planes = bits.map(() => new Uint8Array(Math.ceil((pixels * image.frames) / 8)))
    for (let frame = 0; bits.length > 0 && frame < image.frames; frame++) {
      const { overlays } = await decodeFrame(this.source, frame, { overlayBits: bits })
      for (const [i, bit] of bits.entries()) packBits(overlays.get(bit)!, planes[i]!, frame * pixels)
    }
    return planes
  }

  private async writeFrames(file: FileHandle, first: NormalizedFrame, length: number): Promise<void> {
    const { image } = this.source
    const packed = image.bitsAllocated === 1 ? new Uint8Array(length) : undefined
    for (let frame = 0; frame < image.frames; frame++) {
      const { samples } = frame === 0 ? first : this.alike(frame, first, await this.decode(frame))
      if (packed) packBits(samples as Uint8Array, packed, frame * samples.length)
      else await writeAll(file, new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
    }
    if (packed) await writeAll(file, packed)
  }

  /** @throws PixelProblem unless a frame's samples can stand in one Pixel Data with those of the first one */
  private alike(number: number, first: NormalizedFrame, frame: NormalizedFrame): NormalizedFrame {
    const { samples, bitsAllocated, photometric } = frame
    if (
      samples.length !== first.samples.length ||
      bitsAllocated !== first.bitsAllocated ||
      photometric !== first.photometric
    )
      throw new PixelProblem(`frame ${number + 1} is encoded otherwise than the first one`)
    return frame
  }

  private pixelVr({ bitsAllocated }: NormalizedFrame): string {
    if (this.source.image.float) return bitsAllocated === 32 ? 'OF' : 'OD'
    return bitsAllocated > 8 ? 'OW' : 'OB'
  }

  /** What must be true of the object once its pixels are decoded (PS3.3 C.7.6.3, PS3.5 8). */
  private replacements(first: NormalizedFrame): Map<string, Replacement> {
    const { header, image } = this.source
    const replacements = new Map<string, Replacement>([
      ['7FE00008', undefined],
      ['7FE00009', undefined],
      ['7FE00010', undefined],
      ['7FE00001', undefined],
      ['7FE00002', undefined],
      ['7FE00003', undefined],
      ['00280004', text('CS', first.photometric)],
      ['00280006', first.samplesPerPixel === 3 ? word('US', 0) : undefined],
    ])
    if (!image.float && image.bitsAllocated !== 1) {
      const bitsStored = first.bitsStored
      const highBit = this.options.keepPhotometric && bitsStored === image.bitsStored ? image.highBit : bitsStored - 1
      replacements.set('00280100', word('US', first.bitsAllocated))
      replacements.set('00280101', word('US', bitsStored))
      replacements.set('00280102', word('US', highBit))
      if (highBit !== image.highBit && bitsStored === image.bitsStored)
        this.changes.add(`High Bit ${image.highBit} to ${highBit}`)
    }
    if (first.samplesPerPixel !== image.samplesPerPixel) replacements.set('00280002', word('US', first.samplesPerPixel))
    for (const [tag, value] of lossyHistory(this.source, first)) {
      replacements.set(tag, value)
      this.changes.add('the lossy compression is recorded')
    }
    if (header.json['00280008'] && numberOf(header.json, '00280008') !== image.frames)
      replacements.set('00280008', text('IS', String(image.frames)))
    return replacements
  }

  /** Other sample values make another object (PS3.3 C.7.6.1.1.2, C.12.1.1). @returns its SOP Instance UID */
  private identity(first: NormalizedFrame, replacements: Map<string, Replacement>): string {
    const { header, image } = this.source
    const mirrored = image.photometric === 'MONOCHROME1' && first.photometric === 'MONOCHROME2'
    const coloured = image.photometric === 'PALETTE COLOR' && first.photometric === 'RGB'
    if (!mirrored && !coloured) return header.sopInstanceUid
    if (mirrored) {
      for (const [tag, value] of mirrorDisplayAttributes(header.json, first.bitsStored, first.signed))
        replacements.set(tag, value)
    } else {
      for (const tag of [...paletteTags, '00280106', '00280107', '00280120', '00280121'])
        replacements.set(tag, undefined)
      replacements.set('00280103', word('US', 0))
    }
    const uid = deriveUid('normalized', header.sopInstanceUid)
    replacements.set('00080018', text('UI', uid))
    replacements.set('00080008', text('CS', ['DERIVED', ...imageType(header.json)].join('\\')))
    replacements.set('00082111', text('ST', `${image.photometric} converted to ${first.photometric}`))
    this.changes.add('new SOP Instance UID')
    return uid
  }

  /** The data set without its pixels, in two halves: before and after them. */
  private async rewrite(replacements: Map<string, Replacement>): Promise<{ before: Buffer; after: Buffer }> {
    const { header, end } = this.source
    const { transferSyntax, dataSetOffset, pixelData } = header
    const file = await open(this.input, 'r')
    try {
      const { size } = await file.stat()
      // Up to Pixel Data the header is enough; what is deflated, or floating point, is parsed as a whole.
      const partial = transferSyntax.encoding !== 'deflated' && pixelData!.tag === '7FE00010'
      const bytes = await readExactly(file, 0, partial ? pixelData!.offset : size)
      const dataSet = this.parsed(
        parseDataSet(bytes, dataSetOffset, transferSyntax, !partial, { maxInflated, anyVr: true }),
      )
      if (hasEncapsulatedIcon(dataSet)) {
        replacements.set('00880200', undefined)
        this.changes.add('the compressed icon dropped')
      }
      const bigEndian = transferSyntax.encoding === 'explicit-big'
      const before = rewriteDataSet(dataSet, bigEndian, replacements, this.rewriteOptions)
      if (!partial || end === undefined || end >= size) return { before, after: Buffer.alloc(0) }
      if (size - end > maxTrailing) throw new PixelProblem(`${size - end} bytes follow Pixel Data, too many to be read`)
      const trailing = parseDataSet(await readExactly(file, end, size - end), 0, transferSyntax, true, { anyVr: true })
      if (!('dataSet' in trailing)) {
        this.changes.add('what follows Pixel Data is no data set, and dropped')
        return { before, after: Buffer.alloc(0) }
      }
      // Digital signatures do not hold for other bytes, and padding is none any more.
      for (const tag of Object.keys(trailing.dataSet.elements))
        if (tag.startsWith('xfff')) delete trailing.dataSet.elements[tag]
      return {
        before,
        after: rewriteDataSet(trailing.dataSet, bigEndian, new Map(), { ...this.rewriteOptions, utf8: false }),
      }
    } finally {
      await file.close()
    }
  }

  private parsed(outcome: ReturnType<typeof parseDataSet>): DataSet {
    if ('dataSet' in outcome) return outcome.dataSet
    throw new PixelProblem('detail' in outcome ? outcome.detail : 'the file is cut')
  }
}

function imageType(header: DicomJson): string[] {
  const [, ...rest] = textsOf(header, '00080008')
  return rest.length > 0 ? rest : ['PRIMARY']
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await file.write(bytes, at, Math.min(bytes.length - at, 1 << 30))).bytesWritten
}

/** An icon (0088,0200) may be compressed like the image itself; it would not fit the new transfer syntax. */
function hasEncapsulatedIcon(dataSet: DataSet): boolean {
  return dataSet.elements.x00880200?.items?.[0]?.dataSet?.elements.x7fe00010?.encapsulatedPixelData ?? false
}
