import type { ImageDescription } from '../imageDescription.js'
import { checkDimensions, type DecodedFrame } from './codec.js'
import { readJpegHeader } from './jpeg/jpegStream.js'
import { copySamples, type WasmDecoder, wasmDecoder } from './wasmModule.js'

interface JpegLsDecoder extends WasmDecoder {
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number }
  getInterleaveMode(): number
}
const charLs = wasmDecoder<JpegLsDecoder>('@cornerstonejs/codec-charls/decodewasmjs', 'JpegLSDecoder')
const problem = 'the JPEG-LS code stream is corrupt'

/** JPEG-LS (ISO 14495-1), lossless and near-lossless, by CharLS. It knows no colour: the attribute decides. */
export async function decodeJpegLs(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  const header = readJpegHeader(stream)
  checkDimensions({ ...header, components: header.components.length }, image)
  return charLs(stream, problem, decoder => {
    const { width, height, bitsPerSample, componentCount } = decoder.getFrameInfo()
    return {
      rows: height,
      columns: width,
      samplesPerPixel: componentCount,
      samples: copySamples(decoder.getDecodedBuffer(), width * height * componentCount, bitsPerSample, problem),
      precision: bitsPerSample,
      // Interleave mode 0 leaves the components one after another.
      planarConfiguration: componentCount > 1 && decoder.getInterleaveMode() === 0 ? 1 : 0,
    }
  })
}
