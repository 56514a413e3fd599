import { codable } from './codecs/codableFrame.js'
import { type CodeStream, losslessEncoders } from './codecs/encoders.js'
import type { NormalizedFrame } from './decodeFrame.js'
import type { ImageDescription } from './imageDescription.js'

/** Compresses a decoded frame without loss. @throws PixelProblem if the transfer syntax is not written for such samples */
export async function compressFrame(
  frame: NormalizedFrame,
  transferSyntaxUid: string,
  image: ImageDescription,
): Promise<CodeStream> {
  const encode = losslessEncoders.get(transferSyntaxUid)!
  return encode(codable(frame, transferSyntaxUid, image.bitsAllocated === 1))
}
