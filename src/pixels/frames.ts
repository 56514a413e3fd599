import { type FileHandle, open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { inflateRaw } from 'node:zlib'
import type { InstanceHeader } from '../dicom/part10.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { encapsulatedReader } from './encapsulatedFrames.js'
import { checkFrame, describeImage, type ImageDescription, nativeFrameBits, PixelProblem } from './imageDescription.js'
import { readExactly } from './readExactly.js'

/** Where the frames of one stored object are. */
export interface FrameSource {
  header: InstanceHeader
  image: ImageDescription
  /**
   * Bytes of a frame (0-based) as they are stored: native samples, or the code stream put together from its fragments. Samples of one bit
   * begin at bit `bitOffset` of the first byte.
   */
  read(frame: number): Promise<{ bytes: Buffer; bitOffset: number }>
  /** What was wrong with the way the frames are stored, and tolerated, in words. */
  changes: string[]
  /** First byte after the pixel data element; undefined where nothing can follow it. */
  end: number | undefined
  close(): Promise<void>
}

/** Expanding a deflated object beyond this is refused: it has to be in memory. */
export const maxInflated = 2 * 1024 ** 3 - 1
const inflate = promisify(inflateRaw)

/** Opens a Part 10 file for reading frame by frame. @throws PixelProblem */
export async function openFrames(path: string): Promise<FrameSource> {
  const file = await open(path, 'r')
  try {
    const { size, outcome } = await readHeaderOf(file, true)
    if (outcome.outcome === 'refused') throw new PixelProblem(outcome.detail)
    const { header } = outcome
    if (!header.pixelData) throw new PixelProblem('the object holds no Pixel Data (7FE0,0010)')
    const described = describeImage(header.json, header.pixelData.tag)
    if (described.frames === 0 && header.transferSyntax.encapsulated)
      throw new PixelProblem('Number of Frames (0028,0008) is no number')
    const reader = header.transferSyntax.encapsulated
      ? await encapsulatedReader(file, size, header, described)
      : await nativeReader(file, header, described)
    return { header, ...reader, changes: [...header.warnings, ...reader.changes], close: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function nativeReader(file: FileHandle, header: InstanceHeader, described: ImageDescription) {
  const { offset, length, undefinedLength } = header.pixelData!
  if (undefinedLength) throw new PixelProblem('Pixel Data has no length in a transfer syntax that is not encapsulated')
  const image = { ...described }
  const changes: string[] = []
  let bits = nativeFrameBits(image)
  const full = image.rows * image.columns * 3 * image.bitsAllocated
  if (image.photometric === 'YBR_FULL_422' && length * 8 >= full * Math.max(1, image.frames)) {
    image.photometric = 'YBR_FULL'
    bits = full
    changes.push('YBR_FULL_422 by the attribute, but Pixel Data holds three samples for each pixel')
  }
  if (image.frames === 0) {
    image.frames = Math.floor((length * 8) / bits)
    changes.push(`Number of Frames was no number; Pixel Data holds ${image.frames}`)
  }
  const needed = Math.ceil((bits * image.frames) / 8)
  if (image.frames === 0 || length < needed)
    throw new PixelProblem(`Pixel Data holds ${length} bytes, ${image.frames} frames need ${needed}`)
  if (length > needed + 1) changes.push(`${length - needed} bytes after the last frame dropped`)
  const deflated = header.transferSyntax.encoding === 'deflated' ? await inflated(file, header) : undefined
  const swap = wordLength(header, image)
  const bytesAt = async (at: number, size: number) => {
    if (!deflated) return readExactly(file, at, size)
    if (at + size > deflated.length) throw new PixelProblem('the deflated data set ends inside Pixel Data')
    return Buffer.from(deflated.subarray(at, at + size)) // a copy: samples are changed in place
  }
  return {
    image,
    changes,
    end: deflated ? undefined : offset + length,
    read: async (frame: number) => {
      const from = checkFrame(frame, image) * bits
      const first = Math.floor(from / 8)
      const last = Math.ceil((from + bits) / 8)
      // Exchanged words may reach over the frame's ends.
      const start = first - (first % swap)
      const size = last + ((swap - (last % swap)) % swap) - start
      const bytes = await bytesAt(offset + start, Math.min(size, length - start))
      exchangeBytes(bytes, swap)
      return { bytes: bytes.subarray(first - start, last - start), bitOffset: from % 8 }
    },
  }
}

/**
 * Big Endian words to be turned: samples of 16 bits and more as a whole; shorter ones come in the words of OW, which are exchanged too, those
 * of OB are not (PS3.5 7.3, 8.1.1).
 */
function wordLength({ transferSyntax, pixelData }: InstanceHeader, { bitsAllocated }: ImageDescription): number {
  if (transferSyntax.encoding !== 'explicit-big') return 1
  if (bitsAllocated >= 16) return bitsAllocated / 8
  return pixelData!.vr === 'OW' ? 2 : 1
}

function exchangeBytes(bytes: Buffer, size: number): void {
  const whole = bytes.subarray(0, bytes.length - (bytes.length % size))
  if (size === 2) whole.swap16()
  else if (size === 4) whole.swap32()
  else if (size === 8) whole.swap64()
}

async function inflated(file: FileHandle, header: InstanceHeader): Promise<Buffer> {
  const deflated = await file.readFile()
  try {
    return await inflate(deflated.subarray(header.dataSetOffset), { maxOutputLength: maxInflated })
  } catch (cause) {
    throw new PixelProblem('the deflated data set is corrupt or too large', { cause })
  }
}
