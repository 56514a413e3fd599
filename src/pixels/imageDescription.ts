import { type DicomJson, numberOf, textOf } from '../dicom/dicomJson.js'

/** The Image Pixel Module (PS3.3 C.7.6.3) of one object, checked. */
export interface ImageDescription {
  rows: number
  columns: number
  frames: number
  samplesPerPixel: 1 | 3
  bitsAllocated: 8 | 16
  bitsStored: number
  highBit: number
  signed: boolean
  photometric: string
  planarConfiguration: 0 | 1
}

/** Samples of one frame, row by row, in the byte order of this machine. */
export type Samples = Uint8Array | Int8Array | Uint16Array | Int16Array

/** Pixels that cannot be decoded; `message` says why in words for an administrator. */
export class PixelProblem extends Error {
  readonly code = 'PIXELS'
}

/** One frame of more samples than this is refused before anything is allocated. */
const maxSamplesPerFrame = 512 * 1024 * 1024
const maxFrames = 1_000_000

/** @throws PixelProblem for an object without pixels, or whose attributes contradict each other or are out of range */
export function describeImage(header: DicomJson): ImageDescription {
  const required = (tag: string, name: string) => {
    const value = numberOf(header, tag)
    if (value === undefined || !Number.isInteger(value)) throw new PixelProblem(`${name} is missing or no number`)
    return value
  }
  const rows = required('00280010', 'Rows (0028,0010)')
  const columns = required('00280011', 'Columns (0028,0011)')
  const samples = numberOf(header, '00280002') ?? 1
  const bitsAllocated = required('00280100', 'Bits Allocated (0028,0100)')
  const bitsStored = numberOf(header, '00280101') ?? bitsAllocated
  const highBit = numberOf(header, '00280102') ?? bitsStored - 1
  const photometric = textOf(header, '00280004') ?? (samples === 3 ? 'RGB' : 'MONOCHROME2')
  const framesText = textOf(header, '00280008')
  const frames = framesText === undefined ? 1 : Number(framesText)
  if (rows < 1 || columns < 1) throw new PixelProblem(`an image of ${columns} × ${rows} pixels has no content`)
  if (!Number.isInteger(frames) || frames < 1 || frames > maxFrames)
    throw new PixelProblem('Number of Frames (0028,0008) is not a sensible number')
  if (samples !== 1 && samples !== 3) throw new PixelProblem(`Samples per Pixel ${samples} is not supported`)
  if (rows * columns * samples > maxSamplesPerFrame)
    throw new PixelProblem(`a frame of ${columns} × ${rows} is too large`)
  if (bitsAllocated !== 8 && bitsAllocated !== 16)
    throw new PixelProblem(`Bits Allocated ${bitsAllocated} is not supported`)
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
    frames,
    samplesPerPixel: samples,
    bitsAllocated,
    bitsStored,
    highBit,
    signed: numberOf(header, '00280103') === 1,
    photometric,
    planarConfiguration: numberOf(header, '00280006') === 1 ? 1 : 0,
  }
}

/** Bytes of one uncompressed frame as the attributes have it. YBR_FULL_422 holds two samples a pixel (PS3.3 C.7.6.3.1.2). */
export function nativeFrameLength(image: ImageDescription): number {
  const samples = image.photometric === 'YBR_FULL_422' ? 2 : image.samplesPerPixel
  return image.rows * image.columns * samples * (image.bitsAllocated / 8)
}
