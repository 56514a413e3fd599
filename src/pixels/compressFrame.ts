import { codable } from './codecs/codableFrame.js'
import { losslessEncoders } from './codecs/encoders.js'
import { decodeFrame } from './decodeFrame.js'
import type { FrameSource } from './frames.js'

/** Decodes a frame and compresses it without loss. @throws PixelProblem */
export async function compressFrame(
  source: FrameSource,
  frame: number,
  transferSyntaxUid: string,
): Promise<Uint8Array> {
  const decoded = await decodeFrame(source, frame, { keepPhotometric: true })
  const { bytes } = await losslessEncoders.get(transferSyntaxUid)!(
    codable(decoded, transferSyntaxUid, source.image.bitsAllocated === 1),
  )
  return bytes
}
