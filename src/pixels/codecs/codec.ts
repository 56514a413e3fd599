import { type ImageDescription, PixelProblem, type Samples } from '../imageDescription.js'

/** One decoded frame, row by row. */
export interface DecodedFrame {
  rows: number
  columns: number
  samplesPerPixel: number
  /** As wide as the code stream's precision asks for; the bits are those of the stream. */
  samples: Samples
  /** Bits of a sample as the code stream has it. */
  precision: number
  /** What the samples are, where the code stream or its decoder decides that and not the attribute. */
  colour?: 'RGB' | 'YBR_FULL'
  planarConfiguration: 0 | 1
  /** Where the code stream and the attributes disagree, and which is believed, in words. */
  disagreements?: string[]
  /** Set where the transfer syntax leaves open whether the code stream is lossy. */
  lossy?: boolean
}

export interface CodecOptions {
  /** Components as they are coded, without a colour transform where the stream leaves the choice. */
  raw: boolean
}

export type Codec = (
  stream: Buffer,
  image: ImageDescription,
  options: CodecOptions,
) => Promise<DecodedFrame> | DecodedFrame

/**
 * A code stream is decoded only if it has the size that the attributes promise: so that a small file cannot ask for a huge picture, and
 * none is filled up with grey.
 * @throws PixelProblem
 */
export function checkDimensions(
  { rows, columns, components }: { rows: number; columns: number; components: number },
  image: ImageDescription,
): void {
  if (rows !== image.rows || columns !== image.columns) {
    throw new PixelProblem(
      `the code stream is ${columns} × ${rows} pixels, Columns and Rows say ${image.columns} × ${image.rows}`,
    )
  }
  if (components !== image.samplesPerPixel) {
    throw new PixelProblem(
      `the code stream has ${components} components, Samples per Pixel says ${image.samplesPerPixel}`,
    )
  }
}
