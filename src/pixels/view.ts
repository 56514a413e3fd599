import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { greyLevels, type Window, windowOf } from './greyLevels.js'
import type { Samples } from './imageDescription.js'
import { resampled } from './resample.js'

/** A decoded image and what is needed to look at it: plain data, so that it can be worked on in another thread. */
export interface ViewableImage {
  rows: number
  columns: number
  /** MONOCHROME2 or RGB, colour by pixel. */
  samples: Samples
  photometric: string
  bitsStored: number
  signed: boolean
  rescale: { slope: number; intercept: number }
  /** Undefined where the image has none. */
  window: Window | undefined
  /** High values are shown dark: the window is that of the stored image, and that was MONOCHROME1. */
  inverted: boolean
}

/** @param frame of the header, from 0 @param window in the place of the image's own */
export function viewable(
  { rows, columns, rescale }: Pick<ViewableImage, 'rows' | 'columns' | 'rescale'>,
  {
    samples,
    photometric,
    bitsStored,
    signed,
  }: Pick<ViewableImage, 'samples' | 'photometric' | 'bitsStored' | 'signed'>,
  header: DicomJson,
  frame: number,
  window?: Window,
): ViewableImage {
  return {
    rows,
    columns,
    samples,
    photometric,
    bitsStored,
    signed,
    rescale: { slope: rescale.slope, intercept: rescale.intercept },
    window: window ?? windowOf(header, frame),
    inverted: textOf(header, '00280004') === 'MONOCHROME1',
  }
}

/** Eight bits of each sample. */
export interface View {
  width: number
  height: number
  channels: 1 | 3
  depth: 8
  data: Uint8Array
}

/** Size of an image none of whose sides is longer than that; it is not enlarged. */
export function viewSize(rows: number, columns: number, maxSide: number): { rows: number; columns: number } {
  return fittingSize(rows, columns, maxSide, maxSide)
}

/** The same with a limit for each side. */
export function fittingSize(
  rows: number,
  columns: number,
  maxRows: number,
  maxColumns: number,
): { rows: number; columns: number } {
  const scale = Math.min(1, maxRows / rows, maxColumns / columns)
  return { rows: Math.max(1, Math.round(rows * scale)), columns: Math.max(1, Math.round(columns * scale)) }
}

/** The image as it is looked at: grey in its window, or colours. */
export function viewOf(
  image: ViewableImage,
  { rows: height, columns: width }: { rows: number; columns: number },
): View {
  const channels = image.photometric === 'RGB' ? 3 : 1
  const grey = channels === 1 ? greyLevels(image) : undefined
  const data = new Uint8Array(width * height * channels)
  const top = 255 / (2 ** image.bitsStored - 1)
  for (let c = 0; c < channels; c++) {
    const plane = resampled(image, c, channels, height, width)
    for (let i = 0; i < plane.length; i++) data[i * channels + c] = grey ? grey(plane[i]!) : plane[i]! * top
  }
  return { width, height, channels, depth: 8, data }
}
