import type { FileHandle } from 'node:fs/promises'
import { PixelProblem } from './imageDescription.js'

/** @throws PixelProblem when the file ends before */
export async function readExactly(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length) // of its own: it changes threads without being copied
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(length - at, 1 << 30), offset + at)
    if (bytesRead === 0) throw new PixelProblem('the file ends inside Pixel Data')
    at += bytesRead
  }
  return bytes
}
