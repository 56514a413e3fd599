import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import yazl from 'yazl'
import {
  type BlobStore,
  instancesToRetrieve,
  maxWhole,
  type RetrievableInstance,
  readWhole,
  type WholeFile,
  type WholeReader,
} from '../archive/index.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { PixelPool } from '../pixels/pool.js'
import { canTranscodeTo, type TranscodedObject } from '../pixels/transcode.js'
import type { Database } from '../platform/database.js'
import { entityTag, isNotModified, rangeOf } from './conditional.js'
import { type MediaType, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'

export interface WadoOptions {
  database: Database
  blobs: BlobStore
  reader: WholeReader
  pixels: PixelPool
  /** @throws PixelProblem */
  transcode(path: string, transferSyntaxUid: string): Promise<TranscodedObject>
}

/** How instances go out. */
interface Form {
  shape: 'single' | 'multipart' | 'zip'
  /** The transfer syntax that those in others are brought into; absent: all go out as they are stored. */
  into?: string
}

/** WADO-RS, PS3.18 10.4: a study, a series or an instance as Part 10 files, as they are stored or transcoded. */
export function wado(options: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const instances = await instancesAt(options.database, req)
    if (instances.length === 0) return notFound(res)
    const form = chooseForm(parseAccept(req.headers.accept), instances)
    if (!form) {
      const detail =
        'instances are available as application/dicom or application/zip, in Explicit VR Little Endian, RLE, JPEG-LS, JPEG 2000 or HTJ2K without loss, or in the transfer syntax in which they ' +
        'are stored; ask for transfer-syntax=* to get them so'
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    }
    if (isNotModified(req, res, entityTag(instances, `${form.shape} ${form.into ?? ''}`))) return
    if (form.shape === 'single') return sendSingle(req, res, instances[0]!, form, options)
    if (form.shape === 'zip') return sendZip(req, res, instances, form, options)
    const boundary = randomUUID()
    res.set('Content-Type', `multipart/related; type="application/dicom"; boundary=${boundary}`)
    if (!form.into) res.set('Content-Length', String(multipartLength(instances, boundary)))
    if (req.method === 'HEAD') return void res.end()
    await writeTo(res, multipart(instances, form, boundary, options))
  }
}

/** The instances that a path names, in the order of their series and numbers. */
export function instancesAt(database: Database, req: Request): Promise<RetrievableInstance[]> {
  const { study, series, instance } = req.params as { study: string; series?: string; instance?: string }
  return instancesToRetrieve(database, {
    studies: [study],
    series: series === undefined ? undefined : [series],
    instances: instance === undefined ? undefined : [instance],
  })
}

export function notFound(res: Response): void {
  sendProblem(res, { status: 404, title: 'Not Found', detail: 'nothing is stored under this address' })
}

/** Default transfer syntax is Explicit VR Little Endian (PS3.18 8.7.3.5.2); `*` takes what is stored, and so does who takes anything. */
function chooseForm(accepted: readonly MediaType[], instances: readonly RetrievableInstance[]): Form | undefined {
  for (const { type, parameters } of accepted) {
    if (type === '*/*' || type === 'multipart/*') return { shape: 'multipart' }
    const wanted = parameters['transfer-syntax'] ?? explicitVrLittleEndian
    const asStored = wanted === '*' || instances.every(instance => instance.transferSyntaxUid === wanted)
    if (!asStored && !(canTranscodeTo(wanted) && instances.some(isDecodable))) continue
    const into = asStored ? {} : { into: wanted }
    const rootType = (parameters.type ?? 'application/dicom').toLowerCase()
    const isDicom = rootType === 'application/dicom' || rootType === '*/*'
    if (type === 'application/dicom' && instances.length === 1) return { shape: 'single', ...into }
    if (type === 'multipart/related' && isDicom) return { shape: 'multipart', ...into }
    if (type === 'application/zip') return { shape: 'zip', ...into }
  }
  return undefined
}

/** Video is given as it is stored. */
const isDecodable = ({ transferSyntaxUid }: RetrievableInstance) => !/\.1\.2\.4\.10\d(\.|$)/.test(transferSyntaxUid)

/** An instance as it goes out. */
interface Outgoing {
  path: string
  byteLength: number
  transferSyntaxUid: string
  /** All of it, if that is little. */
  whole?: WholeFile
  /** From beginning to end. @throws DamagedBlob before the last of them if what is stored is not what was stored */
  content(): AsyncIterable<Buffer>
  dispose(): Promise<void>
}

/** What cannot be transcoded goes out as it is stored, and says so. @param atOnce small files are to be read as a whole */
async function outgoing(
  instance: RetrievableInstance,
  { into }: Form,
  { blobs, reader, transcode }: WadoOptions,
  atOnce = false,
): Promise<Outgoing> {
  const path = await blobs.localPath(instance.blobKey)
  const { transferSyntaxUid, byteLength } = instance
  const content = () => readWhole(blobs, instance)
  const stored = { path, byteLength, transferSyntaxUid, content, dispose: async () => {} }
  if (into === undefined || transferSyntaxUid === into || !isDecodable(instance))
    return atOnce && byteLength <= maxWhole ? { ...stored, whole: await reader.read(path, instance) } : stored
  try {
    const transcoded = await transcode(path, into)
    return {
      ...transcoded,
      content: () => createReadStream(transcoded.path, { highWaterMark: chunk }) as AsyncIterable<Buffer>,
    }
  } catch (error) {
    if (error instanceof PixelProblem) return stored
    throw error
  }
}

async function sendSingle(
  req: Request,
  res: Response,
  instance: RetrievableInstance,
  form: Form,
  options: WadoOptions,
): Promise<void> {
  const out = await outgoing(instance, form, options)
  try {
    if (form.into && out.transferSyntaxUid !== form.into) {
      const detail =
        'the instance cannot be given in this transfer syntax; ask for transfer-syntax=* to get it as it is stored'
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    }
    const range = rangeOf(req, out.byteLength)
    if (range === 'unsatisfiable') {
      res.set('Content-Range', `bytes */${out.byteLength}`)
      const detail = `the instance has ${out.byteLength} bytes`
      return sendProblem(res, { status: 416, title: 'Range Not Satisfiable', detail })
    }
    const { start, end } = range ?? { start: 0, end: out.byteLength - 1 }
    // Of a damaged file that is not long nothing is sent but a status.
    const content = range
      ? createReadStream(out.path, { start, end, highWaterMark: chunk })
      : await begun(out.content())
    res.set({
      'Accept-Ranges': 'bytes',
      'Content-Type': `application/dicom; transfer-syntax=${out.transferSyntaxUid}`,
      'Content-Length': String(end - start + 1),
    })
    if (range) res.status(206).set('Content-Range', `bytes ${start}-${end}/${out.byteLength}`)
    if (req.method === 'HEAD') return void res.end()
    await pipeline(content, res).catch(ignoreHangUp)
  } finally {
    await out.dispose()
  }
}

/** The same bytes, the first of which are there. @throws what reading them throws */
async function begun(content: AsyncIterable<Buffer>): Promise<AsyncIterable<Buffer>> {
  const iterator = content[Symbol.asyncIterator]()
  const first = await iterator.next()
  return (async function* () {
    if (first.done) return
    yield first.value
    yield* { [Symbol.asyncIterator]: () => iterator }
  })()
}

const chunk = 512 * 1024
/** Instances that are read, or transcoded, while those before them go out, and what may be read. */
const ahead = { read: 12, transcoded: 2, bytes: 6 * 1024 * 1024 }

/** Instances one after another, those to come read or transcoded meanwhile. */
async function* inOrder(
  instances: readonly RetrievableInstance[],
  form: Form,
  options: WadoOptions,
  atOnce = false,
): AsyncGenerator<{ instance: RetrievableInstance; out: Outgoing }> {
  const begun: Promise<Outgoing>[] = []
  let [next, bytes] = [0, 0]
  const most = form.into ? ahead.transcoded : ahead.read
  const isEnough = () => begun.length > most || (begun.length > 0 && bytes >= ahead.bytes)
  try {
    for (const instance of instances) {
      while (next < instances.length && !isEnough()) {
        const started = outgoing(instances[next]!, form, options, atOnce)
        started.catch(() => {}) // told when its turn comes
        begun.push(started)
        bytes += instances[next++]!.byteLength
      }
      bytes -= instance.byteLength
      const out = await begun.shift()!
      try {
        yield { instance, out }
      } finally {
        await out.dispose()
      }
    }
  } finally {
    for (const left of begun)
      await left.then(
        out => out.dispose(),
        () => {},
      )
  }
}

const partHead = (boundary: string, transferSyntaxUid: string, isFirst: boolean) =>
  `${isFirst ? '' : '\r\n'}--${boundary}\r\nContent-Type: application/dicom; transfer-syntax=${transferSyntaxUid}\r\n\r\n`
const multipartEnd = (boundary: string) => `\r\n--${boundary}--\r\n`

/** Of instances as they are stored. */
function multipartLength(instances: readonly RetrievableInstance[], boundary: string): number {
  return instances.reduce(
    (sum, { byteLength, transferSyntaxUid }, i) =>
      sum + partHead(boundary, transferSyntaxUid, i === 0).length + byteLength,
    multipartEnd(boundary).length,
  )
}

async function* multipart(
  instances: readonly RetrievableInstance[],
  form: Form,
  boundary: string,
  options: WadoOptions,
): AsyncGenerator<readonly Piece[]> {
  let isFirst = true
  for await (const { out } of inOrder(instances, form, options, true)) {
    const head = partHead(boundary, out.transferSyntaxUid, isFirst)
    isFirst = false
    const { whole } = out
    if (whole) yield [{ bytes: head }, { bytes: whole.bytes, written: () => whole.release() }]
    else {
      yield [{ bytes: head }]
      for await (const bytes of out.content()) yield [{ bytes }]
    }
  }
  yield [{ bytes: multipartEnd(boundary) }]
}

/** A part of a body; `written` is called when its bytes are needed no more. */
interface Piece {
  bytes: Buffer | string
  written?: () => void
}

/** Writes a body no faster than it is taken; what stands together goes out together. A client that hangs up ends it. */
async function writeTo(res: Response, body: AsyncGenerator<readonly Piece[]>): Promise<void> {
  try {
    for await (const pieces of body) {
      res.cork()
      let free = true
      for (const { bytes, written } of pieces) free = res.write(bytes, 'latin1', written)
      res.uncork()
      if (res.destroyed) return
      if (!free) await taken(res)
    }
    res.end()
  } catch (error) {
    res.destroy()
    throw error
  }
}

function taken(res: Response): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      res.off('drain', done)
      res.off('close', done)
      resolve()
    }
    res.on('drain', done)
    res.on('close', done)
  })
}

/** A ZIP archive, `SERIES/INSTANCE.dcm`: nothing is compressed once more. */
async function sendZip(
  req: Request,
  res: Response,
  instances: readonly RetrievableInstance[],
  form: Form,
  options: WadoOptions,
): Promise<void> {
  res.set({ 'Content-Type': 'application/zip', 'Content-Disposition': 'attachment; filename="study.zip"' })
  if (req.method === 'HEAD') return void res.end()
  const zip = new yazl.ZipFile()
  const fill = async () => {
    for await (const { instance, out } of inOrder(instances, form, options)) {
      const bytes = Readable.from(out.content(), { objectMode: false })
      const gone = new Promise<void>((resolve, reject) => bytes.once('close', resolve).once('error', reject))
      const name = `${instance.seriesInstanceUid}/${instance.sopInstanceUid}.dcm`
      zip.addReadStream(bytes, name, { compress: false, size: out.byteLength })
      await gone
    }
    zip.end()
  }
  const output = zip.outputStream as Readable
  const filled = fill().catch(error => output.destroy(error as Error))
  await pipeline(output, res).catch(ignoreHangUp)
  await filled
}

export function ignoreHangUp(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
}
