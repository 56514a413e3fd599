import { PixelProblem } from '../imageDescription.js'
import type { Codec } from './codec.js'
import { decodeJpeg } from './jpeg.js'
import { decodeHtj2k, decodeJpeg2000 } from './jpeg2000.js'
import { decodeJpegLs } from './jpegLs.js'
import { decodeJpegXl } from './jpegXl.js'
import { decodeRle } from './rle.js'
import { inflateFrame, unwrapUncompressed } from './uncompressed.js'

const t = '1.2.840.10008.1.2'
const codecs: Readonly<Record<string, Codec>> = {
  [`${t}.1.98`]: unwrapUncompressed,
  [`${t}.5`]: decodeRle,
  [`${t}.8.1`]: inflateFrame,
  [`${t}.4.50`]: decodeJpeg,
  [`${t}.4.51`]: decodeJpeg,
  [`${t}.4.57`]: decodeJpeg,
  [`${t}.4.70`]: decodeJpeg,
  [`${t}.4.80`]: decodeJpegLs,
  [`${t}.4.81`]: decodeJpegLs,
  [`${t}.4.90`]: decodeJpeg2000,
  [`${t}.4.91`]: decodeJpeg2000,
  [`${t}.4.110`]: decodeJpegXl,
  [`${t}.4.111`]: decodeJpegXl,
  [`${t}.4.112`]: decodeJpegXl,
  [`${t}.4.201`]: decodeHtj2k,
  [`${t}.4.202`]: decodeHtj2k,
  [`${t}.4.203`]: decodeHtj2k,
}

export type { DecodedFrame } from './codec.js'

/** @throws PixelProblem if this transfer syntax is not decoded */
export function codecFor(transferSyntax: { uid: string; name: string }): Codec {
  const codec = codecs[transferSyntax.uid]
  if (!codec) throw new PixelProblem(`${transferSyntax.name} is not decoded`)
  return codec
}

/** False for encapsulated syntaxes without a codec: video. */
export function isDecodable(transferSyntax: { uid: string; encapsulated: boolean }): boolean {
  return !transferSyntax.encapsulated || transferSyntax.uid in codecs
}
