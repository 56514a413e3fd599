import type { DecodedFrame } from './codecs/codec.js'
import { codecFor } from './codecs/index.js'
import type { FrameSource } from './frames.js'
import { type ImageDescription, PixelProblem, type Samples } from './imageDescription.js'
import { nativeSamples } from './nativeSamples.js'
import { applyPalette, type Palette, readPalette } from './palette.js'
import {
  expand422,
  interleavePlanes,
  invertMonochrome,
  keepStoredBits,
  ybrFullToRgb,
  ybrPartialToRgb,
} from './photometric.js'

/** A frame with nothing left to undo: row-major, colour by pixel, in the byte order of this machine. */
export interface NormalizedFrame {
  rows: number
  columns: number
  samplesPerPixel: 1 | 3
  photometric: string
  /** Of one sample in `samples`; 8 where the object has one bit. */
  bitsAllocated: 8 | 16 | 32 | 64
  bitsStored: number
  signed: boolean
  samples: Samples
  /** What differs from the stored object, in words. */
  changes: string[]
  /** True if the code stream itself is lossy, false if not; undefined where the transfer syntax tells. */
  lossy?: boolean
  /** By bit position: an overlay that was embedded in the samples, a byte a pixel (retired, PS3.3 C.9.2 of 2004). */
  overlays: Map<number, Uint8Array>
}

export interface DecodeOptions {
  /** Decode only: samples as a decompressor would give them. */
  keepPhotometric?: boolean
  /** Bits of the samples, outside of Bits Stored, that are overlays and wanted. */
  overlayBits?: readonly number[]
}

/**
 * Decodes one frame and normalizes its photometric interpretation to MONOCHROME2 or RGB.
 * @throws PixelProblem
 */
export async function decodeFrame(
  source: FrameSource,
  frame: number,
  { keepPhotometric = false, overlayBits = [] }: DecodeOptions = {},
): Promise<NormalizedFrame> {
  const { header, image } = source
  const { bytes, bitOffset } = await source.read(frame)
  const changes = [...source.changes]
  const { encapsulated, name } = header.transferSyntax
  const decoded = encapsulated
    ? await codecFor(header.transferSyntax)(bytes, image, { raw: keepPhotometric })
    : nativeSamples(bytes, image, bitOffset)
  if (encapsulated) changes.push(`decompressed from ${name}`)
  changes.push(...(decoded.disagreements ?? []))
  const overlays = new Map(overlayBits.map(bit => [bit, bitPlane(decoded.samples, bit)]))
  const { samples, bitsStored } = storedSamples(decoded, image, keepPhotometric, encapsulated, changes)

  const pixels = decoded.rows * decoded.columns
  if (decoded.planarConfiguration === 1 && decoded.samplesPerPixel === 3) changes.push('Planar Configuration 1 to 0')
  const normalized: NormalizedFrame = {
    rows: decoded.rows,
    columns: decoded.columns,
    samplesPerPixel: decoded.samplesPerPixel === 3 ? 3 : 1,
    photometric: photometricOf(decoded, image, changes),
    bitsAllocated: (samples.BYTES_PER_ELEMENT * 8) as 8 | 16 | 32 | 64,
    bitsStored,
    signed: image.signed,
    samples:
      decoded.planarConfiguration === 1 && decoded.samplesPerPixel === 3 ? interleavePlanes(samples, pixels) : samples,
    changes,
    overlays,
    ...(decoded.lossy === undefined ? {} : { lossy: decoded.lossy }),
  }
  if (keepPhotometric) return normalized
  const palette = normalized.photometric === 'PALETTE COLOR' ? paletteOf(source) : undefined
  return normalizePhotometric(normalized, palette)
}

/** What the samples are: as the code stream says if it does, else as the attribute says. */
function photometricOf(decoded: DecodedFrame, image: ImageDescription, changes: string[]): string {
  const named = image.photometric === 'YBR_RCT' || image.photometric === 'YBR_ICT' ? 'RGB' : image.photometric
  // Subsampling ends with the decoder: what was YBR_FULL_422 comes with all samples of each pixel.
  const full = decoded.samples.length >= decoded.rows * decoded.columns * 3
  const actual = decoded.colour ?? (full && named === 'YBR_FULL_422' ? 'YBR_FULL' : named)
  if (actual !== image.photometric) changes.push(`${image.photometric} to ${actual} by the decoder`)
  return actual
}

/**
 * The stored bits of the samples, signed if Pixel Representation says so (PS3.5 8.1.1, 8.2.1). A code stream of fewer bits than Bits Stored is
 * believed; of more, those above High Bit are no part of the image.
 */
function storedSamples(
  decoded: DecodedFrame,
  image: ImageDescription,
  keepPhotometric: boolean,
  isCodeStream: boolean,
  changes: string[],
): { samples: Samples; bitsStored: number } {
  if (image.float || image.bitsAllocated === 1) return { samples: decoded.samples, bitsStored: image.bitsStored }
  const container = decoded.samples.BYTES_PER_ELEMENT * 8
  const samples = image.signed ? asSigned(decoded.samples) : decoded.samples
  const precision = Math.min(decoded.precision, container)
  const bitsStored = Math.min(precision, image.bitsStored)
  if (precision < image.bitsStored) changes.push(`Bits Stored ${image.bitsStored} to the code stream's ${precision}`)
  if (precision > image.bitsStored && isCodeStream)
    changes.push(`the code stream has ${precision} bits; Bits Stored ${image.bitsStored} is believed`)
  if (container !== image.bitsAllocated) changes.push(`Bits Allocated ${image.bitsAllocated} to ${container}`)
  if (keepPhotometric) {
    // As a decompressor leaves them: all bits of the stream, with their sign.
    if (image.signed && isCodeStream) keepStoredBits(samples, precision, 0)
    return { samples, bitsStored }
  }
  const shift = precision < image.bitsStored ? 0 : image.highBit + 1 - image.bitsStored
  keepStoredBits(samples, bitsStored, shift)
  return { samples, bitsStored }
}

function asSigned(samples: Samples): Samples {
  const { buffer, byteOffset, length } = samples as Uint8Array<ArrayBuffer>
  if (samples.BYTES_PER_ELEMENT === 1) return new Int8Array(buffer, byteOffset, length)
  return samples.BYTES_PER_ELEMENT === 2
    ? new Int16Array(buffer, byteOffset, length)
    : new Int32Array(buffer, byteOffset, length)
}

function bitPlane(samples: Samples, bit: number): Uint8Array {
  const plane = new Uint8Array(samples.length)
  for (let i = 0; i < plane.length; i++) plane[i] = (samples[i]! >> bit) & 1
  return plane
}

const palettes = new WeakMap<FrameSource, Palette>()

function paletteOf(source: FrameSource): Palette {
  const known = palettes.get(source)
  if (known) return known
  const palette = readPalette(source.header.json, source.image.signed)
  palettes.set(source, palette)
  return palette
}

function normalizePhotometric(frame: NormalizedFrame, palette: Palette | undefined): NormalizedFrame {
  const { samples, photometric, bitsStored, changes } = frame
  const done = (target: 'MONOCHROME2' | 'RGB', change: Partial<NormalizedFrame> = {}): NormalizedFrame => {
    changes.push(`${photometric} to ${target}`)
    return { ...frame, photometric: target, ...change }
  }
  switch (photometric) {
    case 'MONOCHROME2':
    case 'RGB':
      return frame
    case 'MONOCHROME1':
      if (samples instanceof Float32Array || samples instanceof Float64Array)
        throw new PixelProblem('MONOCHROME1 with floating point samples has no range to be mirrored in')
      invertMonochrome(samples, bitsStored, frame.signed)
      return done('MONOCHROME2')
    case 'PALETTE COLOR':
      return done('RGB', {
        samples: applyPalette(samples, palette!),
        samplesPerPixel: 3,
        bitsAllocated: 8,
        bitsStored: 8,
        signed: false,
      })
    case 'YBR_FULL':
      ybrFullToRgb(samples, bitsStored)
      return done('RGB')
    case 'YBR_FULL_422': {
      const full = expand422(samples, frame.rows * frame.columns)
      ybrFullToRgb(full, bitsStored)
      return done('RGB', { samples: full })
    }
    case 'YBR_PARTIAL_422': {
      const pixels = frame.rows * frame.columns
      const full = samples.length >= pixels * 3 ? samples : expand422(samples, pixels)
      ybrPartialToRgb(full, bitsStored)
      return done('RGB', { samples: full })
    }
    case 'YBR_PARTIAL_420': // of MPEG; a still that is labelled so comes with all its samples
      ybrPartialToRgb(samples, bitsStored)
      return done('RGB')
    default:
      throw new PixelProblem(`${photometric} is not converted to RGB or MONOCHROME2`)
  }
}
