import { encode } from 'fast-png'
import { textOf } from '../dicom/dicomJson.js'
import { encodeJpeg } from './codecs/jpegEncoder.js'
import { decodeFrame } from './decodeFrame.js'
import type { FrameSource } from './frames.js'
import { type Window, windowOf } from './greyLevels.js'
import { rescaleOf } from './rescale.js'
import { fittingSize, viewOf } from './view.js'

/** How a frame is shown (PS3.18 8.3.5). */
export interface Rendering {
  type: 'image/jpeg' | 'image/png'
  /** Of JPEG, 1 to 100. */
  quality: number
  /** Not larger than that; the image is not enlarged. */
  viewport?: { rows: number; columns: number }
  /** In the place of the image's own. */
  window?: Window
}

/** A frame, from 0, as a picture. @throws PixelProblem */
export async function renderFrame(source: FrameSource, frame: number, rendering: Rendering): Promise<Uint8Array> {
  const { json } = source.header
  const { rows, columns } = source.image
  const { samples, photometric, bitsStored, signed } = await decodeFrame(source, frame, {})
  const { viewport = { rows, columns } } = rendering
  const view = viewOf(
    {
      rows,
      columns,
      samples,
      photometric,
      bitsStored,
      signed,
      rescale: rescaleOf(json, frame),
      window: rendering.window ?? windowOf(json, frame),
      inverted: textOf(json, '00280004') === 'MONOCHROME1',
    },
    fittingSize(rows, columns, viewport.rows, viewport.columns),
  )
  return rendering.type === 'image/png' ? encode(view) : encodeJpeg(view, rendering.quality)
}
