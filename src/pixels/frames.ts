import { type FileHandle, open } from 'node:fs/promises'
import { inflateRawSync } from 'node:zlib'
import type { InstanceHeader } from '../dicom/part10.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { describeImage, type ImageDescription, nativeFrameLength, PixelProblem } from './imageDescription.js'

/** Where the frames of one stored object are. */
export interface FrameSource {
  header: InstanceHeader
  image: ImageDescription
  /** Bytes of a frame (0-based) as they are stored: native samples, or the code stream put together from its fragments. */
  read(frame: number): Promise<Buffer>
  close(): Promise<void>
}

/** Expanding a deflated object beyond this is refused. */
export const maxInflated = 4 * 1024 ** 3 - 1

/** Opens a Part 10 file for reading frame by frame. @throws PixelProblem */
export async function openFrames(path: string): Promise<FrameSource> {
  const file = await open(path, 'r')
  try {
    const { size, outcome } = await readHeaderOf(file, true)
    if (outcome.outcome === 'refused') throw new PixelProblem(outcome.detail)
    const { header } = outcome
    const image = describeImage(header.json)
    if (!header.pixelData) throw new PixelProblem('the object holds no Pixel Data (7FE0,0010)')
    const read = header.transferSyntax.encapsulated
      ? await encapsulatedReader(file, size, header.pixelData.offset, image, header.transferSyntax.uid)
      : await nativeReader(file, header, image)
    return { header, image, read, close: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function nativeReader(file: FileHandle, header: InstanceHeader, image: ImageDescription) {
  const frameLength = nativeFrameLength(image)
  const { offset, length } = header.pixelData!
  if (length < frameLength * image.frames) {
    throw new PixelProblem(
      `Pixel Data holds ${length} bytes, ${image.frames} frames need ${frameLength * image.frames}`,
    )
  }
  if (header.transferSyntax.encoding !== 'deflated') {
    return async (frame: number) => readExactly(file, offset + checkFrame(frame, image) * frameLength, frameLength)
  }
  const deflated = await file.readFile()
  const inflated = inflateRawSync(deflated.subarray(header.dataSetOffset), { maxOutputLength: maxInflated })
  return async (frame: number) => {
    const start = offset + checkFrame(frame, image) * frameLength
    if (start + frameLength > inflated.length) throw new PixelProblem('the deflated data set ends inside Pixel Data')
    return inflated.subarray(start, start + frameLength)
  }
}

interface Fragment {
  offset: number
  length: number
}

const itemTag = 0xe000fffe
const maxFragments = 4_000_000

async function encapsulatedReader(
  file: FileHandle,
  size: number,
  start: number,
  image: ImageDescription,
  syntaxUid: string,
) {
  const [offsetTable, ...fragments] = await findFragments(file, size, start)
  if (!offsetTable || fragments.length === 0) throw new PixelProblem('the encapsulated Pixel Data holds no fragment')
  const table = await readOffsetTable(file, offsetTable)
  const groups = groupByFrame(fragments, table, image.frames, fragments[0]!.offset - 8, syntaxUid)
  return async (frame: number) => {
    const parts = groups[checkFrame(frame, image)]
    if (!parts || parts.length === 0)
      throw new PixelProblem(`frame ${frame + 1} of ${image.frames} is missing in Pixel Data`)
    return Buffer.concat(await Promise.all(parts.map(part => readExactly(file, part.offset, part.length))))
  }
}

/** Walks the items of encapsulated Pixel Data (PS3.5 A.4); the first one is the Basic Offset Table. */
async function findFragments(file: FileHandle, size: number, start: number): Promise<Fragment[]> {
  const fragments: Fragment[] = []
  const window = Buffer.alloc(64 * 1024)
  let windowStart = 0
  let windowLength = 0
  for (let at = start; at + 8 <= size; ) {
    if (at < windowStart || at + 8 > windowStart + windowLength) {
      windowStart = at
      windowLength = (await file.read(window, 0, window.length, at)).bytesRead
    }
    const length = window.readUInt32LE(at - windowStart + 4)
    if (window.readUInt32LE(at - windowStart) !== itemTag) break
    if (at + 8 + length > size) throw new PixelProblem('the file ends inside a fragment of Pixel Data')
    fragments.push({ offset: at + 8, length })
    if (fragments.length > maxFragments) throw new PixelProblem(`Pixel Data has more than ${maxFragments} fragments`)
    at += 8 + length
  }
  return fragments
}

async function readOffsetTable(file: FileHandle, { offset, length }: Fragment): Promise<number[]> {
  const bytes = await readExactly(file, offset, length - (length % 4))
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4))
}

/** Assigns fragments to frames by the offset table if it is sound, else by counting (docs/decisions/0005-frames.md). */
function groupByFrame(
  fragments: Fragment[],
  table: number[],
  frames: number,
  origin: number,
  syntaxUid: string,
): Fragment[][] {
  if (frames === 1) return [fragments]
  const starts = table.map(offset => fragments.findIndex(fragment => fragment.offset - 8 === origin + offset))
  const sound =
    starts.length === frames && starts[0] === 0 && starts.every((s, i) => s >= 0 && (i === 0 || s > starts[i - 1]!))
  if (sound) return starts.map((s, i) => fragments.slice(s, starts[i + 1]))
  if (fragments.length === frames || syntaxUid === '1.2.840.10008.1.2.5') return fragments.map(fragment => [fragment])
  throw new PixelProblem(
    `${fragments.length} fragments cannot be told apart into ${frames} frames without a sound offset table`,
  )
}

function checkFrame(frame: number, image: ImageDescription): number {
  if (frame < 0 || frame >= image.frames)
    throw new PixelProblem(`there is no frame ${frame + 1}, the object has ${image.frames}`)
  return frame
}

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  const { bytesRead } = await file.read(bytes, 0, length, offset)
  if (bytesRead < length) throw new PixelProblem('the file ends inside Pixel Data')
  return bytes
}
