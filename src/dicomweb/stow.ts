import type { Request, Response } from 'express'
import { textOf } from '../dicom/dicomJson.js'
import { toNativeXml } from '../dicom/nativeXml.js'
import { reason } from '../dicom/reasons.js'
import { isValidUid } from '../dicom/uid.js'
import type { Ingest, InstanceOutcome, InstanceReceiver } from '../ingest/index.js'
import { errorContext, type Log } from '../platform/log.js'
import { releaseMemory } from '../platform/releaseMemory.js'
import { decodedBody, isKnownEncoding } from './contentEncoding.js'
import { chooseType, type MediaType, parseAccept, parseMediaType } from './mediaType.js'
import { MalformedMultipart, MultipartSplitter, type PartHandlers } from './multipartSplitter.js'
import { type Problem, sendProblem, sendProblemEarly } from './problem.js'
import { readBody, SenderGone, SenderTooSlow } from './readBody.js'
import { storeInstancesResponse } from './storeInstancesResponse.js'
import { AssemblyProblem, MetadataRequest } from './stowMetadata.js'

export interface StowLimits {
  maxRequestBytes: number
  maxParts: number
  idleSeconds: number
  minimumBytesPerSecond: number
}

export interface StowOptions {
  ingest: Ingest
  /** Folder for bulk data until the instances that it belongs to are put together. */
  scratch: string
  limits: StowLimits
  log: Log
  /** True once the service is stopping: it takes no new requests, and finishes those it has. */
  draining(): boolean
}

const answerTypes = ['application/dicom+json', 'application/dicom+xml']
/** What a multipart body may consist of: Part 10 files, or metadata and bulk data (PS3.18 table 10.5.2-1). */
const rootTypes: readonly string[] = ['application/dicom', 'application/dicom+json', 'application/dicom+xml']

/** RFC 2046 has 70, but Orthanc sends 73. */
const maxBoundary = 200

/** Instances of one request that are being made durable at the same time; more make the sender wait. */
const maxInFlight = 16

/** STOW-RS, PS3.18 10.5: `POST /studies` and `POST /studies/{study}`. */
export function stow(options: StowOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const refusal = await refusedBeforeReading(req, options)
    if (refusal) return sendProblemEarly(req, res, refusal)
    const length = Number(req.headers['content-length'] ?? Number.NaN)
    const leave = options.ingest.admit(res.locals.source, Number.isNaN(length) ? undefined : length)
    if (!leave) return sendProblemEarly(req, res, unavailable('too much is on its way in at the moment'))
    res.once('close', leave)
    const transfer = new Transfer(req, options)
    const outcome = await transfer.run()
    if (outcome === 'gone') return // the sender hung up: nobody is there to be answered
    if ('status' in outcome && 'title' in outcome) return sendProblemEarly(req, res, outcome)
    const answer = storeInstancesResponse(outcome.instances, baseUrl(req), outcome.tooLarge)
    if ('title' in answer) return sendProblem(res, answer)
    if (outcome.connectionClose) res.set('Connection', 'close')
    const type = chooseType(parseAccept(req.headers.accept), answerTypes)!
    const isXml = type === 'application/dicom+xml'
    res
      .status(answer.status)
      .type(type)
      .send(isXml ? toNativeXml(answer.dataset) : JSON.stringify(answer.dataset))
  }
}

/** Everything that can be said without the body: PS3.18 10.5.3 and table 10.5.3-1. */
async function refusedBeforeReading(
  req: Request,
  { ingest, limits, draining }: StowOptions,
): Promise<Problem | undefined> {
  if (draining()) return unavailable('the service is stopping')
  const study = req.params.study as string | undefined
  if (study !== undefined && !isValidUid(study)) {
    return { status: 400, title: 'Bad Request', detail: 'the Study Instance UID in the URL is not a valid UID' }
  }
  if (!chooseType(parseAccept(req.headers.accept), answerTypes)) {
    const detail = `the answer is available as ${answerTypes.join(' and ')}`
    return { status: 406, title: 'Not Acceptable', detail }
  }
  if (!isKnownEncoding(req)) {
    const detail = 'a Content-Encoding may be gzip or deflate'
    return { status: 415, title: 'Unsupported Media Type', detail, headers: { 'Accept-Encoding': 'gzip, deflate' } }
  }
  const problem = contentTypeProblem(parseMediaType(req.headers['content-type'] ?? ''))
  if (problem) return problem
  const length = Number(req.headers['content-length'] ?? Number.NaN)
  if (length > limits.maxRequestBytes) return tooLarge(limits)
  if (length === 0) return emptyBody
  const why = await ingest.unavailableBecause()
  return why ? unavailable(why) : undefined
}

function contentTypeProblem(type: MediaType | undefined): Problem | undefined {
  const expected =
    'expected application/dicom, or multipart/related; boundary=… with type="application/dicom", "application/dicom+json" or "application/dicom+xml"'
  if (type?.type === 'application/dicom') return undefined
  if (type?.type !== 'multipart/related') return { status: 415, title: 'Unsupported Media Type', detail: expected }
  const rootType = type.parameters.type?.toLowerCase()
  if (rootType !== undefined && !rootTypes.includes(rootType)) {
    return {
      status: 415,
      title: 'Unsupported Media Type',
      detail: `multipart of ${rootType.slice(0, 60)} is not supported; ${expected}`,
    }
  }
  const { boundary } = type.parameters
  if (!boundary) return { status: 400, title: 'Bad Request', detail: 'the Content-Type has no boundary parameter' }
  if (boundary.length > maxBoundary || !/^[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]$/.test(boundary)) {
    const detail = `the boundary is not one of RFC 2046: letters, digits and some punctuation, at most ${maxBoundary} characters`
    return { status: 400, title: 'Bad Request', detail }
  }
  return undefined
}

interface Stored {
  instances: InstanceOutcome[]
  tooLarge: boolean
  connectionClose: boolean
}

/** One request's body on its way into the archive. */
class Transfer {
  private readonly outcomes: Promise<InstanceOutcome>[] = []
  private readonly inFlight = new Set<Promise<unknown>>()
  private current: InstanceReceiver | undefined
  private received = 0
  /** What is read is used when all of it is there. */
  private keepsChunks = false

  constructor(
    private readonly req: Request,
    private readonly options: StowOptions,
  ) {}

  async run(): Promise<Stored | Problem | 'gone'> {
    const type = parseMediaType(this.req.headers['content-type']!)!
    try {
      const end = await this.read(type)
      if (end === 'stopped') await this.noteCut('the request was longer than the limit')
      const instances = await Promise.all(this.outcomes)
      if (instances.length === 0 && end === 'end') return emptyBody
      return { instances, tooLarge: end === 'stopped', connectionClose: end === 'stopped' }
    } catch (error) {
      await this.noteCut(error instanceof MalformedMultipart ? 'a request was malformed' : 'a request was cut')
      const instances = await Promise.all(this.outcomes)
      if (error instanceof SenderTooSlow) {
        return { status: 408, title: 'Request Timeout', detail: `${error.message}; send the instances again` }
      }
      if (error instanceof SenderGone) return 'gone'
      if (!(error instanceof MalformedMultipart)) {
        this.options.log.error('a STOW-RS transfer could not be taken in', errorContext(error))
        return unavailable('the storage refused the bytes')
      }
      if (instances.length > 0) return { instances, tooLarge: false, connectionClose: true }
      return { status: 400, title: 'Bad Request', detail: error.message }
    }
  }

  /** Who sends, by its token. */
  private get source(): string | undefined {
    return this.req.res?.locals.source as string | undefined
  }

  private read({ type, parameters }: MediaType): Promise<'end' | 'stopped'> {
    if (type === 'application/dicom') return this.readSinglePart()
    const rootType = parameters.type?.toLowerCase() ?? 'application/dicom'
    return rootType === 'application/dicom'
      ? this.readMultipart(parameters.boundary!, {
          partBegin: headers => this.beginPart(headers),
          partData: bytes => this.current?.write(bytes),
          partEnd: () => this.endPart(),
        })
      : this.readMetadata(parameters.boundary!, rootType === 'application/dicom+xml' ? 'xml' : 'json')
  }

  /** Metadata and bulk data: the instances are put together when all of it is there. */
  private async readMetadata(boundary: string, form: 'json' | 'xml'): Promise<'end' | 'stopped'> {
    const { ingest, scratch } = this.options
    this.keepsChunks = true
    const request = new MetadataRequest(form, scratch, baseUrl(this.req))
    try {
      const end = await this.readMultipart(boundary, {
        partBegin: headers => request.beginPart(headers),
        partData: bytes => request.write(bytes),
        partEnd: () => request.endPart(),
      })
      if (end === 'stopped') return end
      for (const dataset of await request.datasets()) {
        const receiver = ingest.begin(this.source)
        this.current = receiver
        try {
          for await (const bytes of request.instance(dataset)) await receiver.write(bytes)
          this.endPart()
          await this.catchUp(undefined)
        } catch (error) {
          this.current = undefined
          await receiver.abort()
          if (!(error instanceof AssemblyProblem)) throw error
          this.outcomes.push(Promise.resolve(refusedAssembly(error)))
        }
      }
      await Promise.all(this.outcomes) // their bytes come from the files
      return end
    } finally {
      await request.dispose()
    }
  }

  private async readMultipart(boundary: string, handlers: PartHandlers): Promise<'end' | 'stopped'> {
    const splitter = new MultipartSplitter(boundary, handlers)
    const end = await this.readBody(chunk => {
      if (this.isOverLimit(chunk)) return 'stop'
      const busy = splitter.write(chunk)
      this.release(chunk)
      if (splitter.partCount > this.options.limits.maxParts) return 'stop'
      return this.catchUp(busy)
    })
    if (end === 'stopped') return end
    if (splitter.partCount === 0 && !splitter.closed) {
      throw new MalformedMultipart('the body holds no part that begins with the boundary of the Content-Type')
    }
    splitter.end()
    return end
  }

  private async readSinglePart(): Promise<'end' | 'stopped'> {
    this.current = this.options.ingest.begin(this.source)
    const end = await this.readBody(chunk => {
      if (this.isOverLimit(chunk)) return 'stop'
      const busy = this.current!.write(chunk)
      this.release(chunk)
      return this.catchUp(busy)
    })
    if (end === 'end' && this.received > 0) this.endPart()
    return end
  }

  /** The body, without its Content-Encoding. */
  private async readBody(onChunk: (chunk: Buffer) => Promise<void> | 'stop' | undefined): Promise<'end' | 'stopped'> {
    const body = decodedBody(this.req)
    try {
      return await readBody(body, this.options.limits, onChunk)
    } finally {
      if (body !== this.req) body.destroy()
    }
  }

  /** Receivers of instances keep nothing of what they are given; the chunks of a request are ours, those that an encoding gives are not. */
  private release(chunk: Buffer): void {
    if (this.keepsChunks || this.req.headers['content-encoding'] !== undefined) return
    releaseMemory(chunk)
  }

  private isOverLimit(chunk: Buffer): boolean {
    this.received += chunk.length
    return this.received > this.options.limits.maxRequestBytes
  }

  private beginPart(headers: Readonly<Record<string, string>>): void {
    const type = parseMediaType(headers['content-type'] ?? 'application/dicom')?.type
    if (type === 'application/dicom' || type === 'application/octet-stream') {
      this.current = this.options.ingest.begin(this.source)
      return
    }
    const detail = 'the part is not of type application/dicom'
    this.outcomes.push(Promise.resolve({ outcome: 'refused', reason: reason.cannotUnderstand, detail }))
  }

  private endPart(): void {
    const receiver = this.current
    this.current = undefined
    if (!receiver) return
    const { ingest, log } = this.options
    const study = this.req.params.study as string | undefined
    const { source } = this
    const outcome = ingest
      .finish(receiver, { ...(source ? { source } : {}), ...(study ? { study } : {}) })
      .catch(error => {
        log.error('an instance could not be stored', { error: String((error as Error).message) })
        return {
          outcome: 'refused',
          reason: reason.processingFailure,
          detail: 'the instance could not be stored',
        } as const
      })
    this.outcomes.push(outcome)
    this.inFlight.add(outcome)
    outcome.finally(() => this.inFlight.delete(outcome))
  }

  /** @returns a promise while the disk or the database is behind */
  private catchUp(busy: Promise<void> | undefined): Promise<void> | undefined {
    if (this.inFlight.size < maxInFlight) return busy
    return (async () => {
      await busy
      while (this.inFlight.size >= maxInFlight) await Promise.race(this.inFlight)
    })()
  }

  /** The transfer broke off: what is complete stays, what was half there goes, and the studies are marked. */
  private async noteCut(why: string): Promise<void> {
    const study = this.current?.studyInstanceUid
    await this.current?.abort()
    this.current = undefined
    const outcomes = await Promise.all(this.outcomes)
    const studies = outcomes.flatMap(o => ('studyInstanceUid' in o && o.studyInstanceUid ? [o.studyInstanceUid] : []))
    this.options.log.warn('a STOW-RS transfer broke off', { why, bytes: this.received, instances: outcomes.length })
    await this.options.ingest.transferWasCut([...new Set([...studies, ...(study ? [study] : [])])], why).catch(() => {})
  }
}

/** What is known of an instance that could not be put together. */
function refusedAssembly({ message: detail, dataset }: AssemblyProblem): InstanceOutcome {
  const known = { sopClassUid: textOf(dataset, '00080016'), sopInstanceUid: textOf(dataset, '00080018') }
  const identity = known.sopClassUid && known.sopInstanceUid ? (known as Record<keyof typeof known, string>) : {}
  return { outcome: 'refused', reason: reason.cannotUnderstand, detail, ...identity }
}

const emptyBody: Problem = { status: 400, title: 'Bad Request', detail: 'the body holds no instance' }

function tooLarge(limits: StowLimits): Problem {
  const detail = `the request is longer than the limit of ${limits.maxRequestBytes} bytes; send fewer instances in one request`
  return { status: 413, title: 'Content Too Large', detail }
}

function unavailable(why: string): Problem {
  return {
    status: 503,
    title: 'Service Unavailable',
    detail: `${why}; try again later`,
    headers: { 'Retry-After': '10' },
  }
}

/** Address of the DICOMweb service as the sender knows it. */
export function baseUrl(req: Request): string {
  return `${req.protocol}://${req.get('host') ?? 'localhost'}${req.baseUrl}`
}
