import type { ImageDescription } from '../imageDescription.js'
import { PixelProblem } from '../imageDescription.js'
import { decodeJpeg2000 } from './jpeg2000.js'
import { decodeJpegBaseline } from './jpegBaseline.js'
import { decodeJpegLossless } from './jpegLossless.js'
import { decodeJpegLs } from './jpegLs.js'
import { decodeRle } from './rle.js'

/** One decoded frame: samples interleaved by pixel, row by row. */
export interface DecodedFrame {
  rows: number
  columns: number
  samplesPerPixel: number
  /** As wide as the code stream's precision asks for. */
  samples: Uint8Array | Uint16Array | Int16Array
  precision: number
  /** Set when the decoder has already made RGB of a luminance/chrominance stream. */
  photometric?: 'RGB'
  planarConfiguration: 0 | 1
}

export type Codec = (stream: Buffer, image: ImageDescription) => Promise<DecodedFrame> | DecodedFrame

const t = '1.2.840.10008.1.2'
const codecs: Readonly<Record<string, Codec>> = {
  [`${t}.5`]: decodeRle,
  [`${t}.4.50`]: decodeJpegBaseline,
  [`${t}.4.57`]: decodeJpegLossless,
  [`${t}.4.70`]: decodeJpegLossless,
  [`${t}.4.80`]: decodeJpegLs,
  [`${t}.4.81`]: decodeJpegLs,
  [`${t}.4.90`]: decodeJpeg2000,
  [`${t}.4.91`]: decodeJpeg2000,
}

/** @throws PixelProblem if this transfer syntax is not decoded */
export function codecFor(transferSyntax: { uid: string; name: string }): Codec {
  const codec = codecs[transferSyntax.uid]
  if (!codec) throw new PixelProblem(`${transferSyntax.name} is not decoded by this version`)
  return codec
}
