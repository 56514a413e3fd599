import type { FileHandle } from 'node:fs/promises'
import { numberOf } from '../dicom/dicomJson.js'
import type { InstanceHeader } from '../dicom/part10.js'
import { checkFrame, type ImageDescription, PixelProblem } from './imageDescription.js'
import { readExactly } from './readExactly.js'

interface Fragment {
  offset: number
  length: number
}

const itemTag = 0xe000fffe
const delimiterTag = 0xe0ddfffe
const maxFragments = 4_000_000
const rle = '1.2.840.10008.1.2.5'

/** Finds the code stream of each frame in encapsulated Pixel Data (PS3.5 A.4). @throws PixelProblem */
export async function encapsulatedReader(
  file: FileHandle,
  size: number,
  header: InstanceHeader,
  image: ImageDescription,
) {
  const { fragments, end, changes } = await findFragments(file, size, header.pixelData!.offset)
  const [basic, ...parts] = fragments
  if (!basic || parts.length === 0) throw new PixelProblem('the encapsulated Pixel Data holds no fragment')
  const frames = await groupByFrame(file, header, image, basic, parts, changes)
  return {
    image,
    changes,
    end,
    read: async (frame: number) => {
      const own = frames[checkFrame(frame, image)]
      if (!own || own.length === 0)
        throw new PixelProblem(`frame ${frame + 1} of ${image.frames} is missing in Pixel Data`)
      const bytes = await Promise.all(own.map(part => readExactly(file, part.offset, part.length)))
      return { bytes: bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes), bitOffset: 0 }
    },
  }
}

/** Walks the items; the first one is the Basic Offset Table. Only their headers are read. */
async function findFragments(file: FileHandle, size: number, start: number) {
  const fragments: Fragment[] = []
  const changes: string[] = []
  const window = Buffer.alloc(64 * 1024)
  let windowStart = 0
  let windowLength = 0
  let at = start
  for (; at + 8 <= size; ) {
    if (at < windowStart || at + 8 > windowStart + windowLength) {
      windowStart = at
      windowLength = (await file.read(window, 0, window.length, at)).bytesRead
      if (windowLength < 8) break
    }
    const tag = window.readUInt32LE(at - windowStart)
    const length = window.readUInt32LE(at - windowStart + 4)
    if (tag === delimiterTag) return { fragments, end: at + 8, changes }
    if (tag !== itemTag) break
    if (at + 8 + length > size) throw new PixelProblem('the file ends inside a fragment of Pixel Data')
    fragments.push({ offset: at + 8, length })
    if (fragments.length > maxFragments) throw new PixelProblem(`Pixel Data has more than ${maxFragments} fragments`)
    at += 8 + length
  }
  changes.push('Pixel Data has no sequence delimiter')
  return { fragments, end: undefined, changes }
}

/**
 * Assigns fragments to frames: by the Extended Offset Table, by the Basic Offset Table, by their number, or by where code streams begin;
 * a table that does not point at items, in order, one for each frame, is not believed (docs/decisions/0005-frames.md).
 */
async function groupByFrame(
  file: FileHandle,
  header: InstanceHeader,
  image: ImageDescription,
  basic: Fragment,
  fragments: Fragment[],
  changes: string[],
): Promise<Fragment[][]> {
  if (image.frames === 1) return [fragments]
  const origin = fragments[0]!.offset - 8
  const extended = extendedOffsets(header)
  if (extended) {
    const groups = groupByOffsets(fragments, extended, image.frames, origin)
    if (groups) return groups
    changes.push('the Extended Offset Table is wrong')
  }
  if (basic.length >= 4) {
    const bytes = await readExactly(file, basic.offset, basic.length - (basic.length % 4))
    const table = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4))
    const groups = groupByOffsets(fragments, table, image.frames, origin)
    if (groups) return groups
    changes.push('the Basic Offset Table is wrong')
  }
  if (fragments.length === image.frames) return fragments.map(fragment => [fragment])
  if (fragments.length > image.frames && header.transferSyntax.uid !== rle) {
    const groups = await groupByCodeStreams(file, fragments)
    if (groups.length === image.frames) return groups
  }
  if (fragments.length < image.frames) {
    throw new PixelProblem(`Pixel Data holds ${fragments.length} fragments, too few for ${image.frames} frames`)
  }
  throw new PixelProblem(
    `${fragments.length} fragments cannot be told apart into ${image.frames} frames without a sound offset table`,
  )
}

function groupByOffsets(
  fragments: Fragment[],
  table: readonly number[],
  frames: number,
  origin: number,
): Fragment[][] | undefined {
  if (table.length !== frames) return undefined
  const position = new Map(fragments.map((fragment, i) => [fragment.offset - 8 - origin, i]))
  const starts = table.map(offset => position.get(offset) ?? -1)
  const sound = starts[0] === 0 && starts.every((start, i) => start >= 0 && (i === 0 || start > starts[i - 1]!))
  return sound ? starts.map((start, i) => fragments.slice(start, starts[i + 1])) : undefined
}

/** Extended Offset Table (7FE0,0001): 64-bit offsets, PS3.3 C.7.6.3.1.8. */
function extendedOffsets({ json }: InstanceHeader): number[] | undefined {
  const element = json['7FE00001']
  if (element?.InlineBinary) {
    const bytes = Buffer.from(element.InlineBinary, 'base64')
    return Array.from({ length: bytes.length >> 3 }, (_, i) => Number(bytes.readBigUInt64LE(i * 8)))
  }
  return numberOf(json, '7FE00001') === undefined ? undefined : element!.Value!.map(Number)
}

/** A fragment that begins as a code stream does begins a frame: SOI of JPEG and JPEG-LS, SOC of JPEG 2000, JPEG XL, JP2 boxes. */
async function groupByCodeStreams(file: FileHandle, fragments: Fragment[]): Promise<Fragment[][]> {
  const groups: Fragment[][] = []
  for (let i = 0; i < fragments.length; i += 256) {
    const batch = fragments.slice(i, i + 256)
    const beginnings = await Promise.all(
      batch.map(({ offset, length }) => readExactly(file, offset, Math.min(length, 4))),
    )
    for (const [j, fragment] of batch.entries()) {
      if (groups.length === 0 || beginsCodeStream(beginnings[j]!)) groups.push([fragment])
      else groups.at(-1)!.push(fragment)
    }
  }
  return groups
}

function beginsCodeStream(bytes: Buffer): boolean {
  const start = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0
  const word = start >>> 16
  return start >>> 8 === 0xffd8ff || start === 0xff4fff51 || word === 0xff0a || start === 0x0000000c
}
