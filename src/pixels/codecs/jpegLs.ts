import { PixelProblem } from '../imageDescription.js'
import type { DecodedFrame } from './codec.js'
import { copySamples, type WasmDecoder, wasmModule } from './wasmModule.js'

interface JpegLsDecoder extends WasmDecoder {
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number }
  getInterleaveMode(): number
}
const load = wasmModule<{ JpegLSDecoder: new () => JpegLsDecoder }>('@cornerstonejs/codec-charls/decodewasmjs')

/** JPEG-LS (ISO 14495-1), lossless and near-lossless, by CharLS. */
export async function decodeJpegLs(stream: Buffer): Promise<DecodedFrame> {
  const { JpegLSDecoder } = await load()
  const decoder = new JpegLSDecoder()
  try {
    decoder.getEncodedBuffer(stream.length).set(stream)
    try {
      decoder.decode()
    } catch {
      throw new PixelProblem('the JPEG-LS code stream is corrupt')
    }
    const info = decoder.getFrameInfo()
    // Interleave mode 0 leaves the components one after another.
    const planar = info.componentCount > 1 && decoder.getInterleaveMode() === 0
    return {
      rows: info.height,
      columns: info.width,
      samplesPerPixel: info.componentCount,
      samples: copySamples(decoder.getDecodedBuffer(), info.bitsPerSample, false),
      precision: info.bitsPerSample,
      planarConfiguration: planar ? 1 : 0,
    }
  } finally {
    decoder.delete()
  }
}
