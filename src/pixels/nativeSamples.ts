import type { DecodedFrame } from './codecs/codec.js'
import { type ImageDescription, isSubsampled, type Samples } from './imageDescription.js'

/**
 * The samples of one native frame (PS3.5 8.1), bits outside of Bits Stored included.
 * @param bytes the frame; it becomes the samples' own where that needs no copy
 * @param bitOffset where in the first byte a frame of one-bit samples begins
 */
export function nativeSamples(bytes: Buffer, image: ImageDescription, bitOffset = 0): DecodedFrame {
  // Samples change threads together with the memory behind them: nobody else may have a part in it.
  const alone = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
  const own = alone ? bytes : Buffer.from(new Uint8Array(bytes).buffer)
  return {
    rows: image.rows,
    columns: image.columns,
    samplesPerPixel: image.samplesPerPixel,
    samples: image.bitsAllocated === 1 ? unpackBits(own, image, bitOffset) : viewAs(own, image),
    precision: image.bitsStored,
    planarConfiguration: isSubsampled(image.photometric) ? 0 : image.planarConfiguration,
  }
}

function viewAs(bytes: Buffer, { bitsAllocated, signed, float }: ImageDescription): Samples {
  const { buffer, byteOffset: at, byteLength } = bytes as Buffer<ArrayBuffer>
  const count = Math.floor(byteLength / (bitsAllocated / 8))
  if (float) return bitsAllocated === 32 ? new Float32Array(buffer, at, count) : new Float64Array(buffer, at, count)
  if (bitsAllocated === 8) return signed ? new Int8Array(buffer, at, count) : new Uint8Array(buffer, at, count)
  if (bitsAllocated === 16) return signed ? new Int16Array(buffer, at, count) : new Uint16Array(buffer, at, count)
  return signed ? new Int32Array(buffer, at, count) : new Uint32Array(buffer, at, count)
}

/** One bit a sample, the first one in the lowest bit (PS3.5 8.1.1); rows and frames are not aligned to bytes. */
function unpackBits(
  bytes: Buffer,
  { rows, columns, samplesPerPixel }: ImageDescription,
  bitOffset: number,
): Uint8Array {
  const samples = new Uint8Array(rows * columns * samplesPerPixel)
  for (let i = 0, bit = bitOffset; i < samples.length; i++, bit++) samples[i] = (bytes[bit >> 3]! >> (bit & 7)) & 1
  return samples
}
