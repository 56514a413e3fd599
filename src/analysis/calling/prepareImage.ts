import { encode } from 'fast-png'
import { greyLevels, type Window } from '../../pixels/greyLevels.js'
import type { Samples } from '../../pixels/imageDescription.js'

/** An image on its way to a provider: plain data, so that it can be worked on in another thread. */
export interface ImageData {
  rows: number
  columns: number
  samples: Samples
  photometric: string
  bitsStored: number
  signed: boolean
  rescale: { slope: number; intercept: number }
  window: Window | undefined
  inverted: boolean
}

export type ImageTask =
  /** All of its values: grey of 8 or 16 bits, signed ones shifted up by half of their range, or colours of 8 bits. */
  | { kind: 'png'; image: ImageData }
  /** As it is looked at: 8 bits in its window, no side longer than `maxSide`. */
  | { kind: 'view'; image: ImageData; maxSide: number }
  /** As a network takes it. */
  | { kind: 'tensor'; image: ImageData; input: TensorInput; patches?: readonly Origin[] }

/** First row and column of a patch, from 0. */
export interface Origin {
  row: number
  column: number
}

/** How samples become numbers of a tensor. */
export interface TensorInput {
  rows: number
  columns: number
  channels: 1 | 3
  layout: 'NCHW' | 'NHWC'
  /** Modality values of this window become 0 to 1, those beyond 0 or 1; without one they stay what they are; colours become 0 to 1. */
  window?: Window | undefined
  /** Then (value − mean) / std. */
  mean: number
  std: number
}

/** PNG does not know these samples: 32 bits, floats, colours of 16 bits. */
export function fitsPng({ photometric, samples }: Pick<ImageData, 'photometric' | 'samples'>): boolean {
  return photometric === 'RGB' ? samples.BYTES_PER_ELEMENT === 1 : samples.BYTES_PER_ELEMENT <= 2
}

export function prepareImage(task: ImageTask): Uint8Array {
  switch (task.kind) {
    case 'png':
      return png(task.image)
    case 'view':
      return view(task.image, task.maxSide)
    case 'tensor': {
      const { image, input, patches } = task
      if (!patches) return new Uint8Array(tensor(image, input).buffer)
      const parts = patches.map(origin => tensor(patch(image, origin, input), input))
      const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
      for (const [i, part] of parts.entries()) whole.set(part, i * part.length)
      return new Uint8Array(whole.buffer)
    }
  }
}

function png({ rows: height, columns: width, samples, photometric, bitsStored, signed }: ImageData): Uint8Array {
  if (photometric === 'RGB') return encode({ width, height, channels: 3, depth: 8, data: samples as Uint8Array })
  const depth = samples.BYTES_PER_ELEMENT === 1 ? 8 : 16
  const up = signed ? 2 ** (bitsStored - 1) : 0
  const data = depth === 8 ? new Uint8Array(samples.length) : new Uint16Array(samples.length)
  for (let i = 0; i < samples.length; i++) data[i] = samples[i]! + up
  return encode({ width, height, channels: 1, depth, data })
}

/** Size of a view. */
export function viewSize(rows: number, columns: number, maxSide: number): { rows: number; columns: number } {
  const scale = Math.min(1, maxSide / Math.max(rows, columns))
  return { rows: Math.max(1, Math.round(rows * scale)), columns: Math.max(1, Math.round(columns * scale)) }
}

function view(image: ImageData, maxSide: number): Uint8Array {
  const { rows: height, columns: width } = viewSize(image.rows, image.columns, maxSide)
  const channels = image.photometric === 'RGB' ? 3 : 1
  const grey = channels === 1 ? greyLevels(image) : undefined
  const data = new Uint8Array(width * height * channels)
  const top = image.photometric === 'RGB' ? 255 / (2 ** image.bitsStored - 1) : 1
  for (let c = 0; c < channels; c++) {
    const plane = resampled(image, c, channels, height, width)
    for (let i = 0; i < plane.length; i++) data[i * channels + c] = grey ? grey(plane[i]!) : plane[i]! * top
  }
  return encode({ width, height, channels, depth: 8, data })
}

function tensor(image: ImageData, input: TensorInput): Float32Array {
  const { rows, columns, channels, layout, window, mean, std } = input
  const colour = image.photometric === 'RGB'
  const out = new Float32Array(rows * columns * channels)
  const full = 2 ** image.bitsStored - 1
  const { slope, intercept } = image.rescale
  const low = window ? window.center - window.width / 2 : 0
  for (let c = 0; c < channels; c++) {
    const plane = resampled(image, colour ? c : 0, colour ? 3 : 1, rows, columns)
    for (let i = 0; i < plane.length; i++) {
      let value = colour ? plane[i]! / full : plane[i]! * slope + intercept
      if (window && !colour) value = Math.max(0, Math.min(1, (value - low) / window.width))
      out[layout === 'NCHW' ? c * plane.length + i : i * channels + c] = (value - mean) / std
    }
  }
  return out
}

/** A part of an image in its own resolution; beyond its edges lies the lowest of its values. */
function patch(image: ImageData, origin: Origin, { rows, columns }: TensorInput): ImageData {
  const channels = image.photometric === 'RGB' ? 3 : 1
  const samples = new Float32Array(rows * columns * channels).fill(lowestOf(image))
  const width = Math.min(columns, image.columns - origin.column) * channels
  for (let row = 0; row < Math.min(rows, image.rows - origin.row); row++) {
    const from = ((origin.row + row) * image.columns + origin.column) * channels
    samples.set(image.samples.subarray(from, from + width), row * columns * channels)
  }
  return { ...image, rows, columns, samples }
}

function lowestOf({ samples, rescale }: ImageData): number {
  let lowest = Number.POSITIVE_INFINITY
  for (const sample of samples)
    if (sample * rescale.slope < lowest * rescale.slope || lowest === Number.POSITIVE_INFINITY) lowest = sample
  return lowest
}

/** Origins of patches that cover an image, each next one beginning `overlap` pixels before the end of the last, at most. */
export function patchOrigins(image: { rows: number; columns: number }, input: TensorInput, overlap: number): Origin[] {
  const along = (length: number, size: number): number[] => {
    if (length <= size) return [0]
    const count = Math.ceil((length - overlap) / (size - overlap))
    return Array.from({ length: count }, (_, i) => Math.round((i * (length - size)) / (count - 1)))
  }
  return along(image.rows, input.rows).flatMap(row =>
    along(image.columns, input.columns).map(column => ({ row, column })),
  )
}

/** One channel in another size: the mean of what a pixel covers where it becomes smaller, else between the four nearest. */
function resampled(
  { rows, columns, samples }: ImageData,
  channel: number,
  stride: number,
  height: number,
  width: number,
): Float32Array {
  const out = new Float32Array(height * width)
  const at = (row: number, column: number) => samples[(row * columns + column) * stride + channel]!
  if (height === rows && width === columns) {
    for (let i = 0; i < out.length; i++) out[i] = samples[i * stride + channel]!
    return out
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      out[y * width + x] =
        height <= rows && width <= columns
          ? meanOf(
              at,
              (y * rows) / height,
              ((y + 1) * rows) / height,
              (x * columns) / width,
              ((x + 1) * columns) / width,
            )
          : between(at, ((y + 0.5) * rows) / height - 0.5, ((x + 0.5) * columns) / width - 0.5, rows, columns)
    }
  }
  return out
}

type At = (row: number, column: number) => number

function meanOf(at: At, top: number, bottom: number, left: number, right: number): number {
  let [sum, area] = [0, 0]
  for (let row = Math.floor(top); row < bottom - 1e-9; row++) {
    const tall = Math.min(bottom, row + 1) - Math.max(top, row)
    for (let column = Math.floor(left); column < right - 1e-9; column++) {
      const covered = tall * (Math.min(right, column + 1) - Math.max(left, column))
      sum += at(row, column) * covered
      area += covered
    }
  }
  return sum / area
}

function between(at: At, y: number, x: number, rows: number, columns: number): number {
  const [top, left] = [Math.max(0, Math.min(rows - 1, y)), Math.max(0, Math.min(columns - 1, x))]
  const [row, column] = [Math.floor(top), Math.floor(left)]
  const [below, beside] = [Math.min(rows - 1, row + 1), Math.min(columns - 1, column + 1)]
  const [dy, dx] = [top - row, left - column]
  return (
    (at(row, column) * (1 - dx) + at(row, beside) * dx) * (1 - dy) +
    (at(below, column) * (1 - dx) + at(below, beside) * dx) * dy
  )
}
