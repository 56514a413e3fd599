import { encode } from 'fast-png'
import { encodeJpeg } from './codecs/jpegEncoder.js'
import { decodeFrame } from './decodeFrame.js'
import { embeddedOverlays } from './embeddedOverlays.js'
import type { FrameSource } from './frames.js'
import { type Window, windowOf } from './greyLevels.js'
import { PixelProblem } from './imageDescription.js'
import { drawOverlays, overlayPlanes } from './overlayPlanes.js'
import { rescaleOf } from './rescale.js'
import { fittingSize, viewable, viewOf } from './view.js'

/** How a frame is shown (PS3.18 8.3.5). */
export interface Rendering {
  type: 'image/jpeg' | 'image/png'
  /** Of JPEG, 1 to 100. */
  quality: number
  /** Not larger than that; the image is not enlarged. */
  viewport?: { rows: number; columns: number }
  /** In the place of the image's own first one. */
  window?: Window
  /** Which of the image's own windows, by number from 1 or by its explanation. */
  preset?: string
}

/** A frame, from 0, as a picture. @throws PixelProblem */
export async function renderFrame(source: FrameSource, frame: number, rendering: Rendering): Promise<Uint8Array> {
  const { json } = source.header
  const { rows, columns } = source.image
  const image = { rows, columns, rescale: rescaleOf(json, frame) }
  const embedded = embeddedOverlays(json, source.image)
  const decoded = await decodeFrame(source, frame, { overlayBits: embedded.map(overlay => overlay.bit) })
  const { viewport = { rows, columns }, preset } = rendering
  const window = rendering.window ?? (preset === undefined ? undefined : windowOf(json, frame, preset))
  if (preset !== undefined && !window) throw new PixelProblem('the image has no such window')
  const view = viewOf(
    viewable(image, decoded, json, frame, window),
    fittingSize(rows, columns, viewport.rows, viewport.columns),
  )
  const inSamples = embedded.map(({ bit }) => {
    const plane = decoded.overlays.get(bit)!
    return { rows, columns, top: 0, left: 0, covers: (y: number, x: number) => plane[y * columns + x] === 1 }
  })
  drawOverlays(view, rows, columns, [...overlayPlanes(json, frame), ...inSamples])
  return rendering.type === 'image/png' ? encode(view) : encodeJpeg(view, rendering.quality)
}
