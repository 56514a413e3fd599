import { viewSize } from '../../../pixels/view.js'
import { parseJsonText } from '../../../platform/jsonText.js'
import {
  analyzeImages,
  type ImageAnalysisSettings,
  type ImageAnswers,
  type SentImage,
} from '../../calling/analyzeImages.js'
import { type Rejected, RequestFailed } from '../../calling/askForAll.js'
import { type ImageResult, plausible } from '../../calling/found.js'
import { imageData, type Prepare } from '../../calling/preparation.js'
import { type Answer, parseJson, Remote, type RemoteParts, type RemoteSettings } from '../../calling/remote.js'
import type { Provider } from '../../provider.js'
import { placeAlongNormal } from '../../volumeGeometry.js'
import { answerSchema, promptVersion, systemPrompt } from './prompt.js'
import { completion, imageAnswer, modelAnswer } from './wire.js'

export interface OpenAiSettings extends RemoteSettings, ImageAnalysisSettings {
  model: string
  /** Of a series at most, evenly spaced. */
  frames: number
  maxSide: number
  window?: { center: number; width: number } | undefined
  temperature: number | null
  maxTokens: number
  instructions?: string | undefined
}

/** A client of an OpenAI-compatible vision chat endpoint: pictures in the window that they are looked at in, findings by structured output. */
export function openAiProvider(settings: OpenAiSettings, parts: RemoteParts): Provider {
  const { prepare } = parts
  const remote = new Remote(settings, parts)
  return {
    name: settings.name,
    ready: () => remote.refuseWhileAway(),
    analyze: (study, signal, onProgress) =>
      analyzeImages(
        study,
        settings,
        { signal, onProgress },
        (indices, sent) => ask(indices, sent, settings, remote, prepare, signal),
        images => keyFrames(images, settings.frames),
      ),
    close: () => remote.close(),
  }
}

/** So many images of each series, evenly spaced along its axis; images without a place keep their order. */
function keyFrames(images: readonly SentImage[], frames: number): SentImage[] {
  const series = new Set(images.map(entry => entry.series))
  return [...series].flatMap(one => {
    const list = images.filter(entry => entry.series === one)
    if (list.length <= frames) return list
    const ordered = list
      .map(entry => ({ entry, place: placeAlongNormal(entry.image) ?? 0 }))
      .sort((a, b) => a.place - b.place)
    return Array.from({ length: frames }, (_, i) => ordered[Math.floor(((i + 0.5) * ordered.length) / frames)]!.entry)
  })
}

async function ask(
  indices: readonly number[],
  sent: readonly SentImage[],
  settings: OpenAiSettings,
  remote: Remote,
  prepare: Prepare,
  signal: AbortSignal,
): Promise<ImageAnswers> {
  const { model, temperature, maxTokens, maxSide } = settings
  const labels = Object.keys(settings.labels)
  const prompt = systemPrompt(labels, settings.instructions)
  const schema = answerSchema(labels)
  const body = JSON.stringify({
    model,
    ...(temperature === null ? {} : { temperature }),
    max_tokens: maxTokens,
    response_format: { type: 'json_schema', json_schema: { name: 'findings', strict: true, schema } },
    messages: [
      { role: 'system', content: prompt },
      { role: 'user', content: await pictures(indices, sent, settings, prepare) },
    ],
  })
  const answer = await remote.call({
    path: '/chat/completions',
    headers: { 'Content-Type': 'application/json' },
    body: () => body,
    signal,
    unitsOf: answer => parseCompletion(answer).usage?.total_tokens ?? 0,
  })
  const parsed = parseCompletion(answer)
  return {
    model: {
      name: model,
      version: parsed.model ?? model,
      manufacturer: settings.name,
      parameters: `prompt and schema ${promptVersion(prompt, schema)}, temperature ${temperature ?? 'default'}, up to ${settings.frames} images of a series, longer side ${maxSide}`,
    },
    units: parsed.usage?.total_tokens ?? 0,
    results: readImages(contentOf(parsed), indices, sent, maxSide),
  }
}

/** Each picture with its index and size, and nothing else about it. */
async function pictures(
  indices: readonly number[],
  sent: readonly SentImage[],
  { maxSide, window }: OpenAiSettings,
  prepare: Prepare,
): Promise<object[]> {
  const parts = await Promise.all(
    indices.map(async index => {
      const { image, series } = sent[index]!
      const { rows, columns } = viewSize(image.rows, image.columns, maxSide)
      const png = await prepare({ kind: 'view', image: imageData(image, await image.pixels(), window), maxSide })
      return [
        { type: 'text', text: `Image index ${index}: ${series.modality}, ${columns} columns, ${rows} rows.` },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${Buffer.from(png).toString('base64')}` } },
      ]
    }),
  )
  return parts.flat()
}

function parseCompletion(answer: Answer) {
  const parsed = completion.safeParse(parseJson(answer))
  if (parsed.success) return parsed.data
  throw new RequestFailed(`the answer is no chat completion: ${parsed.error.issues[0]!.path.join('.')}`, 0, 'wrong')
}

/** @throws RequestFailed `too-large` if the answer was cut off: fewer images make a shorter one */
function contentOf({ choices }: ReturnType<typeof parseCompletion>): unknown[] {
  const { finish_reason, message } = choices[0]!
  if (message.refusal) throw new RequestFailed('the model refused to answer', 0, 'wrong')
  if (finish_reason === 'length') throw new RequestFailed('the answer was cut off at maxTokens', 0, 'too-large')
  try {
    const parsed = modelAnswer.safeParse(parseJsonText(message.content ?? ''))
    if (parsed.success) return parsed.data.images
  } catch {
    // told below
  }
  throw new RequestFailed('the model did not answer with the JSON that was asked for', 0, 'wrong')
}

function readImages(
  images: readonly unknown[],
  indices: readonly number[],
  sent: readonly SentImage[],
  maxSide: number,
): Map<number, ImageResult | Rejected> {
  const wanted = new Set(indices)
  const read = new Map<number, ImageResult | Rejected>()
  for (const entry of images) {
    const index = (entry as { index?: unknown } | null)?.index
    if (typeof index !== 'number' || !wanted.has(index)) continue
    const parsed = imageAnswer.safeParse(entry)
    if (!parsed.success) {
      read.set(index, {
        rejected: `its result is not what was asked for: ${parsed.error.issues[0]!.message}`,
        content: entry,
      })
      continue
    }
    const { image } = sent[index]!
    const view = viewSize(image.rows, image.columns, maxSide)
    const [across, down] = [image.columns / view.columns, image.rows / view.rows]
    const findings = parsed.data.findings.map(({ label, lesion, confidence, box, laterality }) => ({
      label,
      // A name that the model gave in one answer says nothing of another one.
      ...(lesion ? { lesion: `${indices[0]} ${lesion}`.slice(0, 64) } : {}),
      confidence,
      ...(box
        ? { box: [box[0] * across, box[1] * down, box[2] * across, box[3] * down] as [number, number, number, number] }
        : {}),
      ...(laterality ? { laterality } : {}),
      measurements: [],
    }))
    read.set(index, plausible({ findings }, image))
  }
  return read
}
