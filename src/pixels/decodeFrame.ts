import { codecFor, type DecodedFrame } from './codecs/index.js'
import type { FrameSource } from './frames.js'
import { type ImageDescription, PixelProblem, type Samples } from './imageDescription.js'
import { expand422, interleavePlanes, invertMonochrome, keepStoredBits, ybrFullToRgb } from './photometric.js'

/** A frame with nothing left to undo: row-major, colour by pixel, in the byte order of this machine. */
export interface NormalizedFrame {
  rows: number
  columns: number
  samplesPerPixel: 1 | 3
  photometric: string
  bitsAllocated: 8 | 16
  bitsStored: number
  signed: boolean
  samples: Samples
  /** What differs from the stored object, in words. */
  changes: string[]
}

/**
 * Decodes one frame and normalizes its photometric interpretation to MONOCHROME2 or RGB.
 * @param keepPhotometric decode only: samples as a decompressor would give them
 * @throws PixelProblem
 */
export async function decodeFrame(
  source: FrameSource,
  frame: number,
  keepPhotometric = false,
): Promise<NormalizedFrame> {
  const { header, image } = source
  const stream = await source.read(frame)
  const changes: string[] = []
  const { encapsulated, encoding, name } = header.transferSyntax
  const decoded = encapsulated
    ? await decompress(stream, image, header.transferSyntax, changes)
    : nativeSamples(stream, image, encoding === 'explicit-big', header.pixelData!.vr)
  if (encapsulated) changes.push(`decompressed from ${name}`)
  if (!encapsulated && !keepPhotometric)
    keepStoredBits(decoded.samples, image.bitsAllocated, image.bitsStored, image.highBit)

  let samples: Samples = decoded.samples
  const pixels = decoded.rows * decoded.columns
  if (decoded.samplesPerPixel === 3 && decoded.planarConfiguration === 1) {
    samples = interleavePlanes(samples, pixels)
    changes.push('Planar Configuration 1 to 0')
  }
  const photometric = decoded.photometric ?? image.photometric
  if (decoded.photometric && decoded.photometric !== image.photometric)
    changes.push(`${image.photometric} to RGB by the decoder`)
  const normalized: NormalizedFrame = {
    rows: decoded.rows,
    columns: decoded.columns,
    samplesPerPixel: decoded.samplesPerPixel === 3 ? 3 : 1,
    photometric,
    bitsAllocated: samples.BYTES_PER_ELEMENT === 1 ? 8 : 16,
    bitsStored: encapsulated ? Math.min(decoded.precision, samples.BYTES_PER_ELEMENT * 8) : image.bitsStored,
    signed: image.signed,
    samples,
    changes,
  }
  return keepPhotometric ? normalized : normalizePhotometric(normalized)
}

function normalizePhotometric(frame: NormalizedFrame): NormalizedFrame {
  const { samples, photometric, bitsStored, changes } = frame
  switch (photometric) {
    case 'MONOCHROME2':
    case 'RGB':
      return frame
    case 'MONOCHROME1':
      invertMonochrome(samples, bitsStored, frame.signed)
      changes.push('MONOCHROME1 to MONOCHROME2')
      return { ...frame, photometric: 'MONOCHROME2' }
    case 'YBR_FULL':
      ybrFullToRgb(samples, bitsStored)
      changes.push('YBR_FULL to RGB')
      return { ...frame, photometric: 'RGB' }
    case 'YBR_FULL_422': {
      const full = expand422(samples as Uint8Array, frame.rows * frame.columns)
      ybrFullToRgb(full, bitsStored)
      changes.push('YBR_FULL_422 to RGB')
      return { ...frame, photometric: 'RGB', samples: full }
    }
    default:
      throw new PixelProblem(`${photometric} is not converted by this version`)
  }
}

async function decompress(
  stream: Buffer,
  image: ImageDescription,
  syntax: { uid: string; name: string },
  changes: string[],
): Promise<DecodedFrame> {
  const decoded = await codecFor(syntax)(stream, image)
  if (decoded.rows !== image.rows || decoded.columns !== image.columns) {
    throw new PixelProblem(
      `the code stream is ${decoded.columns} × ${decoded.rows} pixels, Columns and Rows say ${image.columns} × ${image.rows}`,
    )
  }
  if (decoded.samplesPerPixel !== image.samplesPerPixel) {
    throw new PixelProblem(
      `the code stream has ${decoded.samplesPerPixel} components, Samples per Pixel says ${image.samplesPerPixel}`,
    )
  }
  if (decoded.samples.length < image.rows * image.columns * image.samplesPerPixel)
    throw new PixelProblem('the code stream is cut')
  if (decoded.precision !== image.bitsStored)
    changes.push(`Bits Stored ${image.bitsStored} to the code stream's ${decoded.precision}`)
  if (decoded.samples.BYTES_PER_ELEMENT * 8 !== image.bitsAllocated) {
    changes.push(`Bits Allocated ${image.bitsAllocated} to ${decoded.samples.BYTES_PER_ELEMENT * 8}`)
  }
  return { ...decoded, samples: withSign(decoded.samples, image.signed, decoded.precision) }
}

/** Pixel Representation decides about the sign; a decoder may have given the bare bits (PS3.5 8.2.1). */
function withSign(samples: DecodedFrame['samples'], signed: boolean, precision: number): DecodedFrame['samples'] {
  if (samples.BYTES_PER_ELEMENT === 1) return samples
  const view = signed
    ? new Int16Array(samples.buffer as ArrayBuffer, samples.byteOffset, samples.length)
    : new Uint16Array(samples.buffer as ArrayBuffer, samples.byteOffset, samples.length)
  if (precision < 16) keepStoredBits(view, 16, precision, precision - 1)
  return view
}

function nativeSamples(bytes: Buffer, image: ImageDescription, bigEndian: boolean, vr: string): DecodedFrame {
  // A copy of its own: aligned, and free to be changed and handed to another thread.
  const own = new Uint8Array(bytes)
  // Big Endian data in OW, of 8 bits too, comes in words whose bytes are exchanged; OB does not (PS3.5 8.2).
  if (bigEndian && (image.bitsAllocated === 16 || vr === 'OW'))
    Buffer.from(own.buffer)
      .subarray(0, own.length & ~1)
      .swap16()
  const words = own.length >> 1
  const samples =
    image.bitsAllocated === 8
      ? own
      : image.signed
        ? new Int16Array(own.buffer, 0, words)
        : new Uint16Array(own.buffer, 0, words)
  return {
    rows: image.rows,
    columns: image.columns,
    samplesPerPixel: image.samplesPerPixel,
    samples,
    precision: image.bitsStored,
    planarConfiguration: image.planarConfiguration,
  }
}
