import { PixelProblem } from '../../imageDescription.js'
import type { DecodedFrame } from '../codec.js'
import { BitReader, type HuffmanTable } from './huffman.js'
import { type JpegScan, type JpegStream, readJpegStream } from './jpegStream.js'

/**
 * JPEG lossless (ISO 10918-1 process 14, annex H): selection values 1 to 7, 2 to 16 bits, point transform, restart intervals, components
 * in one scan or in several. (Why not a library: docs/decisions/0006-jpeg.md.)
 */
export function decodeJpegLossless(stream: Buffer): DecodedFrame {
  const jpeg = readJpegStream(stream)
  if (jpeg.process !== 3) throw new PixelProblem('the JPEG stream is not a lossless one (process 14)')
  const { rows, columns, precision, components } = jpeg
  if (precision < 2 || precision > 16 || rows === 0 || columns === 0) {
    throw new PixelProblem('the JPEG lossless frame header is out of range')
  }
  if (components.some(({ h, v }) => h !== components[0]!.h || v !== components[0]!.v)) {
    throw new PixelProblem('JPEG lossless with subsampled components is not supported')
  }
  const count = components.length
  const samples = precision <= 8 ? new Uint8Array(rows * columns * count) : new Uint16Array(rows * columns * count)
  const decoded = new Set<number>()
  for (const scan of jpeg.scans) {
    decodeScan(jpeg, scan, samples)
    for (const { index } of scan.components) decoded.add(index)
  }
  if (decoded.size < count) throw new PixelProblem('the JPEG lossless stream is cut: components are missing')
  return { rows, columns, samplesPerPixel: count, samples, precision, planarConfiguration: 0 }
}

function decodeScan(jpeg: JpegStream, scan: JpegScan, samples: Uint8Array | Uint16Array): void {
  const { rows, columns, precision } = jpeg
  const { selection, pointTransform: shift, restartInterval } = scan
  if (selection < 1 || selection > 7)
    throw new PixelProblem(`JPEG lossless selection value ${selection} does not exist`)
  if (restartInterval % columns !== 0)
    throw new PixelProblem('a JPEG lossless restart interval is no whole number of rows')
  const tables = scan.components.map(({ dc }) => {
    if (!dc) throw new PixelProblem('the JPEG lossless stream lacks a Huffman table')
    return dc
  })
  const rowsPerSegment = restartInterval > 0 ? restartInterval / columns : rows
  const origin = 1 << (precision - shift - 1)
  // Predictions are of the values before the point transform (H.1.1, H.1.2): a row of the scan's components, and the one above it.
  let row = new Uint16Array(columns * tables.length)
  let above = new Uint16Array(row.length)
  for (let first = 0, s = 0; first < rows; first += rowsPerSegment, s++) {
    const segment = scan.segments[s]
    if (!segment) throw new PixelProblem('the JPEG lossless stream is cut')
    const reader = new BitReader(segment)
    const last = Math.min(rows, first + rowsPerSegment)
    for (let y = first; y < last; y++) {
      if (y === first) decodeRow(reader, tables, 1, row, above.fill(origin))
      else decodeRow(reader, tables, selection, row, above)
      keepRow(row, jpeg, scan, samples, y)
      ;[row, above] = [above, row]
    }
    if (reader.overrun) throw new PixelProblem('the JPEG lossless stream is cut')
  }
}

/** One row: its first sample of each component is predicted by the one above it, the others by the selection value. */
function decodeRow(
  reader: BitReader,
  tables: readonly HuffmanTable[],
  selection: number,
  row: Uint16Array,
  above: Uint16Array,
): void {
  const count = tables.length
  for (let i = 0; i < count; i++) row[i] = above[i]! + reader.difference(tables[i]!)
  if (selection === 1 && count === 1) {
    // The common case, a third faster without the loop over components.
    const table = tables[0]!
    let value = row[0]!
    for (let at = 1; at < row.length; at++) {
      value = (value + reader.difference(table)) & 0xffff
      row[at] = value
    }
  } else if (selection === 1) {
    for (let at = count; at < row.length; )
      for (let i = 0; i < count; i++, at++) row[at] = row[at - count]! + reader.difference(tables[i]!)
  } else {
    for (let at = count; at < row.length; )
      for (let i = 0; i < count; i++, at++)
        row[at] = predict(selection, row[at - count]!, above[at]!, above[at - count]!) + reader.difference(tables[i]!)
  }
}

/** Into the picture, where components are interleaved: this scan may have only some of them. */
function keepRow(
  row: Uint16Array,
  { columns, components }: JpegStream,
  scan: JpegScan,
  samples: Uint8Array | Uint16Array,
  y: number,
): void {
  const [count, own, shift] = [components.length, scan.components.length, scan.pointTransform]
  if (shift === 0 && own === count && scan.components.every(({ index }, i) => index === i)) {
    samples.set(row, y * row.length)
    return
  }
  for (const [i, { index }] of scan.components.entries())
    for (let x = 0; x < columns; x++) samples[(y * columns + x) * count + index] = row[x * own + i]! << shift
}

/** Table H.1: a is the sample to the left, b above, c above to the left. */
function predict(selection: number, a: number, b: number, c: number): number {
  switch (selection) {
    case 1:
      return a
    case 2:
      return b
    case 3:
      return c
    case 4:
      return a + b - c
    case 5:
      return a + ((b - c) >> 1)
    case 6:
      return b + ((a - c) >> 1)
    default:
      return (a + b) >> 1
  }
}
