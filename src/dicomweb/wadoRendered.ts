import type { Request, Response } from 'express'
import { findInstances, type StoredInstance } from '../archive/index.js'
import { numberOf } from '../dicom/dicomJson.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { Rendering } from '../pixels/render.js'
import { accepts, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import type { WadoOptions } from './wado.js'

const thumbnailSide = 200
const maxSide = 8192
const defaultQuality = 90

/** Retrieve Rendered Transaction, PS3.18 10.4.1.1.3: an instance's first frame, or one of its frames, as a picture. */
export function wadoRendered(options: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const [instance] = await findInstances(options.database, req.params as { study: string; instance: string })
    if (!instance) return sendProblem(res, { status: 404, title: 'Not Found', detail: 'no such instance is stored' })
    await render(req, res, instance, frameOf(req), options)
  }
}

/** Thumbnail, PS3.18 10.4.1.1.3: of a study or series the image in the middle. */
export function wadoThumbnail(options: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const level = req.params as { study: string; series?: string; instance?: string }
    const images = (await findInstances(options.database, level)).filter(({ header }) => numberOf(header, '00280010'))
    const received = images.filter(image => image.origin === 'received')
    const candidates = received.length > 0 ? received : images
    const chosen = candidates[Math.floor(candidates.length / 2)]
    if (!chosen) return sendProblem(res, { status: 404, title: 'Not Found', detail: 'no image is stored here' })
    await render(req, res, chosen, frameOf(req), options, { rows: thumbnailSide, columns: thumbnailSide })
  }
}

function frameOf(req: Request): number | undefined {
  const { frame } = req.params
  if (frame === undefined) return 1
  return /^[1-9]\d{0,8}$/.test(String(frame)) ? Number(frame) : undefined
}

async function render(
  req: Request,
  res: Response,
  { header, blobKey }: StoredInstance,
  frame: number | undefined,
  { blobs, pixels }: WadoOptions,
  viewport?: Rendering['viewport'],
): Promise<void> {
  const accepted = parseAccept(req.headers.accept)
  const type = ['image/jpeg', 'image/png'].find(offered => accepts(accepted, offered)) as Rendering['type'] | undefined
  if (!type)
    return sendProblem(res, {
      status: 406,
      title: 'Not Acceptable',
      detail: 'pictures are available as image/jpeg and image/png',
    })
  const asked = readQuery(req.query)
  if (typeof asked === 'string') return sendProblem(res, { status: 400, title: 'Bad Request', detail: asked })
  const frames = Math.max(1, numberOf(header, '00280008') ?? 1)
  if (frame === undefined || frame > frames)
    return sendProblem(res, { status: 404, title: 'Not Found', detail: `the instance has ${frames} frames` })
  try {
    const picture = await pixels.render(blobs.pathOf(blobKey), frame - 1, {
      quality: defaultQuality,
      ...(viewport ? { viewport } : {}),
      ...asked,
      type,
    })
    res.set({ 'Content-Type': type, 'Cache-Control': 'private, max-age=3600' }).send(Buffer.from(picture))
  } catch (error) {
    if (!(error instanceof PixelProblem)) throw error
    sendProblem(res, {
      status: 406,
      title: 'Not Acceptable',
      detail: `the frame cannot be shown: ${error.message}`,
    })
  }
}

/** `viewport`, `window` and `quality` (PS3.18 8.3.5.1). @returns what is wrong, in words */
function readQuery({ viewport, window, quality }: Request['query']): Partial<Rendering> | string {
  const asked: Partial<Rendering> = {}
  if (viewport !== undefined) {
    const parts = /^(\d{1,4}),(\d{1,4})$/.exec(String(viewport))
    const [columns, rows] = [Number(parts?.[1]), Number(parts?.[2])]
    if (!(columns >= 1 && rows >= 1 && columns <= maxSide && rows <= maxSide))
      return `viewport: expected width,height, each from 1 to ${maxSide}; parts of an image are not supported`
    asked.viewport = { rows, columns }
  }
  if (window !== undefined) {
    const parts = /^(-?\d+(?:\.\d+)?),(\d+(?:\.\d+)?)(?:,linear)?$/.exec(String(window))
    const [center, width] = [Number(parts?.[1]), Number(parts?.[2])]
    if (!parts || width < 1)
      return 'window: expected center,width with a width of 1 or more, and no function but linear'
    asked.window = { center, width }
  }
  if (quality !== undefined) {
    asked.quality = Number(quality)
    if (!(Number.isInteger(asked.quality) && asked.quality >= 1 && asked.quality <= 100))
      return 'quality: expected a whole number from 1 to 100'
  }
  return asked
}
