import { type ImageDescription, PixelProblem } from '../imageDescription.js'
import type { DecodedFrame } from './codec.js'

/** RLE Lossless, PS3.5 annex G: a header of 64 bytes, then one PackBits segment for each byte of each sample, most significant first. */
export function decodeRle(stream: Buffer, image: ImageDescription): DecodedFrame {
  const bytesPerSample = image.bitsAllocated / 8
  if (![1, 2, 4].includes(bytesPerSample))
    throw new PixelProblem(`RLE of ${image.bitsAllocated} bits allocated is not defined`)
  const segments = image.samplesPerPixel * bytesPerSample
  if (stream.length < 64 || stream.readUInt32LE(0) !== segments) {
    throw new PixelProblem(`the RLE header does not announce ${segments} segments`)
  }
  const pixels = image.rows * image.columns
  const bytes = new Uint8Array(pixels * segments)
  for (let segment = 0; segment < segments; segment++) {
    const start = stream.readUInt32LE(4 + segment * 4)
    const end = segment + 1 < segments ? stream.readUInt32LE(8 + segment * 4) : stream.length
    if (start < 64 || end > stream.length || start > end)
      throw new PixelProblem('an RLE segment lies outside of its fragment')
    const sample = Math.floor(segment / bytesPerSample)
    const significance = bytesPerSample - 1 - (segment % bytesPerSample) // 0 = least, which comes first in memory
    unpackBits(stream, start, end, bytes, sample * bytesPerSample + significance, segments, pixels)
  }
  return {
    rows: image.rows,
    columns: image.columns,
    samplesPerPixel: image.samplesPerPixel,
    samples:
      bytesPerSample === 1
        ? bytes
        : bytesPerSample === 2
          ? new Uint16Array(bytes.buffer)
          : new Uint32Array(bytes.buffer),
    precision: image.bitsStored,
    planarConfiguration: 0,
  }
}

function unpackBits(
  from: Buffer,
  start: number,
  end: number,
  to: Uint8Array,
  first: number,
  stride: number,
  count: number,
): void {
  let at = start
  let written = 0
  let out = first
  while (written < count) {
    if (at >= end) throw new PixelProblem('an RLE segment ends before its last pixel')
    const control = from[at++]!
    if (control === 128) continue
    const length = Math.min(control < 128 ? control + 1 : 257 - control, count - written)
    written += length
    if (control < 128) {
      if (at + length > end) throw new PixelProblem('an RLE segment ends inside a run')
      for (let i = 0; i < length; i++, out += stride) to[out] = from[at + i]!
      at += control + 1
    } else {
      const value = from[at++]!
      for (let i = 0; i < length; i++, out += stride) to[out] = value
    }
  }
}
