import { z } from 'zod'
import { secretReference } from './secret.js'

export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected letters, digits, dot, dash or underscore')
export const secret = z
  .string()
  .regex(secretReference, 'expected a reference, env:NAME or file:/path, never the secret itself')
const httpUrl = z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// address' })
export const concept = z.strictObject({
  scheme: z.string().min(1).max(16),
  value: z.string().min(1).max(64),
  meaning: z.string().min(1).max(64),
})

/** A DICOMweb server; `/studies` follows its address. */
export const stowServer = z.strictObject({
  url: httpUrl,
  token: secret.optional(),
  username: z.string().optional(),
  password: secret.optional(),
  timeoutSeconds: z.number().positive().default(60),
  http2: z.boolean().default(false),
  /** Ask the destination by QIDO-RS for the object after it said that it stored it. */
  confirm: z.boolean().default(false),
})

export const aeTitle = z
  .string()
  .trim()
  .regex(/^[^\\\x00-\x1f]{1,16}$/, 'expected up to 16 characters without a backslash')

/** An application entity that takes objects by C-STORE. */
export const dimsePeer = z.strictObject({
  aeTitle,
  host: z.string().min(1),
  port: z.number().int().min(1).max(65_535),
  /** PEM files: who is trusted, our certificate, and a reference to its key. `{}` trusts the authorities that Node.js knows. */
  tls: z.strictObject({ ca: z.string().optional(), cert: z.string().optional(), key: secret.optional() }).optional(),
  /** How we call ourselves to it; our own AE title if not set. */
  callingAeTitle: aeTitle.optional(),
  timeoutSeconds: z.number().positive().default(60),
})
export type DimsePeer = z.infer<typeof dimsePeer>

/** Private elements of these creators are shown to the provider; all others are dropped. */
const privateCreators = z.array(z.string().min(1)).default([])

const budget = z.strictObject({
  perDay: z.number().positive().optional(),
  perMonth: z.number().positive().optional(),
  whenSpent: z.enum(['stop', 'warn']).default('stop').describe('stop: studies go to the fallback providers, or fail'),
})

/** What all providers that are not in this process have in common. */
const remote = {
  name,
  deadlineSeconds: z.number().positive().default(1800).describe('of a whole study'),
  waitHours: z
    .number()
    .min(0)
    .default(24)
    .describe('so long a study waits for a provider that is away, if there is no fallback'),
  price: z
    .strictObject({ perMillionUnits: z.number().min(0), currency: z.string().regex(/^[A-Z]{3}$/) })
    .optional()
    .describe('what its units cost'),
  budget: budget.optional(),
  deidentify: z
    .enum(['basic', 'basic+retain-longitudinal', 'none'])
    .default('basic')
    .describe('basic: nothing that may name the patient is sent, and no image whose pixels may'),
  privateCreators,
}

/** Of those that are called by HTTP with requests of their own. */
const http = {
  ...remote,
  baseUrl: httpUrl.transform(url => url.replace(/\/+$/, '')),
  apiKey: secret.optional(),
  timeoutSeconds: z.number().positive().default(30).describe('of one request'),
  concurrency: z
    .number()
    .int()
    .min(1)
    .max(1000)
    .default(10)
    .describe('requests at the same time, by all nodes together'),
  requestsPerMinute: z.number().positive().optional(),
  unitsPerMinute: z.number().positive().optional(),
  breaker: z
    .strictObject({
      failures: z.number().int().min(1).default(5),
      openSeconds: z.number().positive().default(30),
    })
    .prefault({})
    .describe('after so many failures in a row nothing is sent for so long'),
  proxy: httpUrl.optional(),
  tls: z
    .strictObject({ ca: z.string().optional(), cert: z.string().optional(), key: secret.optional() })
    .optional()
    .describe('PEM files: who is trusted, our certificate, and a reference to its key'),
}

/** Of providers that are asked image by image. */
const byImage = {
  ...http,
  maxRetries: z
    .number()
    .int()
    .min(0)
    .max(100)
    .default(8)
    .describe('how often an image that has no result is asked for again'),
  labels: z.record(z.string().min(1), concept).optional().describe("the codes that the provider's words stand for"),
}

const path = z.string().regex(/^\$/, 'expected a path, for example $.data.score')
const rule = z.union([
  path,
  z.strictObject({ path, times: z.number().optional(), plus: z.number().optional() }),
  z.strictObject({ constant: z.union([z.string(), z.number()]) }),
])
const mapping = z.strictObject({
  model: z.strictObject({ name: rule.optional(), version: rule.optional(), manufacturer: rule.optional() }).optional(),
  units: rule.optional(),
  results: path.optional(),
  index: rule.optional(),
  error: rule.optional(),
  findings: path.optional(),
  heatmap: path.optional(),
  finding: z
    .strictObject({
      label: rule.optional(),
      lesion: rule.optional(),
      confidence: rule.optional(),
      outline: rule.optional(),
      box: z
        .union([
          rule,
          z.strictObject({ left: rule, top: rule, right: rule, bottom: rule }),
          z.strictObject({ left: rule, top: rule, width: rule, height: rule }),
        ])
        .optional(),
      laterality: rule.optional(),
      measurements: z
        .array(z.strictObject({ name: z.string().min(1), value: rule, unit: z.string().min(1) }))
        .optional(),
    })
    .optional(),
  words: z.record(z.string(), z.string()).optional(),
})

const window = z.strictObject({ center: z.number(), width: z.number().positive() })

const tensorOutput = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('scores'),
    output: z.string().min(1).describe('a score for each image and label'),
    labels: z.array(z.string().min(1)).min(1),
    activation: z.enum(['none', 'sigmoid', 'softmax']).default('none'),
    threshold: z.number().min(0).max(1).default(0.5),
  }),
  z.strictObject({
    kind: z.literal('boxes'),
    output: z.string().min(1).describe('four numbers for each image and box'),
    scores: z.string().min(1),
    classes: z.string().min(1).optional(),
    labels: z.array(z.string().min(1)).min(1),
    format: z.enum(['xyxy', 'xywh', 'cxcywh']).default('xyxy'),
    relative: z.boolean().default(false).describe('from 0 to 1 of the image, not in pixels of the input'),
    threshold: z.number().min(0).max(1).default(0.5),
  }),
  z.strictObject({
    kind: z.literal('mask'),
    output: z.string().min(1).describe('for each image a plane for each label'),
    labels: z.array(z.string().min(1)).min(1).describe('background is no finding'),
    activation: z.enum(['none', 'sigmoid', 'argmax']).default('none'),
    threshold: z.number().min(0).max(1).default(0.5),
    minimumPixels: z.number().int().min(1).default(1),
  }),
])

export const provider = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({
      name,
      kind: z.literal('reference'),
      timeoutSeconds: z.number().positive().default(600),
      privateCreators,
    }),
    z.strictObject({
      ...byImage,
      kind: z.literal('imaging-rest'),
      model: z.string().min(1).optional(),
      endpoint: z.enum(['batch', 'analyze']).default('batch').describe('several images a request, or one'),
      chunk: z.number().int().min(1).max(1000).default(50).describe('images of one request'),
      format: z.enum(['raw', 'png', 'dicom']).default('raw').describe('how images are sent'),
      heatmaps: z.boolean().default(false),
      longitudinalReport: z.boolean().default(false).describe('has it summarize what has become of lesions'),
      mapping: mapping.optional().describe('where things stand in the answers of a vendor with other field names'),
    }),
    z.strictObject({
      ...byImage,
      kind: z.literal('openai'),
      timeoutSeconds: z.number().positive().default(120),
      model: z.string().min(1),
      chunk: z.number().int().min(1).max(100).default(4).describe('images of one request'),
      frames: z.number().int().min(1).max(10_000).default(24).describe('of a series at most, evenly spaced'),
      maxSide: z.number().int().min(64).max(4096).default(1024).describe('pixels of the longer side of a picture'),
      window: window.optional().describe("instead of the image's own"),
      temperature: z.number().min(0).max(2).nullable().default(0).describe('null: not sent'),
      maxTokens: z.number().int().min(64).default(4096),
      instructions: z
        .string()
        .min(1)
        .optional()
        .describe('what to look for, in addition to the fixed part of the prompt'),
    }),
    z.strictObject({
      ...byImage,
      kind: z.literal('kserve'),
      model: z.string().min(1),
      modelVersion: z.string().min(1).optional(),
      chunk: z.number().int().min(1).max(1000).default(8).describe('images of one request: the batch size'),
      input: z.strictObject({
        name: z.string().min(1),
        rows: z.number().int().min(1).max(8192),
        columns: z.number().int().min(1).max(8192),
        channels: z.union([z.literal(1), z.literal(3)]).default(1),
        layout: z.enum(['NCHW', 'NHWC']).default('NCHW'),
        window: window.optional(),
        mean: z.number().default(0),
        std: z.number().positive().default(1),
      }),
      patches: z
        .strictObject({ overlap: z.number().int().min(0).default(0) })
        .optional()
        .describe('images are cut into parts of the size of the input instead of being made smaller'),
      outputs: z.array(tensorOutput).min(1),
    }),
    z.strictObject({
      ...remote,
      kind: z.literal('dicom'),
      stow: stowServer.optional().describe('where studies are sent to, by STOW-RS'),
      dimse: dimsePeer.optional().describe('or by C-STORE'),
      answersFrom: name.describe('the source whose objects are its answers'),
      quietSeconds: z
        .number()
        .min(0)
        .default(5)
        .describe('an answer is complete when nothing more has come for so long'),
    }),
  ],
  { error: 'expected a kind: reference, imaging-rest, openai, kserve or dicom' },
)

export type ProviderSettings = z.infer<typeof provider>
export type RemoteProviderSettings = Exclude<ProviderSettings, { kind: 'reference' }>
export type HttpProviderSettings = Exclude<RemoteProviderSettings, { kind: 'dicom' }>
export type DicomProviderConfiguration = Extract<ProviderSettings, { kind: 'dicom' }>
