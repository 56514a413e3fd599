import { PixelProblem } from '../../imageDescription.js'
import { HuffmanTable } from './huffman.js'

/** One component as the frame header (SOF) declares it: ISO 10918-1 B.2.2. */
export interface JpegComponent {
  id: number
  /** Sampling factors. */
  h: number
  v: number
  quantization: number
}

/** What stands before the first scan. */
export interface JpegHeader {
  /** 0 baseline, 1 extended sequential, 2 progressive, 3 lossless, as in the SOF marker; 0xf7 of JPEG-LS is 55. */
  process: number
  precision: number
  rows: number
  columns: number
  components: JpegComponent[]
  /** Colour transform of the Adobe APP14 segment: 0 none, 1 YCbCr. */
  adobeTransform?: number
  jfif: boolean
}

/** One scan: its components, with the tables and the entropy-coded segments that belong to it, byte stuffing undone. */
export interface JpegScan {
  components: { index: number; dc: HuffmanTable | undefined; ac: HuffmanTable | undefined }[]
  /** Start of spectral selection; the predictor in lossless coding. */
  selection: number
  /** Successive approximation low bit; the point transform in lossless coding. */
  pointTransform: number
  /** Units between restart markers, 0 for none. */
  restartInterval: number
  /** One for each restart interval. */
  segments: Uint8Array[]
}

export interface JpegStream extends JpegHeader {
  quantization: (Uint16Array | undefined)[]
  scans: JpegScan[]
}

const sofMarkers = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, 0xf7])
const [soi, eoi, sos, dht, dqt, dri, app0, app14] = [0xd8, 0xd9, 0xda, 0xc4, 0xdb, 0xdd, 0xe0, 0xee]

interface Segment {
  marker: number
  /** Of the marker's first byte. */
  start: number
  /** The payload, without its length. */
  body: Buffer
  /** First byte after it. */
  end: number
}

/** The marker segments up to, and with, the first SOS. @throws PixelProblem */
function* segments(stream: Buffer, from: number): Generator<Segment> {
  let at = from
  for (;;) {
    while (at + 1 < stream.length && stream[at] === 0xff && stream[at + 1] === 0xff) at++ // fill bytes
    if (at + 4 > stream.length) throw new PixelProblem('the JPEG stream is cut within its headers')
    const marker = stream[at + 1]!
    if (stream[at] !== 0xff || marker === 0)
      throw new PixelProblem('the JPEG stream holds bytes where a marker should be')
    if (marker === eoi) return yield { marker, start: at, body: stream.subarray(at + 2, at + 2), end: at + 2 }
    const length = stream.readUInt16BE(at + 2)
    const end = at + 2 + length
    if (length < 2 || end > stream.length) throw new PixelProblem('the JPEG stream is cut within a marker segment')
    yield { marker, start: at, body: stream.subarray(at + 4, end), end }
    at = end
  }
}

function checkStart(stream: Buffer): void {
  if (stream.length < 4 || stream[0] !== 0xff || stream[1] !== soi) throw new PixelProblem('not a JPEG stream')
}

/** Reads the headers up to the first scan. @throws PixelProblem */
export function readJpegHeader(stream: Buffer): JpegHeader {
  checkStart(stream)
  let frame: Omit<JpegHeader, 'jfif' | 'adobeTransform'> | undefined
  let adobeTransform: number | undefined
  let jfif = false
  for (const { marker, body } of segments(stream, 2)) {
    if (sofMarkers.has(marker)) frame = readFrame(marker, body)
    else if (marker === app14 && body.length >= 12 && body.toString('latin1', 0, 5) === 'Adobe')
      adobeTransform = body[11]!
    else if (marker === app0 && body.toString('latin1', 0, 4) === 'JFIF') jfif = true
    else if (marker === sos || marker === eoi) break
  }
  if (!frame) throw new PixelProblem('the JPEG stream has no frame header')
  return { ...frame, jfif, ...(adobeTransform === undefined ? {} : { adobeTransform }) }
}

/**
 * The same stream with one Adobe APP14 segment in the place of all that tell a decoder its colour space.
 * @param transform 0: components are given as they are; 1: YCbCr is made RGB
 */
export function withColourTransform(stream: Buffer, transform: 0 | 1): Buffer {
  // Marker, length 14, "Adobe", version 100, two words of flags, transform.
  const adobe = Buffer.concat([Buffer.from('ffee000e41646f6265006400000000', 'hex'), Buffer.of(transform)])
  const parts = [stream.subarray(0, 2), adobe]
  let at = 2
  for (const segment of segments(stream, 2)) {
    if (segment.marker === app0 || segment.marker === app14) {
      parts.push(stream.subarray(at, segment.start))
      at = segment.end
    }
    if (segment.marker === sos || segment.marker === eoi) break
  }
  return Buffer.concat([...parts, stream.subarray(at)])
}

/** Reads headers, tables and all scans. @throws PixelProblem */
export function readJpegStream(stream: Buffer): JpegStream {
  const header = readJpegHeader(stream)
  const quantization: (Uint16Array | undefined)[] = []
  const tables: { dc: (HuffmanTable | undefined)[]; ac: (HuffmanTable | undefined)[] } = { dc: [], ac: [] }
  const scans: JpegScan[] = []
  let restartInterval = 0
  for (let from = 2; ; ) {
    let next: number | undefined
    for (const { marker, body, end } of segments(stream, from)) {
      if (marker === eoi) return { ...header, quantization, scans }
      if (marker === dqt) readQuantization(body, quantization)
      else if (marker === dht) readHuffman(body, tables)
      else if (marker === dri && body.length >= 2) restartInterval = body.readUInt16BE(0)
      else if (marker === sos) {
        const scan = readScanHeader(body, header, tables, restartInterval)
        next = readEntropySegments(stream, end, scan.segments)
        scans.push(scan)
        // Each component is coded once in sequential and lossless streams; more scans are made to cost memory.
        if (scans.length > header.components.length)
          throw new PixelProblem('the JPEG stream has more scans than components')
        break
      }
    }
    // A stream without EOI is whole if its last scan is: decoders tell.
    if (next === undefined || next + 4 > stream.length) break
    from = next
  }
  return { ...header, quantization, scans }
}

function readFrame(marker: number, body: Buffer): Omit<JpegHeader, 'jfif' | 'adobeTransform'> {
  const count = body[5] ?? 0
  if (body.length < 6 + count * 3 || count === 0) throw new PixelProblem('the JPEG frame header is cut')
  return {
    process: marker - 0xc0,
    precision: body[0]!,
    rows: body.readUInt16BE(1),
    columns: body.readUInt16BE(3),
    components: Array.from({ length: count }, (_, i) => ({
      id: body[6 + i * 3]!,
      h: body[7 + i * 3]! >> 4,
      v: body[7 + i * 3]! & 15,
      quantization: body[8 + i * 3]!,
    })),
  }
}

const zigzag = Uint8Array.of(
  ...[
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28,
  ],
  ...[
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55,
  ],
  ...[62, 63],
)
/** Row-major position of the k-th coefficient; runs past the end stay inside. */
export const naturalOrder = Uint8Array.of(...zigzag, ...Array<number>(16).fill(63))

function readQuantization(body: Buffer, tables: (Uint16Array | undefined)[]): void {
  for (let at = 0; at < body.length; ) {
    const wide = body[at]! >> 4 !== 0
    const id = body[at]! & 15
    if (at + 1 + (wide ? 128 : 64) > body.length) throw new PixelProblem('a JPEG quantization table is cut')
    const table = new Uint16Array(64)
    for (let k = 0; k < 64; k++) table[zigzag[k]!] = wide ? body.readUInt16BE(at + 1 + k * 2) : body[at + 1 + k]!
    tables[id] = table
    at += 1 + (wide ? 128 : 64)
  }
}

function readHuffman(
  body: Buffer,
  tables: { dc: (HuffmanTable | undefined)[]; ac: (HuffmanTable | undefined)[] },
): void {
  for (let at = 0; at < body.length; ) {
    if (at + 17 > body.length) throw new PixelProblem('a JPEG Huffman table is cut')
    const counts = body.subarray(at + 1, at + 17)
    const symbols = counts.reduce((sum, count) => sum + count, 0)
    if (at + 17 + symbols > body.length) throw new PixelProblem('a JPEG Huffman table is cut')
    const table = new HuffmanTable(counts, body.subarray(at + 17, at + 17 + symbols))
    const kind = body[at]! >> 4 === 0 ? tables.dc : tables.ac
    kind[body[at]! & 15] = table
    at += 17 + symbols
  }
}

function readScanHeader(
  body: Buffer,
  header: JpegHeader,
  tables: { dc: (HuffmanTable | undefined)[]; ac: (HuffmanTable | undefined)[] },
  restartInterval: number,
): JpegScan {
  const count = body[0] ?? 0
  if (count < 1 || body.length < 4 + count * 2) throw new PixelProblem('a JPEG scan header is cut')
  const components = Array.from({ length: count }, (_, i) => {
    const index = header.components.findIndex(component => component.id === body[1 + i * 2])
    if (index < 0) throw new PixelProblem('a JPEG scan is of a component that the frame does not have')
    const selectors = body[2 + i * 2]!
    return { index, dc: tables.dc[selectors >> 4], ac: tables.ac[selectors & 15] }
  })
  const [selection, , approximation] = [body[1 + count * 2]!, body[2 + count * 2]!, body[3 + count * 2]!]
  return { components, selection, pointTransform: approximation & 15, restartInterval, segments: [] }
}

/** Undoes byte stuffing and splits at restart markers. @returns the position of the marker that ends the scan, or the end of the stream */
function readEntropySegments(stream: Buffer, from: number, into: Uint8Array[]): number {
  const out = new Uint8Array(stream.length - from) // never more than there was
  let start = 0
  let length = 0
  let at = from
  const endSegment = () => {
    into.push(out.subarray(start, length))
    start = length
  }
  for (;;) {
    const mark = stream.indexOf(0xff, at)
    const end = mark < 0 ? stream.length : mark
    out.set(stream.subarray(at, end), length)
    length += end - at
    if (mark < 0 || mark + 1 >= stream.length) {
      endSegment()
      return stream.length
    }
    const next = stream[mark + 1]!
    if (next === 0) out[length++] = 0xff
    else if (next >= 0xd0 && next <= 0xd7) endSegment()
    else if (next !== 0xff) {
      endSegment()
      return mark
    }
    at = next === 0xff ? mark + 1 : mark + 2
  }
}
