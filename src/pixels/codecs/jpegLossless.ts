import { createRequire } from 'node:module'
import { PixelProblem } from '../imageDescription.js'
import type { DecodedFrame } from './codec.js'

interface LosslessDecoder {
  decode(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array | Uint16Array
  xDim: number
  yDim: number
  numComp: number
  frame: { precision: number }
}
const { Decoder } = createRequire(import.meta.url)('jpeg-lossless-decoder-js') as { Decoder: new () => LosslessDecoder }

/** JPEG lossless (ISO 10918-1 process 14), all selection values. */
export function decodeJpegLossless(stream: Buffer): DecodedFrame {
  const decoder = new Decoder()
  let samples: Uint8Array | Uint16Array
  try {
    samples = decoder.decode(stream.buffer, stream.byteOffset, stream.byteLength)
  } catch (cause) {
    throw new PixelProblem('the JPEG lossless stream is corrupt', { cause })
  }
  return {
    rows: decoder.yDim,
    columns: decoder.xDim,
    samplesPerPixel: decoder.numComp,
    samples,
    precision: decoder.frame.precision,
    planarConfiguration: 0,
  }
}
