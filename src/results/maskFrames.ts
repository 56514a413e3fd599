import type { MaskRun } from '../analysis/findings.js'

/** One bit a pixel, frames one after another without padding between them, the first pixel in the lowest bit (PS3.5 8.1.1); of even length. */
export function packFrames(
  frames: readonly (readonly MaskRun[])[],
  rows: number,
  columns: number,
): Uint8Array<ArrayBuffer> {
  const bytes = Math.ceil((frames.length * rows * columns) / 8)
  const packed = new Uint8Array(bytes + (bytes % 2))
  for (const [frame, runs] of frames.entries()) {
    for (const { row, column, length } of runs) {
      const start = (frame * rows + row) * columns + column
      fillBits(packed, start, start + length)
    }
  }
  return packed
}

/** Sets the bits from `start` up to, not including, `end`. */
function fillBits(bytes: Uint8Array, start: number, end: number): void {
  let bit = start
  for (; bit < end && (bit & 7) !== 0; bit++) bytes[bit >> 3]! |= 1 << (bit & 7)
  for (; bit + 8 <= end; bit += 8) bytes[bit >> 3] = 0xff
  for (; bit < end; bit++) bytes[bit >> 3]! |= 1 << (bit & 7)
}

/** A byte or a word a pixel: what `valueOf` says of the run, or the run's own fractions. */
export function paintRuns(
  frame: Uint8Array | Uint16Array,
  columns: number,
  runs: readonly MaskRun[],
  value: number,
): void {
  for (const { row, column, length, fractions } of runs) {
    const start = row * columns + column
    if (fractions) frame.set(fractions, start)
    else frame.fill(value, start, start + length)
  }
}

/** Runs of the pixels of a frame that `isSet` accepts, in the order of rows and columns. */
export function runsOf(rows: number, columns: number, isSet: (pixel: number) => boolean): MaskRun[] {
  const runs: MaskRun[] = []
  for (let row = 0; row < rows; row++) {
    let start = -1
    for (let column = 0; column <= columns; column++) {
      const set = column < columns && isSet(row * columns + column)
      if (set && start < 0) start = column
      if (!set && start >= 0) {
        runs.push({ row, column: start, length: column - start })
        start = -1
      }
    }
  }
  return runs
}
