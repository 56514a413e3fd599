import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { deflateRaw } from 'node:zlib'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import type { ResultFormat } from './resultFormat.js'

const deflate = promisify(deflateRaw)

interface FrameShape {
  rows: number
  columns: number
  /** Bits Allocated of one sample of one component. */
  bits: 1 | 8 | 16
}

/** Pixel Data as it is written: one value, or, encapsulated, one a frame. */
interface EncodedFrames {
  transferSyntaxUid: string
  frames: ArrayBuffer[]
}

/** Is there such a thing as frames of so many bits in this encoding? Native ones are written where there is not. */
export function canEncode(compression: ResultFormat['compression'], bits: FrameShape['bits']): boolean {
  return compression === 'deflated' || (compression !== 'none' && bits !== 1)
}

/**
 * Compresses frames without loss, a frame at a time: Deflated Image Frame (PS3.5 A.4.13), RLE Lossless (annex G) or JPEG 2000 (A.4.4).
 * @param frames samples of one frame each, little endian; of one bit, packed with the first pixel in the lowest bit
 */
export async function encodeFrames(
  frames: Iterable<Uint8Array>,
  shape: FrameShape,
  compression: Exclude<ResultFormat['compression'], 'none'>,
): Promise<EncodedFrames> {
  const encoded: ArrayBuffer[] = []
  for (const frame of frames) {
    encoded.push(await encoders[compression].encode(frame, shape)) // one frame in memory beside its code stream
    await setImmediate() // others have their turn between frames
  }
  return { transferSyntaxUid: encoders[compression].transferSyntaxUid, frames: encoded }
}

const encoders = {
  deflated: {
    transferSyntaxUid: '1.2.840.10008.1.2.8.1',
    encode: async (frame: Uint8Array) => bufferOf(await deflate(frame)),
  },
  rle: {
    transferSyntaxUid: '1.2.840.10008.1.2.5',
    encode: (frame: Uint8Array, shape: FrameShape) => encodeRle(frame, shape),
  },
  jpeg2000: {
    transferSyntaxUid: '1.2.840.10008.1.2.4.90',
    encode: (frame: Uint8Array, shape: FrameShape) => encodeJpeg2000(frame, shape),
  },
}

/** Native Pixel Data: the frames one after another, of even length. */
export function nativeFrames(frames: readonly Uint8Array[]): EncodedFrames {
  const length = frames.reduce((sum, frame) => sum + frame.length, 0)
  const all = new Uint8Array(length + (length % 2))
  let at = 0
  for (const frame of frames) {
    all.set(frame, at)
    at += frame.length
  }
  return { transferSyntaxUid: explicitVrLittleEndian, frames: [all.buffer] }
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
}

/** PS3.5 G.5: a header of 64 bytes, then a PackBits segment for each byte of a sample, most significant first; rows are packed apart. */
async function encodeRle(frame: Uint8Array, { rows, columns, bits }: FrameShape): Promise<ArrayBuffer> {
  const bytesPerSample = bits / 8
  const segments: Uint8Array[] = []
  for (let significance = bytesPerSample - 1; significance >= 0; significance--) {
    const plane = new Uint8Array(rows * columns)
    for (let i = 0; i < plane.length; i++) plane[i] = frame[i * bytesPerSample + significance]!
    segments.push(packBits(plane, rows, columns))
  }
  const header = new Uint32Array(16)
  header[0] = segments.length
  let offset = 64
  for (const [i, segment] of segments.entries()) {
    header[i + 1] = offset
    offset += segment.length
  }
  return bufferOf(Buffer.concat([Buffer.from(header.buffer), ...segments]))
}

function packBits(plane: Uint8Array, rows: number, columns: number): Uint8Array {
  const out: number[] = []
  for (let row = 0; row < rows; row++) {
    const end = (row + 1) * columns
    for (let at = row * columns; at < end; ) {
      let run = 1
      while (at + run < end && run < 128 && plane[at + run] === plane[at]) run++
      if (run > 1) {
        out.push(257 - run, plane[at]!)
        at += run
        continue
      }
      const start = at
      while (at < end && at - start < 128 && !(at + 1 < end && plane[at] === plane[at + 1])) at++
      out.push(at - start - 1, ...plane.subarray(start, at))
    }
  }
  if (out.length % 2 === 1) out.push(0)
  return Uint8Array.from(out)
}

interface Jpeg2000Encoder {
  getDecodedBuffer(info: object): Uint8Array
  getEncodedBuffer(): Uint8Array
  setQuality(lossless: boolean, quality: number): void
  setDecompositions(levels: number): void
  encode(): void
  delete(): void
}

const require = createRequire(import.meta.url)
let openJpeg: Promise<{ J2KEncoder: new () => Jpeg2000Encoder }> | undefined

/** JPEG 2000 Image Compression (Lossless Only) by OpenJPEG. */
async function encodeJpeg2000(frame: Uint8Array, { rows, columns, bits }: FrameShape): Promise<ArrayBuffer> {
  if (!openJpeg) {
    const file = require.resolve('@cornerstonejs/codec-openjpeg/wasmjs')
    openJpeg = require(file)({ locateFile: (name: string) => join(dirname(file), name), print() {}, printErr() {} })
  }
  const encoder = new (await openJpeg!).J2KEncoder()
  try {
    const info = { width: columns, height: rows, bitsPerSample: bits, componentCount: 1, isSigned: false }
    encoder.getDecodedBuffer(info).set(frame)
    encoder.setQuality(true, 0)
    encoder.setDecompositions(Math.max(0, Math.min(5, Math.floor(Math.log2(Math.min(rows, columns))))))
    encoder.encode()
    return bufferOf(encoder.getEncodedBuffer())
  } finally {
    encoder.delete()
  }
}
