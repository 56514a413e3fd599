import { z } from 'zod'
import type { NormalizedImage } from '../normalizedStudy.js'
import type { Rejected } from './askForAll.js'

const finite = z.number()

/** What a provider found on one image, in the words that providers use. Unknown fields are ignored; what is here and wrong is refused. */
export const found = z.object({
  label: z.string().min(1).max(64).describe("the provider's word; the configuration says which code it stands for"),
  lesion: z.string().min(1).max(64).optional().describe('the same on several images is one finding'),
  confidence: z.number().min(0).max(1).optional(),
  outline: z
    .array(z.tuple([finite, finite]))
    .min(3)
    .max(8000)
    .optional()
    .describe('column and row of each point; 0\\0 is the outer corner of the first pixel'),
  box: z
    .tuple([finite, finite, finite, finite])
    .optional()
    .describe('left, top, right, bottom in the same coordinates'),
  mask: z
    .array(
      z.object({
        row: z.number().int().min(0),
        column: z.number().int().min(0),
        length: z.number().int().min(1),
      }),
    )
    .min(1)
    .optional()
    .describe('runs of pixels, from 0'),
  laterality: z.enum(['left', 'right']).optional(),
  measurements: z.array(z.object({ name: z.string().min(1), value: finite, unit: z.string().min(1) })).default([]),
})
export type Found = z.infer<typeof found>

export const heatmap = z.object({
  label: z.string().min(1).max(64).default('Saliency'),
  rows: z.number().int().min(1).max(65_535),
  columns: z.number().int().min(1).max(65_535),
  values: z.base64().describe('of the size of the image: row by row, little endian 32 bit floats'),
})

/** What came of one image. */
export interface ImageResult {
  findings: Found[]
  heatmap?: z.infer<typeof heatmap> | undefined
}

/** What has analysed the images. */
export interface Model {
  name: string
  version: string
  manufacturer?: string | undefined
  parameters?: string | undefined
}

/** A result that can be right; else why it cannot. */
export function plausible(result: ImageResult, image: NormalizedImage): ImageResult | Rejected {
  const rejected = implausible(result, image)
  return rejected ? { rejected, content: { findings: result.findings } } : result
}

function implausible(result: ImageResult, { rows, columns }: NormalizedImage): string | undefined {
  for (const { label, outline = [], box, mask = [] } of result.findings) {
    const points = [...outline, ...(box ? [[box[0], box[1]] as const, [box[2], box[3]] as const] : [])]
    const leaves =
      points.some(([x, y]) => x < 0 || y < 0 || x > columns || y > rows) ||
      mask.some(run => run.row >= rows || run.column + run.length > columns)
    if (leaves) return `${label} lies outside of the ${columns} columns and ${rows} rows of its image`
    if (box && (box[0] >= box[2] || box[1] >= box[3])) return `the box of ${label} has no area`
  }
  const map = result.heatmap
  if (!map) return undefined
  if (map.rows !== rows || map.columns !== columns)
    return `a heat map of ${map.columns} columns and ${map.rows} rows is not of the size of its image, ${columns} and ${rows}`
  const bytes = Buffer.from(map.values, 'base64')
  if (bytes.length !== rows * columns * 4) return `a heat map has ${bytes.length} bytes, not ${rows * columns * 4}`
  const values = new Float32Array(new Uint8Array(bytes).buffer) // aligned; every machine that runs Node.js here is little endian
  return values.every(Number.isFinite) ? undefined : 'a heat map holds what is no number'
}
