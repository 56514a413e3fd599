import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { decode as decodePng } from 'fast-png'
import { type ImageDescription, PixelProblem } from '../imageDescription.js'
import { checkDimensions, type DecodedFrame } from './codec.js'
import { isTrap } from './wasmModule.js'

type Oxide = typeof import('jxl-oxide-wasm')
let loading: Promise<Oxide> | undefined

/** The loader of jxl-oxide-wasm fetches its module, which Node does not do for files. */
function load(): Promise<Oxide> {
  loading ??= (async () => {
    const oxide = await import('jxl-oxide-wasm')
    const folder = dirname(createRequire(import.meta.url).resolve('jxl-oxide-wasm/package.json'))
    oxide.initSync({ module: readFileSync(join(folder, 'jxl_oxide_wasm_bg.wasm')) })
    return oxide
  })()
  return loading
}

/**
 * JPEG XL (ISO 18181) by jxl-oxide: lossless, lossy, and recompressed JPEG. Its results come as PNG of 8 or 16 bits, to which samples of other
 * precisions are scaled; scaled back they are what they were. (Why not libjxl: docs/decisions/0006-jpeg.md.)
 */
export async function decodeJpegXl(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  const precision = readPrecision(stream)
  const { JxlImage } = await load()
  let png: Uint8Array
  try {
    const xl = new JxlImage()
    try {
      xl.feedBytes(stream)
      if (!xl.tryInit() || !xl.width || !xl.height) throw new PixelProblem('the JPEG XL code stream is cut')
      checkDimensions({ rows: xl.height, columns: xl.width, components: image.samplesPerPixel }, image)
      if (!xl.loaded) throw new PixelProblem('the JPEG XL code stream is cut') // it would be rendered as far as it goes
      png = xl.render(0).encodeToPng() // which frees the rendering
    } finally {
      xl.free()
    }
  } catch (cause) {
    if (isTrap(cause)) loading = undefined
    if (cause instanceof PixelProblem) throw cause
    throw new PixelProblem('the JPEG XL code stream is corrupt', { cause })
  }
  const { width, height, depth, channels, data } = decodePng(png)
  checkDimensions({ rows: height, columns: width, components: channels }, image)
  const samples = depth === 16 ? (data as Uint16Array) : (data as Uint8Array)
  const [from, to] = [2 ** depth - 1, 2 ** precision - 1]
  if (from !== to) for (let i = 0; i < samples.length; i++) samples[i] = Math.round((samples[i]! * to) / from)
  return {
    rows: height,
    columns: width,
    samplesPerPixel: channels,
    samples,
    precision,
    ...(channels === 3 ? { colour: 'RGB' as const } : {}),
    planarConfiguration: 0,
  }
}

/**
 * Bits of a sample, from the headers (ISO 18181-1 annex D): SizeHeader, then ImageMetadata.
 * @throws PixelProblem for floating point samples and more than 16 bits
 */
function readPrecision(stream: Buffer): number {
  const bits = new HeaderBits(codeStreamOf(stream))
  bits.skipSize()
  const allDefault = bits.read(1) === 1
  if (allDefault) return 8
  if (bits.read(1) === 1) {
    bits.read(3) // orientation
    if (bits.read(1) === 1) bits.skipSize() // intrinsic size
    if (bits.read(1) === 1 || bits.read(1) === 1)
      throw new PixelProblem('JPEG XL with a preview or animation is not decoded')
  }
  if (bits.read(1) === 1) throw new PixelProblem('JPEG XL of floating point samples is not decoded')
  const precision = bits.choose([8, 10, 12, { bits: 6, offset: 1 }])
  if (precision > 16) throw new PixelProblem(`JPEG XL of ${precision} bits is not decoded`)
  return precision
}

type Choice = number | { bits: number; offset: number }
const dimension: readonly Choice[] = [9, 13, 18, 30].map(bits => ({ bits, offset: 1 }))

/** Bits of a header, least significant first. */
class HeaderBits {
  private at = 16 // after the signature FF0A

  constructor(private readonly bytes: Buffer) {}

  read(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++, this.at++)
      value += (((this.bytes[this.at >> 3] ?? 0) >> (this.at & 7)) & 1) * 2 ** i
    return value
  }

  /** U32 of annex B.2.2. */
  choose(choices: readonly Choice[]): number {
    const choice = choices[this.read(2)]!
    return typeof choice === 'number' ? choice : choice.offset + this.read(choice.bits)
  }

  skipSize(): void {
    const small = this.read(1) === 1
    const skip = () => (small ? this.read(5) : this.choose(dimension))
    skip()
    if (this.read(3) === 0) skip()
  }
}

/** The code stream, which may stand in a container of boxes (annex K of part 2). */
function codeStreamOf(stream: Buffer): Buffer {
  if (stream.length < 2) throw new PixelProblem('the JPEG XL code stream is cut')
  if (stream.readUInt16BE(0) === 0xff0a) return stream
  for (let at = 0; at + 12 <= stream.length; ) {
    const length = stream.readUInt32BE(at)
    const type = stream.toString('latin1', at + 4, at + 8)
    const header = length === 1 ? 16 : 8
    if (type === 'jxlc') return stream.subarray(at + header)
    if (type === 'jxlp') return stream.subarray(at + header + 4)
    const whole = length === 1 ? Number(stream.length >= at + 16 ? stream.readBigUInt64BE(at + 8) : 0) : length
    if (whole < header) break
    at += whole
  }
  throw new PixelProblem('not a JPEG XL code stream')
}
