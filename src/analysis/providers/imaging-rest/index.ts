import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { Agent, request } from 'undici'
import { type CodedConcept, concepts as c } from '../../../dicom/concepts.js'
import { PixelProblem } from '../../../pixels/imageDescription.js'
import { retryAfterSeconds } from '../../../platform/retryAfter.js'
import { mayNamePatient } from '../../../privacy/burnedIn.js'
import { pseudonym } from '../../../privacy/pseudonyms.js'
import { askForAll, type Rejected, RequestFailed } from '../../calling/askForAll.js'
import { Gate, GateClosed } from '../../calling/gate.js'
import type { Findings } from '../../findings.js'
import type { NormalizedImage, NormalizedSeries, NormalizedStudy } from '../../normalizedStudy.js'
import { type Analysis, type Provider, ProviderProblem } from '../../provider.js'
import { findingsOf } from './findingsOf.js'
import { type BatchAnswer, batchAnswer, type Found, type ImageHeader, imageResult } from './wire.js'

export interface ImagingRestSettings {
  name: string
  /** Without a slash at its end. */
  baseUrl: string
  apiKey?: string
  model?: string
  /** Of one request. */
  timeoutSeconds: number
  /** How often an image is asked for again. */
  maxRetries: number
  concurrency: number
  requestsPerMinute?: number
  /** Images of one request. */
  chunk: number
  /** What the provider's words stand for. */
  labels: Readonly<Record<string, CodedConcept>>
  /** `none` sends images whose pixels may name the patient, too. */
  deidentify: 'basic' | 'none'
  /** Key of the pseudonyms. */
  pseudonymKey: string
}

const maxAnswerBytes = 64 * 1024 * 1024

interface Sent {
  image: NormalizedImage
  series: NormalizedSeries
}

/** A client of a medical-imaging REST provider: images in batches, an answer for each of them or the study is incomplete. */
export function imagingRestProvider(settings: ImagingRestSettings): Provider {
  const { timeoutSeconds, concurrency, requestsPerMinute } = settings
  const milliseconds = timeoutSeconds * 1000
  const agent = new Agent({
    connections: concurrency,
    connect: { timeout: Math.min(10_000, milliseconds) },
    headersTimeout: milliseconds,
    bodyTimeout: milliseconds,
  })
  const gate = new Gate({ concurrency, ...(requestsPerMinute ? { requestsPerMinute } : {}) })
  return {
    name: settings.name,
    analyze: (study, signal) => analyze(study, signal, settings, gate, agent),
    close: () => agent.destroy(),
  }
}

async function analyze(
  study: NormalizedStudy,
  signal: AbortSignal,
  settings: ImagingRestSettings,
  gate: Gate,
  agent: Agent,
): Promise<Analysis> {
  const all = study.series.flatMap(series => series.images.map(image => ({ image, series })))
  const withheld = settings.deidentify === 'none' ? [] : all.filter(({ image }) => mayNamePatient(image.header))
  const sent = all.filter(entry => !withheld.includes(entry))
  if (sent.length === 0) {
    const why = withheld[0] ? mayNamePatient(withheld[0].image.header) : 'the study holds no image that can be decoded'
    const findings: Findings = {
      algorithm: { name: settings.model ?? settings.name, version: 'unknown', manufacturer: 'unknown' },
      status: 'not-applicable',
      reason: withheld[0] ? `not sent, since the pixels may name the patient: ${why}` : why!,
      lookedFor: [],
      items: [],
    }
    return { findings }
  }
  const models = new Map<string, BatchAnswer['model']>()
  let away = false
  let units = 0
  const { results, missing, requests } = await askForAll<Found[]>(
    sent.length,
    async indices => {
      const answer = await callBatch(indices, sent, study, settings, gate, agent, signal).catch(error => {
        away ||= error instanceof RequestFailed && (error.kind === 'away' || error.kind === 'limited')
        throw error
      })
      units += answer.usage?.units ?? 0
      models.set(`${answer.model.name} ${answer.model.version}`, answer.model)
      return readResults(answer, indices, sent)
    },
    { chunk: settings.chunk, concurrency: settings.concurrency, maxAsks: settings.maxRetries + 1, signal },
  )
  const [model, another] = [...models.values()]
  if (!model) throw new ProviderProblem(`no request succeeded; the last reason: ${[...missing.values()][0]}`, away)
  // Half of a study by one version and half by another is no result of either.
  if (another) throw new ProviderProblem('the provider changed its model while the study was analysed', true)
  const findings = findingsOf({ results, missing, withheld: withheld.length, sent, study, model, settings })
  return { findings, usage: { requests, units } }
}

async function callBatch(
  indices: readonly number[],
  sent: readonly Sent[],
  study: NormalizedStudy,
  settings: ImagingRestSettings,
  gate: Gate,
  agent: Agent,
  signal: AbortSignal,
): Promise<BatchAnswer> {
  try {
    return await gate.run(() => post(indices, sent, study, settings, gate, agent, signal), isProvidersFailure, signal)
  } catch (error) {
    if (error instanceof GateClosed) throw new RequestFailed(error.message, error.retryAfterSeconds)
    throw error
  }
}

function isProvidersFailure(error: unknown): boolean {
  return error instanceof RequestFailed && error.kind === 'away'
}

async function post(
  indices: readonly number[],
  sent: readonly Sent[],
  study: NormalizedStudy,
  { baseUrl, apiKey, model, pseudonymKey }: ImagingRestSettings,
  gate: Gate,
  agent: Agent,
  signal: AbortSignal,
): Promise<BatchAnswer> {
  const boundary = randomUUID()
  const about = { ...(model ? { model } : {}), study: pseudonym(pseudonymKey, 'study', study.studyInstanceUid) }
  let answer: Awaited<ReturnType<typeof request>>
  let text: string
  try {
    answer = await request(`${baseUrl}/medical-imaging/batch`, {
      method: 'POST',
      dispatcher: agent,
      signal,
      headers: {
        'Content-Type': `multipart/form-data; boundary=${boundary}`,
        Accept: 'application/json',
        // The same images of the same study: a provider may recognize a request that it has answered before.
        'Idempotency-Key': pseudonym(
          pseudonymKey,
          'study',
          `${study.studyInstanceUid} ${study.revision} ${indices.join()}`,
        ),
        ...(apiKey ? { Authorization: `Bearer ${apiKey}` } : {}),
      },
      body: Readable.from(multipart(indices, sent, about, boundary, pseudonymKey), { objectMode: false }),
    })
    text = await readAnswer(answer.body)
  } catch (error) {
    // An image that cannot be decoded ends the request from our side: it is not the provider that is away.
    if (signal.aborted || error instanceof PixelProblem || error instanceof RequestFailed) throw error
    throw new RequestFailed(`no answer (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`)
  }
  const { statusCode } = answer
  if (statusCode >= 200 && statusCode < 300) return parseAnswer(text)
  const wait = retryAfterSeconds(answer.headers['retry-after'])
  if (statusCode === 413) throw new RequestFailed('the provider finds the request too large (413)', 0, 'too-large')
  if (statusCode >= 500 || [408, 425, 429].includes(statusCode)) {
    if (wait) gate.pause(wait)
    throw new RequestFailed(`the provider answered ${statusCode}`, wait, statusCode === 429 ? 'limited' : 'away')
  }
  throw new ProviderProblem(`the provider refused the request with status ${statusCode}`, false)
}

async function readAnswer(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > maxAnswerBytes) throw new RequestFailed(`the answer has more than ${maxAnswerBytes} bytes`, 0, 'wrong')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseAnswer(text: string): BatchAnswer {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new RequestFailed('the answer is no JSON', 0, 'wrong')
  }
  const parsed = batchAnswer.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new RequestFailed(
      `the answer is not what was agreed: ${issue!.path.join('.')}: ${issue!.message}`,
      0,
      'wrong',
    )
  }
  return parsed.data
}

/** Results by image; those that cannot be right are refused one by one. What is about images that were not in the request is not looked at. */
function readResults(
  { results }: BatchAnswer,
  indices: readonly number[],
  sent: readonly Sent[],
): Map<number, Found[] | Rejected> {
  const wanted = new Set(indices)
  const read = new Map<number, Found[] | Rejected>()
  for (const entry of results) {
    const index = (entry as { index?: unknown } | null)?.index
    if (typeof index !== 'number' || !wanted.has(index)) continue
    const parsed = imageResult.safeParse(entry)
    if (!parsed.success)
      read.set(index, { rejected: `its result is not what was agreed: ${parsed.error.issues[0]!.message}` })
    else if ('error' in parsed.data)
      read.set(index, { rejected: `the provider reports an error: ${parsed.data.error.slice(0, 200)}` })
    else read.set(index, plausible(parsed.data.findings, sent[index]!.image))
  }
  return read
}

function plausible(found: Found[], { rows, columns }: NormalizedImage): Found[] | Rejected {
  for (const { label, outline = [], box } of found) {
    const points = [...outline, ...(box ? [[box[0], box[1]] as const, [box[2], box[3]] as const] : [])]
    if (points.some(([x, y]) => x < 0 || y < 0 || x > columns || y > rows))
      return { rejected: `${label} lies outside of the ${columns} columns and ${rows} rows of its image` }
    if (box && (box[0] >= box[2] || box[1] >= box[3])) return { rejected: `the box of ${label} has no area` }
  }
  return found
}

/** The request as it goes out: a JSON part that says what the images are, then their samples, decoded one image at a time. */
async function* multipart(
  indices: readonly number[],
  sent: readonly Sent[],
  about: object,
  boundary: string,
  pseudonymKey: string,
): AsyncGenerator<Buffer> {
  const part = (name: string, type: string) =>
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
    )
  const headers: ImageHeader[] = []
  for (const index of indices) {
    const entry = sent[index]!
    const { samples, photometric, bitsStored, signed } = await entry.image.pixels()
    headers.push(headerOf(index, entry, { photometric, bitsStored, signed, samples }, pseudonymKey))
    yield part(`image-${index}`, 'application/octet-stream')
    yield Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)
    yield Buffer.from('\r\n')
  }
  yield part('request', 'application/json')
  yield Buffer.from(JSON.stringify({ ...about, images: headers }))
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

function headerOf(
  index: number,
  { image, series }: Sent,
  pixels: Awaited<ReturnType<NormalizedImage['pixels']>>,
  pseudonymKey: string,
): ImageHeader {
  const { geometry, rescale } = image
  const { samples } = pixels
  return {
    index,
    part: `image-${index}`,
    format: 'raw',
    rows: image.rows,
    columns: image.columns,
    samples_per_pixel: pixels.photometric === 'RGB' ? 3 : 1,
    bits_stored: pixels.bitsStored,
    bytes_per_sample: samples.BYTES_PER_ELEMENT as 1 | 2 | 4 | 8,
    signed: pixels.signed,
    float: samples instanceof Float32Array || samples instanceof Float64Array,
    rescale_slope: rescale.slope,
    rescale_intercept: rescale.intercept,
    unit: rescale.unit,
    modality: series.modality,
    ...(series.bodyPart ? { body_part: series.bodyPart } : {}),
    series: pseudonym(pseudonymKey, 'series', series.seriesInstanceUid),
    ...(geometry
      ? {
          pixel_spacing: geometry.spacing,
          position: geometry.position,
          orientation: [...geometry.rowDirection, ...geometry.columnDirection],
          ...(geometry.sliceThickness ? { slice_thickness: geometry.sliceThickness } : {}),
        }
      : {}),
  }
}

export const defaultLabels: Readonly<Record<string, CodedConcept>> = { nodule: c.nodule, lesion: c.lesion }
