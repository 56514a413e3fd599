import { z } from 'zod'
import { found, heatmap } from '../../calling/found.js'

/**
 * What a medical-imaging REST provider is sent and answers with (docs/providers/imaging-rest.md). Unknown fields of an answer are ignored; what is here and wrong is refused.
 */
export const imageResult = z.union([
  z.object({ index: z.number().int().min(0), error: z.string() }),
  z.object({ index: z.number().int().min(0), findings: z.array(found).max(10_000), heatmap: heatmap.nullish() }),
])

export const batchAnswer = z.object({
  model: z.object({ name: z.string().min(1), version: z.string().min(1), manufacturer: z.string().optional() }),
  usage: z.object({ units: z.number().min(0) }).optional(),
  /** Refused one by one, so that one bad result does not cost the others. */
  results: z.array(z.unknown()),
})
export type BatchAnswer = z.infer<typeof batchAnswer>

/** The answer to one image: that of a batch of one, without the list. */
export const singleAnswer = batchAnswer.omit({ results: true }).loose()

/** An answer that is not there yet: where to ask for it. Location (RFC 9110 15.3.3) may say the same. */
export const acceptedAnswer = z.object({ status_url: z.string().min(1).optional(), status: z.string().optional() })

/** The answer to a request for a report about several examinations. */
export const longitudinalAnswer = z.object({ summary: z.string().min(1).max(10_000) })

export const healthAnswer = z.object({ status: z.string(), models: z.array(z.string()).optional() })

/** All answers in full, for docs/providers/imaging-rest.schema.json. */
export const documentedAnswers = {
  batch: batchAnswer.extend({ results: z.array(imageResult) }),
  analyze: z.union([
    singleAnswer.extend({ findings: z.array(found).max(10_000), heatmap: heatmap.nullish() }),
    singleAnswer.extend({ error: z.string() }),
  ]),
  accepted: acceptedAnswer,
  'longitudinal-report': longitudinalAnswer,
  health: healthAnswer,
  'fine-tuning/jobs': z.object({ id: z.string(), status: z.string() }),
  'fine-tuning/jobs/{id}/events': z.object({ status: z.string().optional(), message: z.string().optional() }),
}

/** What is said of an image beside its samples: nothing that names a patient, and UIDs that only this installation can tell. */
export interface ImageHeader {
  index: number
  /** Name of the part with the samples. */
  part: string
  /**
   * `png`: grey values of 8 or 16 bits, signed ones shifted up by half of their range; or colours of 8 bits. `dicom`: a Part 10 file, normalized and
   * de-identified.
   */
  format: 'raw' | 'png' | 'dicom'
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
