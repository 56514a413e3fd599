import { z } from 'zod'
import type { Findings } from './findings.js'

const uid = z
  .string()
  .regex(/^(0|[1-9]\d*)(\.(0|[1-9]\d*))+$/, 'expected a UID')
  .max(64)
const code = z
  .strictObject({ value: z.string().min(1), scheme: z.string().min(1).max(16), meaning: z.string().min(1).max(64) })
  .describe('a coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 8.8)')
const reference = {
  sopInstanceUid: uid,
  frame: z.number().int().min(1).optional().describe('1-based, for multi-frame images only'),
}
const finite = z.number() // JSON has no others, and zod refuses them

const run = z.strictObject({
  row: z.number().int().min(0),
  column: z.number().int().min(0),
  length: z.number().int().min(1),
  fractions: z
    .array(z.number().int().min(1).max(255))
    .optional()
    .describe('of fractional masks: for each pixel, in 255ths'),
})

const finding = z.strictObject({
  trackingIdentifier: z.string().min(1).describe('for people, for example "Nodule 1"'),
  trackingUid: uid.describe('the same lesion has the same one in all objects, and through time'),
  type: code,
  category: code.optional(),
  site: code.optional(),
  laterality: code.optional(),
  regions: z
    .array(
      z.strictObject({
        ...reference,
        points: z
          .array(z.tuple([finite.min(0), finite.min(0)]))
          .min(4)
          .max(8000),
      }),
    )
    .default([])
    .describe('closed outlines in image coordinates, column and row, the most telling one first'),
  sources: z
    .array(z.strictObject(reference))
    .optional()
    .describe('images that a finding without regions was measured on'),
  mask: z
    .strictObject({
      fractional: z.enum(['PROBABILITY', 'OCCUPANCY']).optional().describe('what the fractions of the runs say'),
      slices: z
        .array(
          z.strictObject({
            ...reference,
            runs: z.array(run).min(1),
          }),
        )
        .min(1),
    })
    .superRefine(({ fractional, slices }, context) => {
      const wrong = slices
        .flatMap(slice => slice.runs)
        .some(({ length, fractions }) => (fractional ? fractions?.length !== length : fractions !== undefined))
      if (wrong)
        context.addIssue({
          code: 'custom',
          message: fractional
            ? 'each run of a fractional mask needs fractions, one for each of its pixels'
            : 'a mask whose runs have fractions must say fractional: PROBABILITY or OCCUPANCY',
        })
    })
    .optional()
    .describe('the voxels: for each slice its runs of pixels, from 0'),
  measurements: z
    .array(
      z.strictObject({
        quantity: code,
        value: finite,
        unit: code,
        method: code.optional(),
        derivation: code.optional(),
      }),
    )
    .default([]),
  evaluations: z.array(z.strictObject({ name: code, value: code })).default([]),
  probability: z.number().min(0).max(1).optional().describe('confidence that the finding is there'),
})

const comparison = z.strictObject({
  prior: z.strictObject({
    studyInstanceUid: uid,
    studyDate: z
      .string()
      .regex(/^\d{8}$/, 'expected YYYYMMDD')
      .optional(),
  }),
  lesions: z.array(
    z.strictObject({
      trackingUid: uid,
      trackingIdentifier: z.string().min(1),
      change: z.enum(['new', 'grown', 'stable', 'shrunk', 'resolved']),
      quantities: z
        .array(z.strictObject({ quantity: code, unit: code, prior: finite, current: finite }))
        .default([])
        .describe('what was measured both times in the same way'),
      doublingDays: z.number().positive().optional().describe('days in which the volume doubles'),
    }),
  ),
})

const valueMap = z.strictObject({
  label: z.string().min(1).max(64),
  quantity: code,
  unit: code,
  slices: z
    .array(
      z
        .strictObject({
          ...reference,
          rows: z.number().int().min(1).max(65_535),
          columns: z.number().int().min(1).max(65_535),
          values: z.base64().describe('row by row, little endian 32 bit floats'),
        })
        .refine(({ rows, columns, values }) => Buffer.byteLength(values, 'base64') === rows * columns * 4, {
          message: 'expected rows × columns × 4 bytes of values',
        }),
    )
    .min(1),
})

/** The document that `radbridge report` reads; its JSON Schema is docs/findings.schema.json. */
export const findingsSchema = z
  .strictObject({
    algorithm: z.strictObject({
      name: z.string().min(1),
      version: z.string().min(1),
      manufacturer: z.string().min(1),
      parameters: z.string().optional(),
    }),
    status: z.enum(['findings', 'no-findings', 'not-applicable', 'incomplete', 'failed']),
    reason: z.string().optional().describe('why the status is not-applicable, incomplete or failed, in one sentence'),
    lookedFor: z.array(code).default([]).describe('what was looked for; each that was not found is reported as absent'),
    items: z.array(finding).default([]),
    conclusion: z.string().optional(),
    comparison: comparison.optional().describe('how the findings differ from those of an earlier examination'),
    maps: z.array(valueMap).optional().describe('heat maps: a real value for each pixel of some images'),
  })
  .superRefine(({ status, items, lookedFor }, context) => {
    const issue = (message: string) => context.addIssue({ code: 'custom', path: ['status'], message })
    const wanted = new Set(lookedFor.map(type => `${type.scheme} ${type.value}`))
    const found = items.filter(({ type }) => wanted.has(`${type.scheme} ${type.value}`))
    if (status === 'findings' && items.length === 0) issue('findings without items: say no-findings')
    if (status === 'no-findings' && found.length > 0)
      issue(`no-findings, yet ${found[0]!.trackingIdentifier} is of a kind that was looked for`)
    if ((status === 'failed' || status === 'not-applicable') && items.length > 0) issue(`${status} cannot have items`)
    const uids = items.map(item => item.trackingUid)
    const twice = items.find(({ trackingUid }, i) => uids.indexOf(trackingUid) !== i)
    if (twice)
      context.addIssue({
        code: 'custom',
        path: ['items'],
        message: `${twice.trackingUid} is the tracking UID of two findings`,
      })
  })
  .describe('What an analyser found, in the words of radiology.')

/** @returns the findings, or what is wrong with the document, line by line */
export function parseFindings(
  document: unknown,
): { outcome: 'findings'; findings: Findings } | { outcome: 'refused'; detail: string } {
  const parsed = findingsSchema.safeParse(document)
  if (!parsed.success) return { outcome: 'refused', detail: z.prettifyError(parsed.error) }
  const findings: z.infer<typeof findingsSchema> = parsed.data
  return { outcome: 'findings', findings: findings as Findings }
}
