import type { InstanceHeader } from './part10.js'

/** `cut`: the file ends inside its pixel data. `odd`: all bytes seem to be there, but no decoder may be able to use them. */
export type PixelDataOutcome = { outcome: 'whole' } | { outcome: 'cut' | 'odd'; detail: string }

const itemTag = 0xe000fffe
const sequenceDelimiter = 0xe0ddfffe
const undefinedLength = 0xffffffff
const headerBytes = 8

/**
 * Does the Pixel Data element end inside the file? Native values are compared by length; of encapsulated ones (PS3.5 A.4) the item
 * headers are read as they pass by.
 */
export class PixelDataCheck {
  private position = 0
  /** Where the next item header begins; undefined: none is looked for. */
  private at: number | undefined
  private readonly itemHeader = Buffer.alloc(headerBytes)
  private known = 0
  private items = 0
  private found: PixelDataOutcome | undefined
  private pixelsEnd: number | undefined

  constructor(private readonly header: InstanceHeader) {
    const { pixelData, transferSyntax } = header
    if (!pixelData || transferSyntax.encoding === 'deflated') return
    if (!pixelData.undefinedLength) this.pixelsEnd = pixelData.offset + pixelData.length
    else if (transferSyntax.encapsulated) this.at = pixelData.offset
  }

  /** Where Pixel Data ends, as far as that is known; undefined: there is none, or it is deflated with the rest, or its end was not seen. */
  get endsAt(): number | undefined {
    return this.pixelsEnd
  }

  /** @param bytes of the file, those that follow the ones before */
  next(bytes: Buffer): void {
    const end = this.position + bytes.length
    while (this.at !== undefined && this.at + this.known < end) {
      const from = Math.max(this.at + this.known - this.position, 0)
      this.known += bytes.copy(this.itemHeader, this.known, from, from + headerBytes - this.known)
      if (this.known < headerBytes) break
      this.known = 0
      this.at = this.readItem(this.at)
    }
    this.position = end
  }

  end(byteLength: number): PixelDataOutcome {
    const { pixelData: pixel, transferSyntax } = this.header
    if (!pixel || transferSyntax.encoding === 'deflated') return { outcome: 'whole' }
    if (!pixel.undefinedLength)
      return this.pixelsEnd! > byteLength
        ? { outcome: 'cut', detail: 'the file ends inside Pixel Data' }
        : { outcome: 'whole' }
    if (!transferSyntax.encapsulated)
      return { outcome: 'cut', detail: 'Pixel Data of undefined length in a transfer syntax that is not encapsulated' }
    if (this.found) return this.found
    if (this.at! > byteLength) return { outcome: 'cut', detail: 'the file ends inside a fragment of Pixel Data' }
    return { outcome: 'odd', detail: 'encapsulated Pixel Data without sequence delimiter' }
  }

  /** @returns where the next item begins; undefined after the last one */
  private readItem(at: number): number | undefined {
    const tag = this.itemHeader.readUInt32LE(0)
    const length = this.itemHeader.readUInt32LE(4)
    if (tag === sequenceDelimiter) {
      this.pixelsEnd = at + headerBytes
      // The first item is the Basic Offset Table.
      this.found =
        this.items > 1 ? { outcome: 'whole' } : { outcome: 'odd', detail: 'encapsulated Pixel Data without a fragment' }
      return undefined
    }
    if (tag !== itemTag || length === undefinedLength) {
      this.found = { outcome: 'odd', detail: 'encapsulated Pixel Data holds what is no item' }
      return undefined
    }
    this.items++
    return at + headerBytes + length
  }
}
