import type { ImageDescription } from '../imageDescription.js'

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
