import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import { findInstances, type StoredInstance } from '../archive/index.js'
import { explicitVrLittleEndian, findTransferSyntax } from '../dicom/transferSyntaxes.js'
import { losslessEncoders } from '../pixels/codecs/encoders.js'
import { type FrameSource, openFrames } from '../pixels/frames.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { type MediaType, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { ignoreHangUp, type WadoOptions } from './wado.js'

const octets = 'application/octet-stream'
/** Media types of code streams (PS3.18 table 8.7.3-5). */
const streamTypes: readonly [RegExp, string][] = [
  [/\.4\.(50|51|57|70)$/, 'image/jpeg'],
  [/\.4\.8[01]$/, 'image/jls'],
  [/\.4\.9[01]$/, 'image/jp2'],
  [/\.4\.11[0-2]$/, 'image/jxl'],
  [/\.4\.20[1-3]$/, 'image/jphc'],
  [/\.1\.2\.5$/, 'image/dicom-rle'],
]

const mediaTypeOf = (transferSyntaxUid: string) => streamTypes.find(([pattern]) => pattern.test(transferSyntaxUid))?.[1]
/** What frames are compressed in without loss, by the media types that ask for it. */
const compressed = new Map([...losslessEncoders.keys()].map(uid => [mediaTypeOf(uid)!, uid]))

/** How frames go out: each in a part, or a single one alone. */
interface Form {
  as: 'stored' | 'little endian samples' | 'compressed'
  multipart: boolean
  mediaType: string
  transferSyntaxUid: string
}

/** Retrieve Frames, PS3.18 10.4.1.1.6: a list of frames from 1. */
export function wadoFrames(options: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const list = String(req.params.frames)
    if (!/^[1-9]\d{0,8}(,[1-9]\d{0,8})*$/.test(list)) {
      const detail = 'frames are a list of numbers from 1, for example /frames/1,2'
      return sendProblem(res, { status: 400, title: 'Bad Request', detail })
    }
    await sendFrames(req, res, options, frames => {
      const numbers = list.split(',').map(Number)
      return numbers.every(number => number <= frames) ? numbers : undefined
    })
  }
}

/** Retrieve Bulkdata of Pixel Data: all frames, each a part. */
export function wadoPixelData(options: WadoOptions) {
  return (req: Request, res: Response): Promise<void> =>
    sendFrames(req, res, options, frames => Array.from({ length: frames }, (_, i) => i + 1))
}

async function sendFrames(
  req: Request,
  res: Response,
  options: WadoOptions,
  choose: (frames: number) => number[] | undefined,
): Promise<void> {
  const [instance] = await findInstances(options.database, req.params as { study: string; instance: string })
  if (!instance) return sendProblem(res, { status: 404, title: 'Not Found', detail: 'no such instance is stored' })
  let source: FrameSource
  try {
    source = await openFrames(await options.blobs.localPath(instance.blobKey))
  } catch (error) {
    return refuse(res, error)
  }
  try {
    const numbers = choose(source.image.frames)
    if (!numbers) {
      const detail = `the instance has ${source.image.frames} frames`
      return sendProblem(res, { status: 404, title: 'Not Found', detail })
    }
    const form = chooseForm(parseAccept(req.headers.accept), instance, numbers.length)
    if (!form) {
      const detail = `frames are available as ${octets}, as ${[...compressed.keys()].join(', ')} without loss, or as they are stored with transfer-syntax=*`
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    }
    const frames = framesOf(numbers, source, instance, form, options)
    const first = await frames.next() // what cannot be decoded is told before a status has gone out
    await pipeline(Readable.from(body(first, frames, form, res), { objectMode: false }), res).catch(ignoreHangUp)
  } catch (error) {
    refuse(res, error)
  } finally {
    await source.close()
  }
}

function refuse(res: Response, error: unknown): void {
  if (!(error instanceof PixelProblem)) throw error
  if (res.headersSent) res.destroy()
  else sendProblem(res, { status: 406, title: 'Not Acceptable', detail: `the frame cannot be given: ${error.message}` })
}

function chooseForm(accepted: readonly MediaType[], instance: StoredInstance, count: number): Form | undefined {
  const uid = instance.transferSyntaxUid
  const syntax = findTransferSyntax(uid)
  const streamType = syntax?.encapsulated ? mediaTypeOf(uid) : octets
  const stored = {
    as: 'stored' as const,
    mediaType: streamType ?? octets,
    transferSyntaxUid: syntax?.encapsulated ? uid : explicitVrLittleEndian,
  }
  const decoded = { as: 'little endian samples' as const, mediaType: octets, transferSyntaxUid: explicitVrLittleEndian }
  for (const { type, parameters } of accepted) {
    const multipart = type === 'multipart/related' || type === 'multipart/*' || type === '*/*'
    if (!multipart && count > 1) continue
    const wanted = multipart ? (parameters.type ?? octets).toLowerCase() : type
    const wantedSyntax = parameters['transfer-syntax']
    if (wanted === octets || wanted === '*/*') {
      if (wantedSyntax === '*' || wantedSyntax === stored.transferSyntaxUid) return { ...stored, multipart }
      if (wantedSyntax === undefined || wantedSyntax === explicitVrLittleEndian) return { ...decoded, multipart }
    } else if (wanted === streamType && (wantedSyntax === undefined || wantedSyntax === '*' || wantedSyntax === uid))
      return { ...stored, multipart }
    const lossless = compressed.get(wanted)
    if (lossless && (wantedSyntax === undefined || wantedSyntax === lossless))
      return { as: 'compressed', mediaType: wanted, transferSyntaxUid: lossless, multipart }
  }
  return undefined
}

async function* framesOf(
  numbers: readonly number[],
  source: FrameSource,
  { blobKey }: StoredInstance,
  form: Form,
  { blobs, pixels }: WadoOptions,
): AsyncGenerator<Uint8Array> {
  for (const number of numbers) {
    if (form.as === 'compressed')
      yield await pixels.compress(await blobs.localPath(blobKey), number - 1, form.transferSyntaxUid)
    else if (form.as === 'stored' || !source.header.transferSyntax.encapsulated) {
      const { bytes, bitOffset } = await source.read(number - 1)
      yield bitOffset === 0 ? bytes : aligned(bytes, bitOffset)
    } else {
      const { samples } = await pixels.frame(await blobs.localPath(blobKey), number - 1, { keepPhotometric: true })
      const { buffer, byteOffset, byteLength } = samples
      yield new Uint8Array(buffer, byteOffset, byteLength)
    }
  }
}

/** One-bit samples from the first bit of the first byte on. */
function aligned(bytes: Uint8Array, bitOffset: number): Uint8Array {
  return bytes.map((byte, i) => (byte >> bitOffset) | ((bytes[i + 1] ?? 0) << (8 - bitOffset)))
}

async function* body(
  first: IteratorResult<Uint8Array, unknown>,
  rest: AsyncGenerator<Uint8Array>,
  { multipart, mediaType, transferSyntaxUid }: Form,
  res: Response,
): AsyncGenerator<Uint8Array> {
  const type = `${mediaType}; transfer-syntax=${transferSyntaxUid}`
  if (first.done) return
  if (!multipart) {
    res.set('Content-Type', type)
    yield first.value
    return
  }
  const boundary = randomUUID()
  res.set('Content-Type', `multipart/related; type="${mediaType}"; boundary=${boundary}`)
  const head = Buffer.from(`--${boundary}\r\nContent-Type: ${type}\r\n\r\n`)
  yield head
  yield first.value
  for await (const frame of rest) {
    yield Buffer.from('\r\n')
    yield head
    yield frame
  }
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}
