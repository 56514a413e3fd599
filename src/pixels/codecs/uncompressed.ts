import { promisify } from 'node:util'
import { inflateRaw } from 'node:zlib'
import { type ImageDescription, nativeFrameBits, PixelProblem } from '../imageDescription.js'
import { nativeSamples } from '../nativeSamples.js'
import type { DecodedFrame } from './codec.js'

const inflate = promisify(inflateRaw)

/** Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11): native samples, a fragment a frame. */
export function unwrapUncompressed(stream: Buffer, image: ImageDescription): DecodedFrame {
  const needed = Math.ceil(nativeFrameBits(image) / 8)
  if (stream.length < needed) throw new PixelProblem(`a frame holds ${stream.length} bytes and needs ${needed}`)
  return nativeSamples(stream.subarray(0, needed), image)
}

/** Deflated Image Frame Compression (PS3.5 A.4.14): native samples, each frame deflated by itself (RFC 1951). */
export async function inflateFrame(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  const needed = Math.ceil(nativeFrameBits(image) / 8)
  let bytes: Buffer
  try {
    bytes = await inflate(stream, { maxOutputLength: needed + 1 })
  } catch (cause) {
    throw new PixelProblem('a deflated frame is corrupt or larger than Rows and Columns allow', { cause })
  }
  return unwrapUncompressed(bytes, image)
}
