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
  const rowsPerSegment = restartInterval > 0 ? restartInterval / columns : rows
  const width = columns * jpeg.components.length
  for (let first = 0, s = 0; first < rows; first += rowsPerSegment, s++) {
    const segment = scan.segments[s]
    if (!segment) throw new PixelProblem('the JPEG lossless stream is cut')
    const reader = new BitReader(segment)
    const last = Math.min(rows, first + rowsPerSegment)
    for (let row = first; row < last; row++)
      decodeRow(reader, scan, jpeg, samples, row * width, row === first, precision)
    if (reader.overrun) throw new PixelProblem('the JPEG lossless stream is cut')
  }
  if (shift > 0) for (const { index } of scan.components) shiftComponent(samples, index, jpeg.components.length, shift)
}

/** One row of all components of a scan. Predictions are of the values before the point transform (H.1.1, H.1.2). */
function decodeRow(
  reader: BitReader,
  scan: JpegScan,
  jpeg: JpegStream,
  samples: Uint8Array | Uint16Array,
  start: number,
  firstRow: boolean,
  precision: number,
): void {
  const count = jpeg.components.length
  const width = jpeg.columns * count
  const origin = 1 << (precision - scan.pointTransform - 1)
  const parts = scan.components.map(({ index, dc }) => {
    if (!dc) throw new PixelProblem('the JPEG lossless stream lacks a Huffman table')
    return { index, table: dc }
  })
  if (parts.length === 1 && count === 1 && (firstRow || scan.selection === 1)) {
    decodePlainRow(reader, parts[0]!.table, samples, start, jpeg.columns, firstRow ? origin : samples[start - width]!)
    return
  }
  for (let column = 0; column < jpeg.columns; column++) {
    for (const { index, table } of parts) {
      const at = start + column * count + index
      let prediction: number
      if (column === 0) prediction = firstRow ? origin : samples[at - width]!
      else if (firstRow) prediction = samples[at - count]!
      else
        prediction = predict(scan.selection, samples[at - count]!, samples[at - width]!, samples[at - width - count]!)
      samples[at] = prediction + reader.difference(table)
    }
  }
}

/** One component, predicted from the sample before: the common case (selection value 1). */
function decodePlainRow(
  reader: BitReader,
  table: HuffmanTable,
  samples: Uint8Array | Uint16Array,
  start: number,
  columns: number,
  first: number,
): void {
  let value = first
  for (let at = start; at < start + columns; at++) {
    value = (value + reader.difference(table)) & 0xffff
    samples[at] = value
  }
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

function shiftComponent(samples: Uint8Array | Uint16Array, index: number, count: number, shift: number): void {
  for (let at = index; at < samples.length; at += count) samples[at] = samples[at]! << shift
}
