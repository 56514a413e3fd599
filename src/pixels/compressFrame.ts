import { type CodableFrame, type CodeStream, losslessEncoders } from './codecs/encoders.js'
import type { NormalizedFrame } from './decodeFrame.js'
import { type ImageDescription, PixelProblem } from './imageDescription.js'

/** Colour goes through a reversible transformation that is defined for RGB. */
const wavelets = /\.4\.(90|201)$/

/**
 * Compresses a decoded frame without loss.
 * @param image whose frame it is
 * @throws PixelProblem if the transfer syntax is not written for such samples
 */
export async function compressFrame(
  frame: NormalizedFrame,
  transferSyntaxUid: string,
  image: ImageDescription,
): Promise<CodeStream> {
  const { bitsAllocated, samples, samplesPerPixel, photometric } = frame
  if (image.bitsAllocated === 1 || (bitsAllocated !== 8 && bitsAllocated !== 16))
    throw new PixelProblem(`samples of ${image.bitsAllocated} bits are not compressed`)
  if (samplesPerPixel === 3 && photometric !== 'RGB' && wavelets.test(transferSyntaxUid))
    throw new PixelProblem(`${photometric} is not compressed in this transfer syntax`)
  const codable: CodableFrame = {
    ...frame,
    bitsAllocated,
    precision: precisionOf(frame),
    bytes: new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength),
  }
  return losslessEncoders.get(transferSyntaxUid)!(codable)
}

/** Bits Stored, unless there is something above them: it would be lost. */
function precisionOf({ samples, bitsStored, bitsAllocated, signed }: NormalizedFrame): number {
  if (bitsStored === bitsAllocated) return bitsStored
  const [least, most] = signed ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1] : [0, 2 ** bitsStored - 1]
  for (let i = 0; i < samples.length; i++) if (samples[i]! < least || samples[i]! > most) return bitsAllocated
  return bitsStored
}
