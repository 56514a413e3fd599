import { type ImageDescription, PixelProblem } from '../imageDescription.js'
import { type CodecOptions, checkDimensions, type DecodedFrame } from './codec.js'
import { type JpegHeader, readJpegHeader, withColourTransform } from './jpeg/jpegStream.js'
import { decodeJpegLossless } from './jpeg/lossless.js'
import { decodeJpegSequential } from './jpeg/sequential.js'
import { copySamples, type WasmDecoder, wasmDecoder } from './wasmModule.js'

interface TurboDecoder extends WasmDecoder {
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number }
}
const turbo = wasmDecoder<TurboDecoder>('@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs', 'JPEGDecoder')
const problem = 'the JPEG stream is corrupt'

/**
 * JPEG of any process that the stream's own header names, whatever the transfer syntax says: 8 bits by libjpeg-turbo, 12 bits and lossless
 * by our own decoder.
 */
export async function decodeJpeg(
  stream: Buffer,
  image: ImageDescription,
  options: CodecOptions,
): Promise<DecodedFrame> {
  const header = readJpegHeader(stream)
  checkDimensions({ ...header, components: header.components.length }, image)
  if (header.process === 3) return decodeJpegLossless(stream) // knows no colour: the attribute decides
  const colour = header.components.length === 3 ? colourOf(header, image) : undefined
  if (header.precision > 8) {
    return { ...decodeJpegSequential(stream), ...(colour ? { colour, ...disagreement(colour, image) } : {}) }
  }
  if (!colour) return turboDecode(stream)
  const toRgb = colour === 'YBR_FULL' && !options.raw
  const decoded = await turboDecode(withColourTransform(stream, toRgb ? 1 : 0))
  return { ...decoded, colour: toRgb ? 'RGB' : colour, ...disagreement(colour, image) }
}

function disagreement(colour: 'RGB' | 'YBR_FULL', image: ImageDescription): { disagreements?: string[] } {
  if ((colour === 'RGB') === (image.photometric === 'RGB')) return {}
  return { disagreements: [`the JPEG stream holds ${colour}, not ${image.photometric}: the stream is believed`] }
}

function turboDecode(stream: Buffer): Promise<DecodedFrame> {
  return turbo(stream, problem, decoder => {
    const { width, height, componentCount } = decoder.getFrameInfo()
    const expected = width * height * componentCount
    return {
      rows: height,
      columns: width,
      samplesPerPixel: componentCount,
      samples: copySamples(decoder.getDecodedBuffer(), expected, 8, problem),
      precision: 8,
      planarConfiguration: 0,
    }
  })
}

/**
 * What three components are. The stream is believed before the attribute: APP14, JFIF, component ids, subsampling, and only then Photometric
 * Interpretation (docs/pixels.md).
 */
function colourOf({ adobeTransform, jfif, components }: JpegHeader, image: ImageDescription): 'RGB' | 'YBR_FULL' {
  if (adobeTransform !== undefined) {
    if (adobeTransform > 1)
      throw new PixelProblem(`the Adobe colour transform ${adobeTransform} is not one of three components`)
    return adobeTransform === 0 ? 'RGB' : 'YBR_FULL'
  }
  if (jfif) return 'YBR_FULL'
  if (components.map(c => String.fromCharCode(c.id)).join('') === 'RGB') return 'RGB'
  if (components.some(({ h, v }) => h !== components[0]!.h || v !== components[0]!.v)) return 'YBR_FULL'
  return image.photometric === 'RGB' ? 'RGB' : 'YBR_FULL'
}
