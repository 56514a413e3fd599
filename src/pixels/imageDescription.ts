import { type DicomJson, itemsOf, numberOf, textOf } from '../dicom/dicomJson.js'

/** The Image Pixel Module (PS3.3 C.7.6.3), or its Floating Point kin (C.7.6.24, C.7.6.25), of one object, checked. */
export interface ImageDescription {
  rows: number
  columns: number
  /** 0 where Number of Frames (0028,0008) is no number: then the length of Pixel Data may tell. */
  frames: number
  samplesPerPixel: 1 | 3
  /** 64 only for Double Float Pixel Data. */
  bitsAllocated: 1 | 8 | 16 | 32 | 64
  bitsStored: number
  highBit: number
  signed: boolean
  float: boolean
  photometric: string
  planarConfiguration: 0 | 1
}

/** Samples of one frame, row by row, in the byte order of this machine. One-bit samples are given as bytes of 0 and 1. */
export type Samples =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array

/** Pixels that cannot be decoded; `message` says why in words for an administrator. */
export class PixelProblem extends Error {
  readonly code = 'PIXELS'
}

/** A frame that would take more bytes than this is refused before anything is allocated. */
const maxFrameBytes = 1024 ** 3
const maxFrames = 1_000_000

/**
 * @param pixelDataTag which of the three pixel data elements the object has
 * @throws PixelProblem for an object without pixels, or whose attributes contradict each other or are out of range
 */
export function describeImage(header: DicomJson, pixelDataTag = '7FE00010'): ImageDescription {
  const required = (tag: string, name: string) => {
    const value = numberOf(header, tag)
    if (value === undefined || !Number.isInteger(value)) throw new PixelProblem(`${name} is missing or no number`)
    return value
  }
  const float = pixelDataTag !== '7FE00010'
  const rows = required('00280010', 'Rows (0028,0010)')
  const columns = required('00280011', 'Columns (0028,0011)')
  const samples = numberOf(header, '00280002') ?? 1
  const bitsAllocated = float
    ? pixelDataTag === '7FE00008'
      ? 32
      : 64
    : required('00280100', 'Bits Allocated (0028,0100)')
  const bitsStored = float ? bitsAllocated : (numberOf(header, '00280101') ?? bitsAllocated)
  const highBit = float ? bitsStored - 1 : (numberOf(header, '00280102') ?? bitsStored - 1)
  const photometric = textOf(header, '00280004') ?? (samples === 3 ? 'RGB' : 'MONOCHROME2')
  if (rows < 1 || columns < 1) throw new PixelProblem(`an image of ${columns} × ${rows} pixels has no content`)
  if (samples !== 1 && samples !== 3) throw new PixelProblem(`Samples per Pixel ${samples} is not supported`)
  if (!isBitsAllocated(bitsAllocated) || (bitsAllocated === 64 && !float))
    throw new PixelProblem(`Bits Allocated ${bitsAllocated} is not supported`)
  if (rows * columns * samples * Math.ceil(bitsAllocated / 8) > maxFrameBytes)
    throw new PixelProblem(
      `a frame of ${columns} × ${rows} needs more than the ${maxFrameBytes >> 20} MiB that one may use`,
    )
  if (bitsStored < 1 || bitsStored > bitsAllocated)
    throw new PixelProblem(`Bits Stored ${bitsStored} does not fit ${bitsAllocated} bits allocated`)
  if (highBit < bitsStored - 1 || highBit >= bitsAllocated)
    throw new PixelProblem(`High Bit ${highBit} does not fit ${bitsStored} bits stored`)
  const monochrome = photometric.startsWith('MONOCHROME') || photometric === 'PALETTE COLOR'
  if (monochrome !== (samples === 1))
    throw new PixelProblem(`${photometric} does not go with ${samples} samples per pixel`)
  return {
    rows,
    columns,
    frames: numberOfFrames(header),
    samplesPerPixel: samples,
    bitsAllocated,
    bitsStored,
    highBit,
    signed: !float && samples === 1 && numberOf(header, '00280103') === 1,
    float,
    photometric,
    planarConfiguration: numberOf(header, '00280006') === 1 ? 1 : 0,
  }
}

function isBitsAllocated(bits: number): bits is 1 | 8 | 16 | 32 | 64 {
  return [1, 8, 16, 32, 64].includes(bits)
}

/** Number of Frames (0028,0008); where it is no number, what the Per-frame Functional Groups say, if there are any. */
function numberOfFrames(header: DicomJson): number {
  const text = textOf(header, '00280008')
  if (text === undefined) return 1
  if (!/^\s*[+-]?\d+\s*$/.test(text)) return itemsOf(header, '52009230').length
  const stated = Number(text)
  if (stated < 1 || stated > maxFrames) throw new PixelProblem('Number of Frames (0028,0008) is not a sensible number')
  return stated
}

/** Native colour of two samples a pixel: luminance of two neighbours, then their common chrominance (PS3.3 C.7.6.3.1.2). */
export function isSubsampled(photometric: string): boolean {
  return photometric === 'YBR_FULL_422' || photometric === 'YBR_PARTIAL_422'
}

/** Bits of one uncompressed frame as the attributes have it; frames of one bit a sample follow each other within a byte. */
export function nativeFrameBits(image: ImageDescription): number {
  const samples = isSubsampled(image.photometric) ? 2 : image.samplesPerPixel
  return image.rows * image.columns * samples * image.bitsAllocated
}

/** @param frame 0-based @returns the same @throws PixelProblem if there is no such frame */
export function checkFrame(frame: number, image: ImageDescription): number {
  if (frame < 0 || frame >= image.frames)
    throw new PixelProblem(`there is no frame ${frame + 1}, the object has ${image.frames}`)
  return frame
}
