import { readCod } from './jpeg2000.js'
import { wasmEncoder } from './wasmModule.js'

/** Samples that can be compressed without loss. */
export interface CodableFrame {
  rows: number
  columns: number
  samplesPerPixel: 1 | 3
  bitsAllocated: 8 | 16
  /** Bits that hold all of the samples, at most those allocated. */
  precision: number
  signed: boolean
  /** Little endian, colour by pixel. */
  bytes: Uint8Array
}

/** A code stream without loss, and what its components are. */
export interface CodeStream {
  bytes: Uint8Array
  /** Photometric Interpretation, where the encoder has changed it (PS3.5 8.2.4). */
  photometric?: 'YBR_RCT'
}

type Encoder = (frame: CodableFrame) => CodeStream | Promise<CodeStream>

const t = '1.2.840.10008.1.2'
/** By transfer syntax. */
export const losslessEncoders: ReadonlyMap<string, Encoder> = new Map<string, Encoder>([
  [`${t}.5`, frame => ({ bytes: encodeRle(frame) })],
  [`${t}.4.80`, encodeJpegLs],
  [`${t}.4.90`, encodeJpeg2000],
  [`${t}.4.201`, encodeHtj2k],
])

interface Info {
  width: number
  height: number
  bitsPerSample: number
  componentCount: number
  isSigned: boolean
  /** Asked for by OpenJPH only: OpenJPEG transforms whenever there are three components. */
  isUsingColorTransform: boolean
}
const infoOf = ({ rows, columns, precision, samplesPerPixel, signed }: CodableFrame): Info => ({
  width: columns,
  height: rows,
  bitsPerSample: precision,
  componentCount: samplesPerPixel,
  isSigned: signed,
  isUsingColorTransform: samplesPerPixel === 3,
})

interface JpegLsEncoder {
  setNearLossless(most: number): void
  setInterleaveMode(mode: number): void
}
const charLs = wasmEncoder<JpegLsEncoder>('@cornerstonejs/codec-charls/wasmjs', 'JpegLSEncoder')
const bySample = 2

/** JPEG-LS Lossless (ISO 14495-1). It knows no sign: two's complement is coded with all its bits (PS3.5 8.2.3). */
async function encodeJpegLs(frame: CodableFrame): Promise<CodeStream> {
  const info = infoOf(frame.signed ? { ...frame, precision: frame.bitsAllocated, signed: false } : frame)
  return {
    bytes: await charLs(info, frame.bytes, encoder => {
      encoder.setNearLossless(0)
      encoder.setInterleaveMode(frame.samplesPerPixel === 3 ? bySample : 0)
    }),
  }
}

interface WaveletEncoder {
  setQuality(lossless: boolean, quality: number): void
  setDecompositions(levels: number): void
}
const openJpeg = wasmEncoder<WaveletEncoder>('@cornerstonejs/codec-openjpeg/wasmjs', 'J2KEncoder')
const openJph = wasmEncoder<WaveletEncoder>('@cornerstonejs/codec-openjph/wasmjs', 'HTJ2KEncoder')

/** JPEG 2000 Lossless Only (ISO 15444-1). */
async function encodeJpeg2000(frame: CodableFrame): Promise<CodeStream> {
  return withColour(await openJpeg(infoOf(frame), frame.bytes, wavelets(frame)))
}

/** High-Throughput JPEG 2000 Lossless Only (ISO 15444-15). */
async function encodeHtj2k(frame: CodableFrame): Promise<CodeStream> {
  return withColour(await openJph(infoOf(frame), frame.bytes, wavelets(frame)))
}

const wavelets =
  ({ rows, columns }: CodableFrame) =>
  (encoder: WaveletEncoder): void => {
    encoder.setQuality(true, 0)
    encoder.setDecompositions(Math.max(0, Math.min(5, Math.floor(Math.log2(Math.min(rows, columns))))))
  }

function withColour(bytes: Uint8Array): CodeStream {
  const coding = readCod(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  return coding?.componentTransform ? { bytes, photometric: 'YBR_RCT' } : { bytes }
}

/** PS3.5 annex G: a header of 64 bytes, then a PackBits segment for each byte of a sample, most significant first; rows are packed apart. */
function encodeRle({ rows, columns, samplesPerPixel, bitsAllocated, bytes }: CodableFrame): Uint8Array {
  const bytesPerSample = bitsAllocated / 8
  const stride = samplesPerPixel * bytesPerSample
  const plane = new Uint8Array(rows * columns)
  const header = Buffer.alloc(64)
  header.writeUInt32LE(stride, 0)
  const segments: Uint8Array[] = [header]
  let offset = header.length
  for (let segment = 0; segment < stride; segment++) {
    const sample = Math.floor(segment / bytesPerSample)
    const significance = bytesPerSample - 1 - (segment % bytesPerSample)
    for (let i = 0, from = sample * bytesPerSample + significance; i < plane.length; i++, from += stride)
      plane[i] = bytes[from]!
    const packed = packBits(plane, rows, columns)
    header.writeUInt32LE(offset, 4 + segment * 4)
    segments.push(packed)
    offset += packed.length
  }
  return Buffer.concat(segments)
}

function packBits(plane: Uint8Array, rows: number, columns: number): Uint8Array {
  const out = new Uint8Array(plane.length * 2 + 2) // at worst every other pixel begins a run of two
  let to = 0
  for (let row = 0; row < rows; row++) {
    const end = (row + 1) * columns
    for (let at = row * columns; at < end; ) {
      let run = 1
      while (at + run < end && run < 128 && plane[at + run] === plane[at]) run++
      if (run > 1) {
        out[to++] = 257 - run
        out[to++] = plane[at]!
        at += run
        continue
      }
      const start = at
      while (at < end && at - start < 128 && !(at + 1 < end && plane[at] === plane[at + 1])) at++
      out[to++] = at - start - 1
      out.set(plane.subarray(start, at), to)
      to += at - start
    }
  }
  return out.subarray(0, to + (to % 2))
}
