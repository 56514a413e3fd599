import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { deflateRaw } from 'node:zlib'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { losslessEncoders } from '../pixels/codecs/encoders.js'
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
  rle: byPixels('1.2.840.10008.1.2.5'),
  jpeg2000: byPixels('1.2.840.10008.1.2.4.90'),
}

function byPixels(transferSyntaxUid: string) {
  const encode = async (frame: Uint8Array, { rows, columns, bits }: FrameShape) => {
    const shape = { rows, columns, bitsAllocated: bits as 8 | 16, precision: bits, signed: false }
    const { bytes } = await losslessEncoders.get(transferSyntaxUid)!({ ...shape, samplesPerPixel: 1, bytes: frame })
    return bufferOf(bytes)
  }
  return { transferSyntaxUid, encode }
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
