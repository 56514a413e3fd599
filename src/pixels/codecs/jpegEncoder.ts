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

/** JPEG Baseline of grey or RGB samples of 8 bits. @param quality 1 to 100 */
export async function encodeJpeg(
  { width, height, channels, data }: { width: number; height: number; channels: 1 | 3; data: Uint8Array },
  quality: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { JPEGEncoder } = await load()
  const encoder = new JPEGEncoder()
  try {
    encoder.getDecodedBuffer({ width, height, bitsPerSample: 8, componentCount: channels, isSigned: false }).set(data)
    encoder.setQuality(quality)
    encoder.encode()
    return new Uint8Array(encoder.getEncodedBuffer())
  } finally {
    encoder.delete()
  }
}
