import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

interface TurboEncoder {
  getDecodedBuffer(info: object): Uint8Array
  setQuality(quality: number): void
  encode(): void
  getEncodedBuffer(): Uint8Array
  delete(): void
}
let loading: Promise<{ JPEGEncoder: new () => TurboEncoder }> | undefined

/** libjpeg-turbo with its encoder, loaded once for each thread that needs it. */
function load() {
  const file = require.resolve('@cornerstonejs/codec-libjpeg-turbo-8bit/wasmjs')
  loading ??= require(file)({ locateFile: (name: string) => join(dirname(file), name), print() {}, printErr() {} })
  return loading!
}

/** A picture of 8 bits a sample. */
interface Picture {
  width: number
  height: number
  channels: 1 | 3
  data: Uint8Array
}

/**
 * The library reserves as many bytes for a code stream as the picture has, and writes past them if that is not enough. Three measures keep every code stream shorter
 * (test/pixels/jpegEncoder.test.ts): grey pictures go in as colour, the best quality is not quite the best, and very small pictures are enlarged.
 */
const maxQuality = 95
const fewestPixels = 96 * 96

/** JPEG Baseline of grey or RGB samples. Pictures of fewer than 9,216 pixels come out enlarged. @param quality 1 to 100; from 95 on it is the same */
export async function encodeJpeg(picture: Picture, quality: number): Promise<Uint8Array<ArrayBuffer>> {
  const { JPEGEncoder } = await load()
  const { width, height, data } = inColour(enlarged(picture))
  const encoder = new JPEGEncoder()
  try {
    encoder.getDecodedBuffer({ width, height, bitsPerSample: 8, componentCount: 3, isSigned: false }).set(data)
    encoder.setQuality(Math.min(quality, maxQuality))
    encoder.encode()
    return new Uint8Array(encoder.getEncodedBuffer())
  } finally {
    encoder.delete()
  }
}

function inColour(picture: Picture): Picture {
  if (picture.channels === 3) return picture
  const data = new Uint8Array(picture.data.length * 3)
  for (let i = 0; i < picture.data.length; i++) data.fill(picture.data[i]!, i * 3, i * 3 + 3)
  return { ...picture, channels: 3, data }
}

/** Each pixel several times, if there are few of them. */
function enlarged(picture: Picture): Picture {
  const factor = Math.ceil(Math.sqrt(fewestPixels / (picture.width * picture.height)))
  if (factor <= 1) return picture
  const { channels } = picture
  const [width, height] = [picture.width * factor, picture.height * factor]
  const data = new Uint8Array(width * height * channels)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = (Math.floor(y / factor) * picture.width + Math.floor(x / factor)) * channels
      for (let c = 0; c < channels; c++) data[(y * width + x) * channels + c] = picture.data[from + c]!
    }
  return { width, height, channels, data }
}
