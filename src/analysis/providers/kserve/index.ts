import {
  analyzeImages,
  type ImageAnalysisSettings,
  type ImageAnswers,
  type SentImage,
} from '../../calling/analyzeImages.js'
import type { Rejected } from '../../calling/askForAll.js'
import { type ImageResult, plausible } from '../../calling/found.js'
import { imageData, type Prepare } from '../../calling/preparation.js'
import { patchOrigins, type TensorInput } from '../../calling/prepareImage.js'
import { Remote, type RemoteParts, type RemoteSettings } from '../../calling/remote.js'
import type { Provider } from '../../provider.js'
import { mergePatches } from './mergePatches.js'
import { findingsOfOutputs, type OutputRule } from './outputs.js'
import { readTensors } from './tensors.js'

export interface KserveSettings extends RemoteSettings, ImageAnalysisSettings {
  model: string
  modelVersion?: string | undefined
  input: TensorInput & { name: string }
  outputs: readonly OutputRule[]
  /** Images are cut into parts of the size of the input, in their own resolution, instead of being made smaller. */
  patches?: { overlap: number } | undefined
}

/** A client of the Open Inference Protocol, version 2, over HTTP with binary tensors (KServe, Triton): images as a batch, outputs as the configuration reads them. */
export function kserveProvider(settings: KserveSettings, { database, prepare }: RemoteParts): Provider {
  const remote = new Remote(settings, database)
  return {
    name: settings.name,
    ready: () => remote.refuseWhileAway(),
    analyze: (study, signal, onProgress) =>
      analyzeImages(
        study,
        { ...settings, chunk: settings.patches ? 1 : settings.chunk },
        { signal, onProgress },
        (indices, sent) => ask(indices, sent, settings, remote, prepare, signal),
      ),
    close: () => remote.close(),
  }
}

async function ask(
  indices: readonly number[],
  sent: readonly SentImage[],
  settings: KserveSettings,
  remote: Remote,
  prepare: Prepare,
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
  const { version, tensors: answered } = readTensors(answer)
  const results = new Map<number, ImageResult | Rejected>()
  let first = 0
  for (const [n, index] of indices.entries()) {
    const image = images[n]!
    const origins = patches[n]
    const result = origins
      ? mergePatches(
          origins.map((origin, k) => ({
            origin,
            result: findingsOfOutputs(outputs, answered, first + k, batch, input, input),
          })),
          image,
        )
      : findingsOfOutputs(outputs, answered, first, batch, input, image)
    first += origins?.length ?? 1
    results.set(index, plausible(result, image))
  }
  return {
    model: {
      name: model,
      version: version ?? modelVersion ?? 'unknown',
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
