import { encode } from 'fast-png'
import { encodeJpeg } from './codecs/jpegEncoder.js'
import { decodeFrame } from './decodeFrame.js'
import type { FrameSource } from './frames.js'
import type { Window } from './greyLevels.js'
import { rescaleOf } from './rescale.js'
import { fittingSize, viewable, viewOf } from './view.js'

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
  const image = { rows, columns, rescale: rescaleOf(json, frame) }
  const decoded = await decodeFrame(source, frame, {})
  const { viewport = { rows, columns }, window } = rendering
  const view = viewOf(
    viewable(image, decoded, json, frame, window),
    fittingSize(rows, columns, viewport.rows, viewport.columns),
  )
  return rendering.type === 'image/png' ? encode(view) : encodeJpeg(view, rendering.quality)
}
