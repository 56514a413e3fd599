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

const finding = z.strictObject({
  trackingIdentifier: z.string().min(1).describe('for people, for example "Nodule 1"'),
  trackingUid: uid.describe('the same lesion has the same one in all objects, and through time'),
  type: code,
  category: code.optional(),
  site: code.optional(),
  laterality: code.optional(),
  regions: z
    .array(z.strictObject({ ...reference, points: z.array(z.tuple([finite.min(0), finite.min(0)])).min(4) }))
    .default([])
    .describe('closed outlines in image coordinates, column and row, the most telling one first'),
  sources: z
    .array(z.strictObject(reference))
    .optional()
    .describe('images that a finding without regions was measured on'),
  mask: z
    .strictObject({
      slices: z
        .array(
          z.strictObject({
            ...reference,
            runs: z.array(
              z.strictObject({
                row: z.number().int().min(0),
                column: z.number().int().min(0),
                length: z.number().int().min(1),
              }),
            ),
          }),
        )
        .min(1),
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
  center: z.tuple([finite, finite, finite]).optional().describe('mm, patient coordinates (PS3.3 C.7.6.2.1.1)'),
  probability: z.number().min(0).max(1).optional().describe('confidence that the finding is there'),
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
    status: z.enum(['findings', 'no-findings', 'not-applicable', 'incomplete']),
    reason: z.string().optional().describe('why the status is not-applicable or incomplete, in one sentence'),
    lookedFor: z.array(code).default([]).describe('what was looked for; each that was not found is reported as absent'),
    items: z.array(finding).default([]),
    conclusion: z.string().optional(),
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
