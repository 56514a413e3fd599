import { z } from 'zod'

/**
 * What a medical-imaging REST provider is sent and answers with (docs/providers/imaging-rest.md). Unknown fields of an answer are ignored; what is here and wrong is refused.
 */
const finite = z.number()

const found = z.object({
  /** The provider's word for what it found; the configuration says which code it stands for. */
  label: z.string().min(1).max(64),
  /** The same on several images is one finding. */
  lesion: z.string().min(1).max(64).optional(),
  confidence: z.number().min(0).max(1).optional(),
  /** Column and row, 0\0 is the outer corner of the first pixel. */
  outline: z
    .array(z.tuple([finite, finite]))
    .min(3)
    .max(8000)
    .optional(),
  /** Left, top, right, bottom in the same coordinates. */
  box: z.tuple([finite, finite, finite, finite]).optional(),
  laterality: z.enum(['left', 'right']).optional(),
  measurements: z.array(z.object({ name: z.string().min(1), value: finite, unit: z.string().min(1) })).default([]),
})

const result = z.union([
  z.object({ index: z.number().int().min(0), error: z.string() }),
  z.object({ index: z.number().int().min(0), findings: z.array(found).max(10_000) }),
])

export const batchAnswer = z.object({
  model: z.object({ name: z.string().min(1), version: z.string().min(1), manufacturer: z.string().optional() }),
  usage: z.object({ units: z.number().min(0) }).optional(),
  /** Refused one by one, so that one bad result does not cost the others. */
  results: z.array(z.unknown()),
})
export const imageResult = result
export type Found = z.infer<typeof found>
export type BatchAnswer = z.infer<typeof batchAnswer>

export const healthAnswer = z.object({ status: z.string(), models: z.array(z.string()).optional() })

/** What is said of an image beside its samples: nothing that names a patient, and UIDs that only this installation can tell. */
export interface ImageHeader {
  index: number
  /** Name of the part with the samples. */
  part: string
  format: 'raw'
  rows: number
  columns: number
  /** 1 for MONOCHROME2, 3 for RGB, colour by pixel. */
  samples_per_pixel: 1 | 3
  bits_stored: number
  bytes_per_sample: 1 | 2 | 4 | 8
  signed: boolean
  float: boolean
  rescale_slope: number
  rescale_intercept: number
  unit: string
  modality: string
  body_part?: string
  series: string
  pixel_spacing?: readonly number[]
  position?: readonly number[]
  orientation?: readonly number[]
  slice_thickness?: number
}
