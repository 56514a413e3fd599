import { PixelProblem } from '../../imageDescription.js'

const lookupBits = 12

/** A Huffman table (ISO 10918-1 annex C), prepared for looking up what the next bits mean. */
export class HuffmanTable {
  /** By the next 16 bits: length of the code in the high byte, its symbol in the low one; 0 where no code begins so. */
  readonly codes = new Uint16Array(1 << 16)
  /**
   * By the next 12 bits, where a code and the difference that follows it (F.2.2.1) fit into them: the difference × 32, plus the length of
   * both; 0 elsewhere.
   */
  readonly differences = new Int32Array(1 << lookupBits)

  constructor(counts: Uint8Array, symbols: Uint8Array) {
    let code = 0
    let next = 0
    for (let length = 1; length <= 16; length++) {
      for (let i = 0; i < counts[length - 1]!; i++) {
        if (code >= 1 << length) throw new PixelProblem('a JPEG Huffman table has too many codes')
        const entry = (length << 8) | symbols[next++]!
        this.codes.fill(entry, code << (16 - length), (code + 1) << (16 - length))
        code++
      }
      code <<= 1
    }
    for (let bits = 0; bits < 1 << lookupBits; bits++) {
      const entry = this.codes[bits << (16 - lookupBits)]!
      const length = entry >> 8
      const size = entry & 0xff
      if (length === 0 || size > 15 || length + size > lookupBits) continue
      const extra = (bits >> (lookupBits - length - size)) & ((1 << size) - 1)
      this.differences[bits] = extend(extra, size) * 32 + length + size
    }
  }
}

/** EXTEND of F.2.2.1: the signed value that `size` bits stand for. */
export function extend(bits: number, size: number): number {
  return size > 0 && bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits
}

/** Bits of one entropy-coded segment, most significant first. Past its end it gives zeros; `overrun` tells. */
export class BitReader {
  private at = 0
  private accumulator = 0
  private available = 0

  constructor(private readonly bytes: Uint8Array) {}

  /** True when more bits have been used than there were. */
  get overrun(): boolean {
    return this.at - (this.available >> 3) > this.bytes.length
  }

  /** The next symbol of a table. @throws PixelProblem where no code begins with the next bits */
  symbol(table: HuffmanTable): number {
    if (this.available < 16) this.fill()
    const entry = table.codes[(this.accumulator >>> (this.available - 16)) & 0xffff]!
    if (entry === 0) throw new PixelProblem('the JPEG stream is corrupt: no such Huffman code')
    this.available -= entry >> 8
    return entry & 0xff
  }

  /** @param size 0 to 16 */
  bits(size: number): number {
    if (size === 0) return 0
    if (this.available < size) this.fill()
    this.available -= size
    return (this.accumulator >>> this.available) & ((1 << size) - 1)
  }

  /** A difference: the table's symbol says how many bits follow. 16 stands for 32768, without bits (H.1.2.2). */
  difference(table: HuffmanTable): number {
    if (this.available < lookupBits) this.fill()
    const quick = table.differences[(this.accumulator >>> (this.available - lookupBits)) & 0xfff]!
    if (quick !== 0) {
      this.available -= quick & 31
      return quick >> 5
    }
    const size = this.symbol(table)
    if (size === 16) return 32768
    if (size > 16) throw new PixelProblem('the JPEG stream is corrupt: a difference of more than 16 bits')
    return extend(this.bits(size), size)
  }

  private fill(): void {
    while (this.available <= 24) {
      this.accumulator = (this.accumulator << 8) | (this.at < this.bytes.length ? this.bytes[this.at]! : 0)
      this.at++
      this.available += 8
    }
  }
}
