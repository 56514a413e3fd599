import type { InstanceHeader } from '../dicom/part10.js'

/** `cut`: the file ends inside its pixel data. `odd`: all bytes seem to be there, but no decoder may be able to use them. */
export type PixelDataCheck = { outcome: 'whole' } | { outcome: 'cut' | 'odd'; detail: string }

/** @returns how many bytes of the file, from `position` on, were put `into` the buffer */
type ReadAt = (into: Buffer, length: number, position: number) => Promise<number>

const itemTag = 0xe000fffe
const sequenceDelimiter = 0xe0ddfffe
const undefinedLength = 0xffffffff

/**
 * Does the Pixel Data element end inside the file? Native values are compared by length; of encapsulated ones (PS3.5 A.4) only the
 * item headers are read.
 */
export async function checkPixelData(
  header: InstanceHeader,
  readAt: ReadAt,
  byteLength: number,
): Promise<PixelDataCheck> {
  const pixel = header.pixelData
  if (!pixel || header.transferSyntax.encoding === 'deflated') return { outcome: 'whole' }
  if (!pixel.undefinedLength) {
    const end = pixel.offset + pixel.length
    return end > byteLength ? { outcome: 'cut', detail: 'the file ends inside Pixel Data' } : { outcome: 'whole' }
  }
  if (!header.transferSyntax.encapsulated) {
    return { outcome: 'cut', detail: 'Pixel Data of undefined length in a transfer syntax that is not encapsulated' }
  }
  const window = new Window(readAt, byteLength)
  let at = pixel.offset
  let items = 0
  while (at + 8 <= byteLength) {
    const bytes = await window.read(at)
    const tag = bytes.readUInt32LE(0)
    const length = bytes.readUInt32LE(4)
    if (tag === sequenceDelimiter) {
      return items > 1 ? { outcome: 'whole' } : { outcome: 'odd', detail: 'encapsulated Pixel Data without a fragment' }
    }
    if (tag !== itemTag || length === undefinedLength)
      return { outcome: 'odd', detail: 'encapsulated Pixel Data holds what is no item' }
    at += 8 + length
    items++
    if (at > byteLength) return { outcome: 'cut', detail: 'the file ends inside a fragment of Pixel Data' }
  }
  return { outcome: 'odd', detail: 'encapsulated Pixel Data without sequence delimiter' }
}

/** Reads eight bytes at a time out of a larger piece of the file, since fragments are often small. */
class Window {
  private readonly bytes = Buffer.alloc(64 * 1024)
  private start = 0
  private length = 0

  constructor(
    private readonly readAt: ReadAt,
    private readonly byteLength: number,
  ) {}

  async read(at: number): Promise<Buffer> {
    if (at < this.start || at + 8 > this.start + this.length) {
      const wanted = Math.min(this.bytes.length, this.byteLength - at)
      this.length = await this.readAt(this.bytes, wanted, at)
      this.start = at
    }
    return this.bytes.subarray(at - this.start, at - this.start + 8)
  }
}
