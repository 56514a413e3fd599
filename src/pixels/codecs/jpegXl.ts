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
 * JPEG XL (ISO 18181) by jxl-oxide: lossless, lossy, and recompressed JPEG. Its results come as PNG of 8 or 16 bits, in which samples of 9 to
 * 15 bits keep their value. (Why not libjxl: docs/decisions/0006-jpeg.md.)
 */
export async function decodeJpegXl(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  const { JxlImage } = await load()
  let png: Uint8Array
  try {
    const xl = new JxlImage()
    try {
      xl.feedBytes(stream)
      if (!xl.tryInit() || !xl.width || !xl.height) throw new PixelProblem('the JPEG XL code stream is cut')
      checkDimensions({ rows: xl.height, columns: xl.width, components: image.samplesPerPixel }, image)
      const rendered = xl.render(0)
      png = rendered.encodeToPng()
      rendered.free()
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
  return {
    rows: height,
    columns: width,
    samplesPerPixel: channels,
    samples: depth === 16 ? (data as Uint16Array) : (data as Uint8Array),
    // The decoder does not tell the precision: within 16 bits that is what the attribute says.
    precision: depth === 16 ? Math.max(9, Math.min(16, image.bitsStored)) : 8,
    ...(channels === 3 ? { colour: 'RGB' as const } : {}),
    planarConfiguration: 0,
  }
}
