import { PixelProblem } from '../imageDescription.js'
import type { DecodedFrame } from './codec.js'
import { copySamples, type WasmDecoder, wasmModule } from './wasmModule.js'

interface JpegDecoder extends WasmDecoder {
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number }
}
const load = wasmModule<{ JPEGDecoder: new () => JpegDecoder }>('@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs')

/** JPEG Baseline (ISO 10918-1 process 1) by libjpeg-turbo, which makes RGB by the stream's own marks (APP14, JFIF, component ids). */
export async function decodeJpegBaseline(stream: Buffer): Promise<DecodedFrame> {
  const { JPEGDecoder } = await load()
  const decoder = new JPEGDecoder()
  try {
    decoder.getEncodedBuffer(stream.length).set(stream)
    try {
      decoder.decode()
    } catch {
      throw new PixelProblem('the JPEG stream is corrupt or not baseline')
    }
    const info = decoder.getFrameInfo()
    return {
      rows: info.height,
      columns: info.width,
      samplesPerPixel: info.componentCount,
      samples: copySamples(decoder.getDecodedBuffer(), 8, false),
      precision: 8,
      ...(info.componentCount === 3 ? { photometric: 'RGB' as const } : {}),
      planarConfiguration: 0,
    }
  } finally {
    decoder.delete()
  }
}
