import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { Agent, Dispatcher } from 'undici'
import type { DicomJson } from '../dicom/dicomJson.js'
import { itemsOf, numberOf, textOf } from '../dicom/dicomJson.js'
import { reason } from '../dicom/reasons.js'
import type { StowDestination } from '../platform/endpoints.js'
import { httpAgent } from '../platform/httpAgent.js'
import { retryAfterSeconds } from '../platform/retryAfter.js'
import { authorizationOf } from '../platform/secret.js'
import type { DeliveryOutcome, ObjectToDeliver } from './outcome.js'

const maxAnswerBytes = 16 * 1024 * 1024
/** "This instance is there already": 0111 of PS3.7, 45070 and 45071 of Microsoft's service. */
const alreadyThere = new Set<number>([reason.duplicateSopInstance, 45070])
const tryLater = new Set<number>([reason.outOfResources, 45071])

/** Sends objects to one DICOMweb destination by STOW-RS and believes only what its answer says of each of them. */
export class StowClient {
  private readonly agent: Agent

  constructor(private readonly options: StowDestination['stow']) {
    const timeout = options.timeoutSeconds * 1000
    // A proxy that ends HTTP/2 connections by GOAWAY has been seen to lose POSTs: HTTP/1.1 unless asked for.
    this.agent = httpAgent({
      allowH2: options.http2,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect: { timeout: 10_000 },
    })
  }

  async deliver(object: ObjectToDeliver): Promise<DeliveryOutcome> {
    return (await this.send([object]))[0]!
  }

  /** Sends objects with one request. @returns an outcome for each, in their order */
  async send(objects: readonly ObjectToDeliver[]): Promise<DeliveryOutcome[]> {
    let response: { status: number; headers: Dispatcher.ResponseData['headers']; body: string }
    try {
      response = await this.post(objects)
    } catch (error) {
      const detail = connectionProblem(error)
      return objects.map(() => ({ outcome: 'failed', detail }))
    }
    return Promise.all(
      objects.map(object => {
        const judged = judgeAnswer(
          response.status,
          response.headers['retry-after'],
          response.body,
          object.sopInstanceUid,
        )
        if (judged.outcome === 'unclear') return this.confirm(object, judged.detail)
        if (judged.outcome === 'delivered' && this.options.confirm)
          return this.confirm(object, 'stored, but not found by QIDO-RS')
        return judged
      }),
    )
  }

  close(): Promise<void> {
    return this.agent.close()
  }

  private async post(objects: readonly ObjectToDeliver[]) {
    const boundary = `radbridge.${randomUUID()}`
    const head = Buffer.from(`\r\n--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`)
    const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
    async function* body() {
      for (const [i, object] of objects.entries()) {
        yield i === 0 ? head.subarray(2) : head
        for await (const chunk of createReadStream(object.path, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
      }
      yield tail
    }
    const length = objects.reduce((sum, object) => sum + head.length + object.byteLength, tail.length - 2)
    return this.request('POST', '/studies', {
      headers: {
        'Content-Type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
        // With a length: a PACS has been seen to answer 200 to a chunked request and to keep nothing of it.
        'Content-Length': String(length),
      },
      body: body(),
    })
  }

  /** Asks the destination whether it has the object. */
  private async confirm(object: ObjectToDeliver, doubt: string): Promise<DeliveryOutcome> {
    const query = `/studies/${object.studyInstanceUid}/instances?SOPInstanceUID=${object.sopInstanceUid}`
    try {
      const { status, body } = await this.request('GET', query, { headers: {} })
      const found =
        status === 200 &&
        (JSON.parse(body || '[]') as DicomJson[]).some(i => textOf(i, '00080018') === object.sopInstanceUid)
      return found ? { outcome: 'delivered', detail: 'found at the destination' } : { outcome: 'failed', detail: doubt }
    } catch (error) {
      return { outcome: 'failed', detail: `${doubt}; asking for it failed: ${connectionProblem(error)}` }
    }
  }

  private async request(
    method: 'GET' | 'POST',
    path: string,
    { headers, body }: { headers: Record<string, string>; body?: AsyncIterable<Buffer> },
  ) {
    const base = new URL(this.options.url)
    const response = await this.agent.request({
      origin: base.origin,
      path: base.pathname.replace(/\/$/, '') + path,
      method,
      headers: { Accept: 'application/dicom+json', ...authorizationOf(this.options), ...headers },
      ...(body ? { body: body as unknown as Dispatcher.DispatchOptions['body'] } : {}),
    } as Dispatcher.RequestOptions)
    let text = ''
    for await (const chunk of response.body) {
      text += (chunk as Buffer).toString('utf8')
      if (text.length > maxAnswerBytes) throw new Error('the answer is too long')
    }
    return { status: response.statusCode, headers: response.headers, body: text }
  }
}

/** `unclear`: the answer does not say what became of the object; the destination has to be asked. */
export type JudgedAnswer = DeliveryOutcome | { outcome: 'unclear'; detail: string }

/**
 * What a STOW-RS answer says of one object (PS3.18 10.5.3): the status alone is not believed.
 * @param retryAfter value of that header, seconds or an HTTP date
 */
export function judgeAnswer(
  status: number,
  retryAfter: string | string[] | undefined,
  body: string,
  sopInstanceUid: string,
): JudgedAnswer {
  const wait = retryAfterSeconds(retryAfter)
  const later = (detail: string): DeliveryOutcome => ({
    outcome: 'failed',
    detail,
    ...(wait === undefined ? {} : { retryAfterSeconds: wait }),
  })
  const answer = parseAnswer(body)
  if (status === 200 || status === 202 || status === 409) {
    const failed = itemsOf(answer, '00081198').find(item => textOf(item, '00081155') === sopInstanceUid)
    if (failed) {
      const code = numberOf(failed, '00081197') ?? 0
      const detail = `the destination failed the object with reason ${code.toString(16).toUpperCase().padStart(4, '0')}`
      if (alreadyThere.has(code))
        return { outcome: 'unclear', detail: 'the destination says it has it already, but it is not found there' }
      return tryLater.has(code) ? later(detail) : { outcome: 'refused', detail }
    }
    const stored = itemsOf(answer, '00081199').some(item => textOf(item, '00081155') === sopInstanceUid)
    if (stored) return { outcome: 'delivered', detail: `stored (${status})` }
    if (status === 409)
      return { outcome: 'unclear', detail: 'the destination answered 409 and the object is not found there' }
    return {
      outcome: 'unclear',
      detail: `the destination answered ${status} without listing the object as stored, and it is not found there`,
    }
  }
  if (status === 204)
    return { outcome: 'unclear', detail: 'the destination answered 204 and the object is not found there' }
  if (status === 401 || status === 403) return later(`the destination refused our credentials (${status})`)
  if ([408, 425, 429].includes(status) || status >= 500) return later(`the destination answered ${status}`)
  return { outcome: 'refused', detail: `the destination answered ${status}` }
}

function parseAnswer(body: string): DicomJson {
  try {
    const parsed: unknown = JSON.parse(body)
    const object = Array.isArray(parsed) ? parsed[0] : parsed
    return typeof object === 'object' && object !== null ? (object as DicomJson) : {}
  } catch {
    return {}
  }
}

function connectionProblem(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ? `no answer (${code})` : `no answer (${message})`
}
