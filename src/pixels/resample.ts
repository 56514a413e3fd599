import type { Samples } from './imageDescription.js'

/** One channel in another size: the mean of what a pixel covers where it becomes smaller, else between the four nearest. */
export function resampled(
  { rows, columns, samples }: { rows: number; columns: number; samples: Samples },
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
