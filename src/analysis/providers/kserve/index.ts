import {
  analyzeImages,
  type ImageAnalysisSettings,
  type ImageAnswers,
  type SentImage,
} from '../../calling/analyzeImages.js'
import type { Rejected } from '../../calling/askForAll.js'
import { type ImageResult, plausible } from '../../calling/found.js'
import { imageData, type Prepare } from '../../calling/preparation.js'
import type { TensorInput } from '../../calling/prepareImage.js'
import { Remote, type RemoteParts, type RemoteSettings } from '../../calling/remote.js'
import type { Provider } from '../../provider.js'
import { findingsOfOutputs, type OutputRule } from './outputs.js'
import { readTensors } from './tensors.js'

export interface KserveSettings extends RemoteSettings, ImageAnalysisSettings {
  model: string
  modelVersion?: string | undefined
  input: TensorInput & { name: string }
  outputs: readonly OutputRule[]
}

/** A client of the Open Inference Protocol, version 2, over HTTP with binary tensors (KServe, Triton): images as a batch, outputs as the configuration reads them. */
export function kserveProvider(settings: KserveSettings, { database, prepare }: RemoteParts): Provider {
  const remote = new Remote(settings, database)
  return {
    name: settings.name,
    ready: () => remote.refuseWhileAway(),
    analyze: (study, signal, onProgress) =>
      analyzeImages(study, settings, { signal, onProgress }, (indices, sent) =>
        ask(indices, sent, settings, remote, prepare, signal),
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
  const tensors = await Promise.all(
    images.map(async image => prepare({ kind: 'tensor', image: imageData(image, await image.pixels()), input })),
  )
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
          shape: [images.length, ...(layout === 'NCHW' ? [channels, rows, columns] : [rows, columns, channels])],
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
    unitsOf: () => images.length,
  })
  const { version, tensors: answered } = readTensors(answer)
  const results = new Map<number, ImageResult | Rejected>()
  for (const [n, index] of indices.entries()) {
    const image = images[n]!
    results.set(index, plausible(findingsOfOutputs(outputs, answered, n, images.length, input, image), image))
  }
  return {
    model: {
      name: model,
      version: version ?? modelVersion ?? 'unknown',
      manufacturer: settings.name,
      parameters: parametersOf(settings),
    },
    units: images.length,
    results,
  }
}

function parametersOf({ input, outputs }: KserveSettings): string {
  const { rows, columns, window, mean, std } = input
  const shown = window ? `window ${window.center}/${window.width}` : 'no window'
  const thresholds = outputs.map(({ output, threshold }) => `${output} from ${threshold}`).join(', ')
  return `input ${columns} × ${rows}, ${shown}, mean ${mean}, std ${std}; ${thresholds}`
}
