import { compiledModule } from '../../../platform/compiledModule.js'
import {
  analyzeImages,
  type ImageAnalysisSettings,
  type ImageAnswers,
  type SentImage,
} from '../../calling/analyzeImages.js'
import { type Rejected, RequestFailed } from '../../calling/askForAll.js'
import { type ImageResult, plausible } from '../../calling/found.js'
import { imageData } from '../../calling/preparation.js'
import { patchOrigins, type TensorInput } from '../../calling/prepareImage.js'
import { Remote, type RemoteParts, type RemoteSettings } from '../../calling/remote.js'
import type { Provider } from '../../provider.js'
import type { OutputRule } from './outputs.js'
import type { AnswerToRead, ReadAnswer } from './readAnswer.js'

export interface KserveSettings extends RemoteSettings, ImageAnalysisSettings {
  model: string
  modelVersion?: string | undefined
  input: TensorInput & { name: string }
  outputs: readonly OutputRule[]
  /** Images are cut into parts of the size of the input, in their own resolution, instead of being made smaller. */
  patches?: { overlap: number } | undefined
}

/** A client of the Open Inference Protocol, version 2, over HTTP with binary tensors (KServe, Triton): images as a batch, outputs as the configuration reads them. */
export function kserveProvider(settings: KserveSettings, parts: RemoteParts): Provider {
  const remote = new Remote(settings, parts)
  return {
    name: settings.name,
    ready: () => remote.refuseWhileAway(),
    analyze: (study, signal, onProgress) =>
      analyzeImages(
        study,
        { ...settings, chunk: settings.patches ? 1 : settings.chunk },
        { signal, onProgress },
        (indices, sent) => ask(indices, sent, settings, remote, parts, signal),
      ),
    close: () => remote.close(),
  }
}

async function ask(
  indices: readonly number[],
  sent: readonly SentImage[],
  settings: KserveSettings,
  remote: Remote,
  { prepare, inThread }: RemoteParts,
  signal: AbortSignal,
): Promise<ImageAnswers> {
  const { model, modelVersion, input, outputs } = settings
  const images = indices.map(index => sent[index]!.image)
  const patches = images.map(image =>
    settings.patches ? patchOrigins(image, input, settings.patches.overlap) : undefined,
  )
  const tensors = await Promise.all(
    images.map(async (image, n) => {
      const data = imageData(image, await image.pixels())
      return prepare({ kind: 'tensor', image: data, input, ...(patches[n] ? { patches: patches[n] } : {}) })
    }),
  )
  const batch = patches.reduce((sum, origins) => sum + (origins?.length ?? 1), 0)
  const names = new Set(
    outputs.flatMap(rule => [
      rule.output,
      ...('scores' in rule ? [rule.scores] : []),
      ...('classes' in rule && rule.classes ? [rule.classes] : []),
    ]),
  )
  const { rows, columns, channels, layout } = input
  const header = Buffer.from(
    JSON.stringify({
      inputs: [
        {
          name: input.name,
          datatype: 'FP32',
          shape: [batch, ...(layout === 'NCHW' ? [channels, rows, columns] : [rows, columns, channels])],
          parameters: { binary_data_size: tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0) },
        },
      ],
      outputs: [...names].map(name => ({ name, parameters: { binary_data: true } })),
    }),
  )
  const body = Buffer.concat([header, ...tensors])
  const answer = await remote.call({
    path: `/v2/models/${encodeURIComponent(model)}${modelVersion ? `/versions/${encodeURIComponent(modelVersion)}` : ''}/infer`,
    headers: { 'Content-Type': 'application/octet-stream', 'Inference-Header-Content-Length': String(header.length) },
    body: () => body,
    signal,
    unitsOf: () => batch,
  })
  const read = await inThread<ReadAnswer>(compiledModule(import.meta.url, './readWorker.js'), {
    bytes: answer.bytes,
    jsonLength: Number(answer.headers['inference-header-content-length'] ?? answer.bytes.length),
    rules: outputs,
    input: { rows, columns },
    images: images.map((image, n) => ({ rows: image.rows, columns: image.columns, patches: patches[n] })),
  } satisfies AnswerToRead)
  if ('wrong' in read) throw new RequestFailed(read.wrong, 0, 'wrong')
  const results = new Map<number, ImageResult | Rejected>(
    indices.map((index, n) => [index, plausible(read.results[n]!, images[n]!)]),
  )
  return {
    model: {
      name: model,
      version: read.version ?? modelVersion ?? 'unknown',
      manufacturer: settings.name,
      parameters: parametersOf(settings),
    },
    units: batch,
    results,
  }
}

function parametersOf({ input, outputs, patches }: KserveSettings): string {
  const { rows, columns, window, mean, std } = input
  const shown = window ? `window ${window.center}/${window.width}` : 'no window'
  const thresholds = outputs.map(({ output, threshold }) => `${output} from ${threshold}`).join(', ')
  const cut = patches ? ` in patches that overlap by ${patches.overlap}` : ''
  return `input ${columns} × ${rows}${cut}, ${shown}, mean ${mean}, std ${std}; ${thresholds}`
}
