import { PixelProblem } from '../imageDescription.js'
import type { DecodedFrame } from './codec.js'
import { copySamples, type WasmDecoder, wasmModule } from './wasmModule.js'

interface J2KDecoder extends WasmDecoder {
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned: boolean }
}
const load = wasmModule<{ J2KDecoder: new () => J2KDecoder }>('@cornerstonejs/codec-openjpeg/decodewasmjs')

/** JPEG 2000 (ISO 15444-1) by OpenJPEG; the component transform is undone by the decoder, as the code stream says. */
export async function decodeJpeg2000(stream: Buffer): Promise<DecodedFrame> {
  const { J2KDecoder } = await load()
  const decoder = new J2KDecoder()
  try {
    decoder.getEncodedBuffer(stream.length).set(stream)
    try {
      decoder.decode()
    } catch {
      throw new PixelProblem('the JPEG 2000 code stream is corrupt')
    }
    const info = decoder.getFrameInfo()
    const decoded = decoder.getDecodedBuffer()
    const expected = info.width * info.height * info.componentCount * (info.bitsPerSample > 8 ? 2 : 1)
    if (expected === 0 || decoded.length < expected) throw new PixelProblem('the JPEG 2000 code stream is corrupt')
    return {
      rows: info.height,
      columns: info.width,
      samplesPerPixel: info.componentCount,
      samples: copySamples(decoded.subarray(0, expected), info.bitsPerSample, info.isSigned),
      precision: info.bitsPerSample,
      ...(info.componentCount === 3 ? { photometric: 'RGB' as const } : {}),
      planarConfiguration: 0,
    }
  } finally {
    decoder.delete()
  }
}
