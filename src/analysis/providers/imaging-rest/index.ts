import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CodedConcept, concepts as c } from '../../../dicom/concepts.js'
import { numberOf } from '../../../dicom/dicomJson.js'
import { retryAfterSeconds } from '../../../platform/retryAfter.js'
import { pseudonym } from '../../../privacy/pseudonyms.js'
import {
  analyzeImages,
  type ImageAnalysisSettings,
  type ImageAnswers,
  type SentImage,
} from '../../calling/analyzeImages.js'
import { type Rejected, RequestFailed } from '../../calling/askForAll.js'
import { type ImageResult, plausible } from '../../calling/found.js'
import { imageData, type Prepare } from '../../calling/preparation.js'
import { fitsPng } from '../../calling/prepareImage.js'
import { type Answer, parseJson, Remote, type RemoteParts, type RemoteSettings } from '../../calling/remote.js'
import type { Comparison } from '../../findings.js'
import type { ImagePixels, NormalizedImage, NormalizedStudy } from '../../normalizedStudy.js'
import { type Provider, ProviderProblem } from '../../provider.js'
import { deidentification } from '../deidentification.js'
import { type Mapping, mapAnswer } from './mapping.js'
import {
  acceptedAnswer,
  type BatchAnswer,
  batchAnswer,
  type ImageHeader,
  imageResult,
  longitudinalAnswer,
  singleAnswer,
} from './wire.js'

export interface ImagingRestSettings extends RemoteSettings, ImageAnalysisSettings {
  /** `batch`: several images a request; `analyze`: one. */
  endpoint: 'batch' | 'analyze'
  /** How images are sent; frames of multi-frame images as `raw` instead of `dicom`. */
  format: 'raw' | 'png' | 'dicom'
  heatmaps: boolean
  /** The provider writes a summary of what has become of lesions since an earlier examination. */
  longitudinalReport: boolean
  mapping?: Mapping | undefined
  /** Key of the pseudonyms. */
  pseudonymKey: string
}

/** A client of a medical-imaging REST provider: images in batches, an answer for each of them or the study is incomplete. */
export function imagingRestProvider(settings: ImagingRestSettings, parts: RemoteParts): Provider {
  const { prepare } = parts
  const remote = new Remote(settings, parts)
  const chunk = settings.endpoint === 'analyze' ? 1 : settings.chunk
  return {
    name: settings.name,
    ready: () => remote.refuseWhileAway(),
    analyze: (study, signal, onProgress) =>
      analyzeImages(study, { ...settings, chunk }, { signal, onProgress }, (indices, sent) =>
        ask(indices, sent, study, settings, remote, prepare, signal),
      ),
    ...(settings.longitudinalReport
      ? {
          summarize: (comparison: Comparison, about: Examination, signal: AbortSignal) =>
            summarize(comparison, about, settings, remote, signal),
        }
      : {}),
    close: () => remote.close(),
  }
}

interface Examination {
  studyInstanceUid: string
  studyDate?: string
}

/** `POST …/longitudinal-report`: the changes as we have found them, days instead of dates. */
async function summarize(
  { prior, lesions }: Comparison,
  { studyInstanceUid, studyDate }: Examination,
  { model, pseudonymKey }: ImagingRestSettings,
  remote: Remote,
  signal: AbortSignal,
): Promise<string> {
  const days = daysBetween(prior.studyDate, studyDate)
  const body = JSON.stringify({
    ...(model ? { model } : {}),
    study: pseudonym(pseudonymKey, 'study', studyInstanceUid),
    prior_study: pseudonym(pseudonymKey, 'study', prior.studyInstanceUid),
    ...(days === undefined ? {} : { days_between: days }),
    lesions: lesions.map(({ trackingIdentifier, change, quantities, doublingDays }) => ({
      lesion: trackingIdentifier,
      change,
      ...(doublingDays ? { doubling_days: doublingDays } : {}),
      measurements: quantities.map(({ quantity, unit, prior, current }) => ({
        name: quantity.meaning,
        unit: unit.value,
        prior,
        current,
      })),
    })),
  })
  const headers = { 'Content-Type': 'application/json' }
  const answer = await remote.call({ path: '/medical-imaging/longitudinal-report', headers, body: () => body, signal })
  const parsed = longitudinalAnswer.safeParse(parseJson(answer))
  if (!parsed.success) throw new ProviderProblem('its longitudinal report has no summary', false)
  return parsed.data.summary
}

function daysBetween(earlier: string | undefined, later: string | undefined): number | undefined {
  const day = (date = '') =>
    Date.UTC(Number(date.slice(0, 4)), Number(date.slice(4, 6)) - 1, Number(date.slice(6, 8))) / 86_400_000
  const days = day(later) - day(earlier)
  return Number.isFinite(days) ? days : undefined
}

async function ask(
  indices: readonly number[],
  sent: readonly SentImage[],
  study: NormalizedStudy,
  settings: ImagingRestSettings,
  remote: Remote,
  prepare: Prepare,
  signal: AbortSignal,
): Promise<ImageAnswers> {
  const { endpoint, pseudonymKey, model, heatmaps } = settings
  const boundary = randomUUID()
  const about = {
    ...(model ? { model } : {}),
    study: pseudonym(pseudonymKey, 'study', study.studyInstanceUid),
    study_type: [...new Set(indices.map(index => sent[index]!.series.modality))].join('\\'),
    return_measurements: true,
    return_heatmaps: heatmaps,
    return_comparison_data: false,
  }
  const ahead = decodedAhead(sent[indices[0]!]!.image)
  const read = (answer: Answer) => parseAnswer(answer, indices[0]!, settings)
  const unitsOf = (answer: Answer) => (answer.status === 202 ? 0 : (read(answer).usage?.units ?? 0))
  let answer = await remote.call({
    path: `/medical-imaging/${endpoint}`,
    signal,
    headers: {
      'Content-Type': `multipart/form-data; boundary=${boundary}`,
      // The same images of the same study: a provider may recognize a request that it has answered before.
      'Idempotency-Key': pseudonym(
        pseudonymKey,
        'study',
        `${study.studyInstanceUid} ${study.revision} ${indices.join()}`,
      ),
    },
    body: () =>
      Readable.from(multipart(indices, sent, study, about, boundary, settings, prepare, ahead), { objectMode: false }),
    unitsOf,
  })
  let moreRequests = 0
  for (let pause = 0.5; answer.status === 202; pause = Math.min(10, pause * 1.5)) {
    await sleep((retryAfterSeconds(answer.headers['retry-after']) || pause) * 1000, undefined, { signal })
    moreRequests++
    answer = await remote.call({ method: 'GET', address: statusAddress(answer), signal, unitsOf })
  }
  const final = read(answer)
  return {
    model: final.model,
    units: final.usage?.units ?? 0,
    moreRequests,
    results: readResults(final, indices, sent),
  }
}

const maxAheadSamples = 1024 * 1024

/** The first image of a request is decoded while its turn has not come, so that the provider need not wait for it; a large one is not kept for that. */
function decodedAhead(image: NormalizedImage): Promise<ImagePixels> | undefined {
  if (image.rows * image.columns > maxAheadSamples) return undefined
  const pixels = image.pixels()
  pixels.catch(() => {}) // told when it is its turn
  return pixels
}

const isSingleFrame = ({ header }: NormalizedImage) => (numberOf(header, '00280008') ?? 1) === 1

/** Where an answer that is not there yet will be. */
function statusAddress(answer: Answer): string {
  const { location } = answer.headers
  if (typeof location === 'string') return location
  const parsed = answer.bytes.length > 0 ? acceptedAnswer.safeParse(parseJson(answer)) : undefined
  if (!parsed?.data?.status_url)
    throw new RequestFailed('the provider will answer later (202), and does not say where', 0, 'wrong')
  return parsed.data.status_url
}

function parseAnswer(answer: Answer, first: number, { endpoint, mapping }: ImagingRestSettings): BatchAnswer {
  let json = parseJson(answer)
  if (endpoint === 'analyze') {
    // The result stands beside the model; as the only one of a batch it is read like all others.
    const single = singleAnswer.safeParse(json)
    if (single.success) json = { ...(json as object), results: [{ index: first, ...(json as object) }] }
  }
  if (mapping) json = mapAnswer(json, mapping)
  const parsed = batchAnswer.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new RequestFailed(`the answer is not what was agreed: ${issue!.path.join('.')}: ${issue!.message}`, 0, 'wrong')
}

/** Results by image; those that cannot be right are refused one by one. What is about images that were not in the request is not looked at. */
function readResults(
  { results }: BatchAnswer,
  indices: readonly number[],
  sent: readonly SentImage[],
): Map<number, ImageResult | Rejected> {
  const wanted = new Set(indices)
  const read = new Map<number, ImageResult | Rejected>()
  for (const entry of results) {
    const index = (entry as { index?: unknown } | null)?.index
    if (typeof index !== 'number' || !wanted.has(index)) continue
    const parsed = imageResult.safeParse(entry)
    if (!parsed.success)
      read.set(index, {
        rejected: `its result is not what was agreed: ${parsed.error.issues[0]!.message}`,
        content: entry,
      })
    else if ('error' in parsed.data)
      read.set(index, { rejected: `the provider reports an error: ${parsed.data.error.slice(0, 200)}` })
    else {
      const { findings, heatmap } = parsed.data
      read.set(index, plausible({ findings, ...(heatmap ? { heatmap } : {}) }, sent[index]!.image))
    }
  }
  return read
}

/** The request as it goes out: the samples of each image, decoded one image at a time, and last a JSON part that says what the images are. */
async function* multipart(
  indices: readonly number[],
  sent: readonly SentImage[],
  study: NormalizedStudy,
  about: object,
  boundary: string,
  settings: ImagingRestSettings,
  prepare: Prepare,
  ahead: Promise<ImagePixels> | undefined,
): AsyncGenerator<Buffer> {
  const part = (name: string, type: string) =>
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
    )
  const { pseudonymKey, format } = settings
  const headers: ImageHeader[] = []
  for (const [n, index] of indices.entries()) {
    const entry = sent[index]!
    const pixels = await ((n === 0 && ahead) || entry.image.pixels())
    const { samples } = pixels
    // PNG does not know all samples: the others go as they are.
    const png = format === 'png' && fitsPng(pixels)
    if (format === 'dicom' && isSingleFrame(entry.image)) {
      headers.push(headerOf(index, entry, pixels, 'dicom', pseudonymKey))
      yield part(`image-${index}`, 'application/dicom')
      for await (const { path } of study.objects(deidentification(entry.image, settings), [entry.image.sopInstanceUid]))
        for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
      yield Buffer.from('\r\n')
      continue
    }
    headers.push(headerOf(index, entry, pixels, png ? 'png' : 'raw', pseudonymKey))
    yield part(`image-${index}`, png ? 'image/png' : 'application/octet-stream')
    yield png
      ? Buffer.from(await prepare({ kind: 'png', image: imageData(entry.image, pixels) }))
      : Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)
    yield Buffer.from('\r\n')
  }
  yield part('request', 'application/json')
  yield Buffer.from(JSON.stringify({ ...about, images: headers }))
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

function headerOf(
  index: number,
  { image, series }: SentImage,
  pixels: ImagePixels,
  format: ImageHeader['format'],
  pseudonymKey: string,
): ImageHeader {
  const { geometry, rescale } = image
  const { samples } = pixels
  return {
    index,
    part: `image-${index}`,
    format,
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
