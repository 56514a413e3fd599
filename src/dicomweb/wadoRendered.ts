import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import { findInstances, type StoredInstance } from '../archive/index.js'
import { numberOf } from '../dicom/dicomJson.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { Rendering } from '../pixels/render.js'
import { chooseType, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { ignoreHangUp, type WadoOptions } from './wado.js'

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

/** The same of a study or a series (PS3.18 table 10.4.1-3): the first frame of each image, in a part of its own. */
export function wadoRenderedImages(options: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const asked = readQuery(req.query)
    if (typeof asked === 'string') return sendProblem(res, { status: 400, title: 'Bad Request', detail: asked })
    const type = renderedType(req)
    if (!type) return notAcceptable(res)
    const level = req.params as { study: string; series?: string }
    const images = (await findInstances(options.database, level)).filter(({ header }) => numberOf(header, '00280010'))
    if (images.length === 0)
      return sendProblem(res, { status: 404, title: 'Not Found', detail: 'no image is stored here' })
    const boundary = randomUUID()
    res.set('Content-Type', `multipart/related; type="${type}"; boundary=${boundary}`)
    if (req.method === 'HEAD') return void res.end()
    const body = renderedParts(images, { quality: defaultQuality, ...asked, type }, boundary, options)
    await pipeline(Readable.from(body, { objectMode: false }), res).catch(ignoreHangUp)
  }
}

/** What cannot be decoded is left out: the others are worth having. */
async function* renderedParts(
  images: readonly StoredInstance[],
  rendering: Rendering,
  boundary: string,
  { blobs, pixels }: WadoOptions,
): AsyncGenerator<Buffer> {
  for (const { blobKey } of images) {
    try {
      const picture = await pixels.render(await blobs.localPath(blobKey), 0, rendering)
      yield Buffer.from(`--${boundary}\r\nContent-Type: ${rendering.type}\r\n\r\n`)
      yield Buffer.from(picture)
      yield Buffer.from('\r\n')
    } catch (error) {
      if (!(error instanceof PixelProblem)) throw error
    }
  }
  yield Buffer.from(`--${boundary}--\r\n`)
}

function renderedType(req: Request): Rendering['type'] | undefined {
  const types = ['image/jpeg', 'image/png'] as const
  const accepted = parseAccept(req.headers.accept).map(entry =>
    // The parts of a multipart are asked for by its parameter.
    entry.type === 'multipart/related' ? { type: entry.parameters.type ?? '*/*', parameters: {} } : entry,
  )
  return chooseType(accepted, types)
}

function notAcceptable(res: Response): void {
  const detail = 'pictures are available as image/jpeg and image/png'
  sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
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
  const type = renderedType(req)
  if (!type) return notAcceptable(res)
  const asked = readQuery(req.query)
  if (typeof asked === 'string') return sendProblem(res, { status: 400, title: 'Bad Request', detail: asked })
  const frames = Math.max(1, numberOf(header, '00280008') ?? 1)
  if (frame === undefined || frame > frames)
    return sendProblem(res, { status: 404, title: 'Not Found', detail: `the instance has ${frames} frames` })
  try {
    const picture = await pixels.render(await blobs.localPath(blobKey), frame - 1, {
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

/** `viewport`, `window` and `quality` (PS3.18 8.3.5.1), and our own `preset`. @returns what is wrong, in words */
function readQuery({ viewport, window, quality, preset }: Request['query']): Partial<Rendering> | string {
  const asked: Partial<Rendering> = {}
  if (viewport !== undefined) {
    const parts = /^(\d{1,4}),(\d{1,4})$/.exec(String(viewport))
    const [columns, rows] = [Number(parts?.[1]), Number(parts?.[2])]
    if (!(columns >= 1 && rows >= 1 && columns <= maxSide && rows <= maxSide))
      return `viewport: expected width,height, each from 1 to ${maxSide}; parts of an image are not supported`
    asked.viewport = { rows, columns }
  }
  if (window !== undefined) {
    const parts = /^(-?\d+(?:\.\d+)?),(\d+(?:\.\d+)?)(?:,(linear|linear-exact|sigmoid))?$/.exec(String(window))
    const [center, width] = [Number(parts?.[1]), Number(parts?.[2])]
    if (!parts || width <= 0 || (width < 1 && (parts[3] ?? 'linear') === 'linear'))
      return 'window: expected center,width,function with a width of 1 or more; functions are linear, linear-exact and sigmoid'
    asked.window = { center, width, shape: (parts[3] ?? 'linear') as 'linear' }
  }
  if (preset !== undefined) asked.preset = String(preset)
  if (quality !== undefined) {
    asked.quality = Number(quality)
    if (!(Number.isInteger(asked.quality) && asked.quality >= 1 && asked.quality <= 100))
      return 'quality: expected a whole number from 1 to 100'
  }
  return asked
}
