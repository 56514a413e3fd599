import { type DicomJson, numbersOf, wordsOf } from '../dicom/dicomJson.js'
import { PixelProblem, type Samples } from './imageDescription.js'

/** Red, green and blue by stored value, brought to 8 bits (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6). */
export interface Palette {
  /** The stored value of the first entry; lower ones get it too, and those above the last entry the last. */
  firstMapped: number
  red: Uint8Array
  green: Uint8Array
  blue: Uint8Array
}

const colours = [
  { name: 'Red', descriptor: '00281101', data: '00281201', segmented: '00281221' },
  { name: 'Green', descriptor: '00281102', data: '00281202', segmented: '00281222' },
  { name: 'Blue', descriptor: '00281103', data: '00281203', segmented: '00281223' },
]

/** Attributes of a palette; they go when it has been applied. */
export const paletteTags: readonly string[] = [
  ...colours.flatMap(({ descriptor, data, segmented }) => [descriptor, data, segmented]),
  '00281199',
]

/** @param signed Pixel Representation, which says how the first mapped value is to be read @throws PixelProblem */
export function readPalette(header: DicomJson, signed: boolean): Palette {
  const tables = colours.map(colour => readTable(header, colour))
  const [first] = tables
  if (tables.some(table => table.entries.length !== first!.entries.length || table.first !== first!.first))
    throw new PixelProblem('the three palette descriptors differ')
  // Seen in the field: 16 bits by the descriptor, entries of 8 bits. A palette that never leaves the lowest 256 of 65536 levels is black.
  const eightBits = tables.every(table => table.bits <= 8 || table.entries.every(entry => entry < 256))
  const [red, green, blue] = tables.map(({ entries }) =>
    Uint8Array.from(entries, entry => (eightBits ? entry : entry >> 8)),
  ) as [Uint8Array, Uint8Array, Uint8Array]
  const firstMapped = signed ? (first!.first << 16) >> 16 : first!.first
  return { firstMapped, red, green, blue }
}

/** @returns RGB by pixel, 8 bits */
export function applyPalette(samples: Samples, { firstMapped, red, green, blue }: Palette): Uint8Array {
  const rgb = new Uint8Array(samples.length * 3)
  const last = red.length - 1
  for (let i = 0, at = 0; i < samples.length; i++, at += 3) {
    const index = samples[i]! - firstMapped
    const entry = index < 0 ? 0 : Math.min(index, last)
    rgb[at] = red[entry]!
    rgb[at + 1] = green[entry]!
    rgb[at + 2] = blue[entry]!
  }
  return rgb
}

function readTable(header: DicomJson, { name, descriptor, data, segmented }: (typeof colours)[number]) {
  const [count, first, bits] = numbersOf(header, descriptor)
  if (count === undefined || first === undefined || bits === undefined)
    throw new PixelProblem(`PALETTE COLOR without ${name} Palette Color Lookup Table Descriptor`)
  if (bits !== 8 && bits !== 16) throw new PixelProblem(`a palette of ${bits} bits an entry is not defined`)
  const length = count & 0xffff || 65536
  const words = wordsOf(header, data) ?? expandSegments(wordsOf(header, segmented), bits, name)
  if (!words) throw new PixelProblem(`PALETTE COLOR without ${name} Palette Color Lookup Table Data`)
  return { first: first & 0xffff, bits, entries: entriesOf(words, length, bits, name) }
}

/** Entries of 8 bits come two to a word, or, from some senders, one. */
function entriesOf(words: Uint16Array, length: number, bits: number, name: string): Uint16Array {
  if (words.length >= length) return words.subarray(0, length)
  if (bits === 8 && words.length * 2 >= length)
    return Uint16Array.from({ length }, (_, i) => (words[i >> 1]! >> ((i & 1) * 8)) & 0xff)
  throw new PixelProblem(`the ${name} palette holds ${words.length} words, too few for ${length} entries`)
}

const maxEntries = 65536

/** Segmented tables, PS3.3 C.7.9.2: discrete, linear and indirect segments. */
function expandSegments(words: Uint16Array | undefined, bits: number, name: string): Uint16Array | undefined {
  if (!words) return undefined
  // Segments of 8-bit tables are bytes, two to a word.
  const codes =
    bits === 16
      ? words
      : Uint16Array.from({ length: words.length * 2 }, (_, i) => (words[i >> 1]! >> ((i & 1) * 8)) & 0xff)
  const entries: number[] = []
  const corrupt = () => new PixelProblem(`the segmented ${name} palette is corrupt`)
  const segment = (at: number, nested: boolean): number => {
    const [opcode, length] = [codes[at], codes[at + 1]]
    if (opcode === undefined || length === undefined || entries.length > maxEntries) throw corrupt()
    if (opcode === 0) {
      if (at + 2 + length > codes.length) throw corrupt()
      for (let i = 0; i < length; i++) entries.push(codes[at + 2 + i]!)
      return at + 2 + length
    }
    if (opcode === 1) {
      const [from, to] = [entries.at(-1), codes[at + 2]]
      if (from === undefined || to === undefined) throw corrupt()
      for (let i = 1; i <= length; i++) entries.push(Math.round(from + ((to - from) * i) / length))
      return at + 3
    }
    if (opcode !== 2 || nested) throw corrupt()
    const width = bits === 16 ? 2 : 4 // a 32-bit offset in words or bytes
    let offset = 0
    for (let i = width - 1; i >= 0; i--)
      offset = offset * (bits === 16 ? 65536 : 256) + (codes[at + 2 + i] ?? Number.NaN)
    let from = bits === 16 ? offset / 2 : offset
    if (!Number.isInteger(from)) throw corrupt()
    for (let i = 0; i < length; i++) from = segment(from, true)
    return at + 2 + width
  }
  for (let at = 0; at + 1 < codes.length; ) at = segment(at, false)
  return Uint16Array.from(entries)
}
