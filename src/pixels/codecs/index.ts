import { PixelProblem } from '../imageDescription.js'
import type { Codec } from './codec.js'
import { decodeJpeg2000 } from './jpeg2000.js'
import { decodeJpegBaseline } from './jpegBaseline.js'
import { decodeJpegLossless } from './jpegLossless.js'
import { decodeJpegLs } from './jpegLs.js'
import { decodeRle } from './rle.js'

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

export type { DecodedFrame } from './codec.js'

/** @throws PixelProblem if this transfer syntax is not decoded */
export function codecFor(transferSyntax: { uid: string; name: string }): Codec {
  const codec = codecs[transferSyntax.uid]
  if (!codec) throw new PixelProblem(`${transferSyntax.name} is not decoded by this version`)
  return codec
}
