import { PixelProblem } from '../../imageDescription.js'
import type { DecodedFrame } from '../codec.js'
import { BitReader, extend, type HuffmanTable } from './huffman.js'
import { inverseDct } from './inverseDct.js'
import { type JpegScan, type JpegStream, naturalOrder, readJpegStream } from './jpegStream.js'

interface Plane {
  /** Blocks across and down, padded to whole MCUs. */
  blocksWide: number
  blocksHigh: number
  /** Samples, `blocksWide` × 8 a row. */
  samples: Uint16Array
  h: number
  v: number
}

/**
 * JPEG with sequential DCT and Huffman coding of 8 or 12 bits (ISO 10918-1 processes 1, 2 and 4). No package on npm decodes the 12-bit
 * one; the inverse DCT is the accurate integer one of the Independent JPEG Group, so that results equal those of dcmtk and gdcm
 * (docs/decisions/0006-jpeg.md). Components are given as they are, without colour transform.
 */
export function decodeJpegSequential(stream: Buffer): DecodedFrame {
  const jpeg = readJpegStream(stream)
  const { rows, columns, precision, components } = jpeg
  if (jpeg.process > 1) throw new PixelProblem(`JPEG process SOF${jpeg.process} is not decoded`)
  if ((precision !== 8 && precision !== 12) || rows === 0 || columns === 0)
    throw new PixelProblem('the JPEG frame header is out of range')
  if (components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4))
    throw new PixelProblem('JPEG sampling factors are out of range')
  const maxH = Math.max(...components.map(c => c.h))
  const maxV = Math.max(...components.map(c => c.v))
  const mcusWide = Math.ceil(columns / (8 * maxH))
  const mcusHigh = Math.ceil(rows / (8 * maxV))
  const planes = components.map(({ h, v }): Plane => {
    const [blocksWide, blocksHigh] = [mcusWide * h, mcusHigh * v]
    return { blocksWide, blocksHigh, samples: new Uint16Array(blocksWide * blocksHigh * 64), h, v }
  })
  const decoded = new Set<number>()
  for (const scan of jpeg.scans) {
    decodeScan(jpeg, scan, planes, { maxH, maxV, mcusWide, mcusHigh })
    for (const { index } of scan.components) decoded.add(index)
  }
  if (decoded.size < components.length) throw new PixelProblem('the JPEG stream is cut: components are missing')
  const samples = assemble(planes, rows, columns, maxH, maxV, precision)
  return { rows, columns, samplesPerPixel: components.length, samples, precision, planarConfiguration: 0 }
}

function decodeScan(
  jpeg: JpegStream,
  scan: JpegScan,
  planes: Plane[],
  { maxH, maxV, mcusWide, mcusHigh }: { maxH: number; maxV: number; mcusWide: number; mcusHigh: number },
): void {
  const parts = scan.components.map(({ index, dc, ac }) => {
    const quantization = jpeg.quantization[jpeg.components[index]!.quantization]
    if (!dc || !ac || !quantization) throw new PixelProblem('the JPEG stream lacks a table')
    return { plane: planes[index]!, dc, ac, quantization, predictor: 0 }
  })
  // A scan of one component goes by its own blocks, one of several by MCUs (A.2).
  const alone = parts.length === 1 ? parts[0]!.plane : undefined
  const unitsWide = alone ? Math.ceil((jpeg.columns * alone.h) / maxH / 8) : mcusWide
  const unitsHigh = alone ? Math.ceil((jpeg.rows * alone.v) / maxV / 8) : mcusHigh
  const units = unitsWide * unitsHigh
  const coefficients = new Int32Array(64)
  const interval = scan.restartInterval || units
  for (let unit = 0, s = 0; unit < units; s++) {
    const segment = scan.segments[s]
    if (!segment) throw new PixelProblem('the JPEG stream is cut')
    const reader = new BitReader(segment)
    for (const part of parts) part.predictor = 0
    for (const end = Math.min(units, unit + interval); unit < end; unit++) {
      const [x, y] = [unit % unitsWide, Math.floor(unit / unitsWide)]
      for (const part of parts) {
        const [across, down] = alone ? [1, 1] : [part.plane.h, part.plane.v]
        for (let v = 0; v < down; v++) {
          for (let h = 0; h < across; h++) {
            part.predictor = decodeBlock(reader, part, coefficients)
            const stride = part.plane.blocksWide * 8
            const at = (y * down + v) * 8 * stride + (x * across + h) * 8
            inverseDct(coefficients, part.plane.samples, at, stride, jpeg.precision)
          }
        }
      }
    }
    if (reader.overrun) throw new PixelProblem('the JPEG stream is cut')
  }
}

/** One block of dequantized coefficients in row-major order (F.2.2). @returns its DC value before dequantization */
function decodeBlock(
  reader: BitReader,
  {
    dc,
    ac,
    quantization,
    predictor,
  }: { dc: HuffmanTable; ac: HuffmanTable; quantization: Uint16Array; predictor: number },
  coefficients: Int32Array,
): number {
  coefficients.fill(0)
  const value = predictor + reader.difference(dc)
  coefficients[0] = value * quantization[0]!
  for (let k = 1; k < 64; k++) {
    const symbol = reader.symbol(ac)
    const size = symbol & 15
    const run = symbol >> 4
    if (size === 0) {
      if (run !== 15) break
      k += 15
      continue
    }
    k += run
    const position = naturalOrder[k]!
    coefficients[position] = extend(reader.bits(size), size) * quantization[position]!
  }
  return value
}

/** Interleaves the components; subsampled ones are repeated. */
function assemble(
  planes: Plane[],
  rows: number,
  columns: number,
  maxH: number,
  maxV: number,
  precision: number,
): Uint8Array | Uint16Array {
  const count = planes.length
  const samples = precision <= 8 ? new Uint8Array(rows * columns * count) : new Uint16Array(rows * columns * count)
  for (const [c, plane] of planes.entries()) {
    const stride = plane.blocksWide * 8
    for (let y = 0; y < rows; y++) {
      const from = Math.floor((y * plane.v) / maxV) * stride
      for (let x = 0, at = y * columns * count + c; x < columns; x++, at += count) {
        samples[at] = plane.samples[from + (plane.h === maxH ? x : Math.floor((x * plane.h) / maxH))]!
      }
    }
  }
  return samples
}
