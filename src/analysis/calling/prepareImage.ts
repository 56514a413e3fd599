import { encode } from 'fast-png'
import type { Window } from '../../pixels/greyLevels.js'
import { resampled } from '../../pixels/resample.js'
import { type ViewableImage, viewOf, viewSize } from '../../pixels/view.js'

export type ImageData = ViewableImage

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
      return encode(viewOf(task.image, viewSize(task.image.rows, task.image.columns, task.maxSide)))
    case 'tensor': {
      const { image, input, patches } = task
      if (!patches) return new Uint8Array(tensor(image, input).buffer)
      const outside = lowestOf(image)
      const parts = patches.map(origin => tensor(patch(image, origin, input, outside), input))
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

/** A part of an image in its own resolution. @param outside sample of what lies beyond its edges */
function patch(image: ImageData, origin: Origin, { rows, columns }: TensorInput, outside: number): ImageData {
  const channels = image.photometric === 'RGB' ? 3 : 1
  const samples = new Float32Array(rows * columns * channels).fill(outside)
  const width = Math.min(columns, image.columns - origin.column) * channels
  for (let row = 0; row < Math.min(rows, image.rows - origin.row); row++) {
    const from = ((origin.row + row) * image.columns + origin.column) * channels
    samples.set(image.samples.subarray(from, from + width), row * columns * channels)
  }
  return { ...image, rows, columns, samples }
}

/** The sample of the lowest modality value. */
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
