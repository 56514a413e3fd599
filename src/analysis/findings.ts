import type { CodedConcept } from '../dicom/concepts.js'

/** What an analyser found, in the words of radiology, free of any vendor and of DICOM encoding. */
export interface Findings {
  algorithm: { name: string; version: string; manufacturer: string; parameters?: string }
  status: FindingsStatus
  /** Why the status is `not-applicable`, `incomplete` or `failed`, in one sentence. */
  reason?: string
  /** What was looked for; with status `no-findings` each is reported as absent. */
  lookedFor: CodedConcept[]
  items: Finding[]
  conclusion?: string
  /** How the findings differ from those of an earlier examination. */
  comparison?: Comparison
  /** Pictures of what the algorithm looked at: a real value for each pixel of some images. */
  maps?: ValueMap[]
}

export type FindingsStatus = 'findings' | 'no-findings' | 'not-applicable' | 'incomplete' | 'failed'

export interface Finding {
  /** For people, for example "Nodule 1". */
  trackingIdentifier: string
  /** The same lesion has the same one in all objects, and through time. */
  trackingUid: string
  type: CodedConcept
  category?: CodedConcept
  site?: CodedConcept
  laterality?: CodedConcept
  /** Outlines on images, the most telling one first. */
  regions: PlanarRegion[]
  /** Images that a finding without regions was measured on. */
  sources?: ImageReference[]
  mask?: FindingMask
  measurements: Measurement[]
  evaluations: { name: CodedConcept; value: CodedConcept }[]
  /** Confidence that the finding is there, 0 to 1. */
  probability?: number
}

export interface ImageReference {
  sopInstanceUid: string
  /** 1-based, for multi-frame images only. */
  frame?: number
}

/** A closed polygon in image coordinates: column, row; 0\0 is the outer corner of the first pixel (PS3.3 C.10.5.1.2). */
export interface PlanarRegion extends ImageReference {
  points: [number, number][]
}

/** The voxels of a finding: for each slice its runs of pixels, in the order of their rows and columns. */
export interface FindingMask {
  /** What the fractions of the runs say (PS3.3 C.8.20.2.3); without it a voxel belongs to the finding or it does not. */
  fractional?: 'PROBABILITY' | 'OCCUPANCY'
  slices: MaskSlice[]
}

export interface MaskSlice extends ImageReference {
  runs: MaskRun[]
}

export interface MaskRun {
  row: number
  column: number
  length: number
  /** Of a fractional mask: for each pixel of the run its fraction in 255ths, 1 to 255. */
  fractions?: number[]
}

export interface Measurement {
  quantity: CodedConcept
  value: number
  unit: CodedConcept
  method?: CodedConcept
  derivation?: CodedConcept
}

/** What became of the lesions since an earlier examination of the patient. */
export interface Comparison {
  prior: {
    studyInstanceUid: string
    /** `YYYYMMDD`; absent if the earlier study has none. */
    studyDate?: string
  }
  lesions: LesionChange[]
}

export interface LesionChange {
  /** Of the finding, and of the prior's; of the prior's alone if it is `resolved`. */
  trackingUid: string
  trackingIdentifier: string
  change: 'new' | 'grown' | 'stable' | 'shrunk' | 'resolved'
  /** Quantities that were measured both times in the same way. */
  quantities: { quantity: CodedConcept; unit: CodedConcept; prior: number; current: number }[]
  /** Days in which the volume doubles, of a lesion that grew. */
  doublingDays?: number
}

/** A heat map or another picture of real values, of the size of the image it belongs to. */
export interface ValueMap {
  /** For people, for example "Saliency of nodule detection". */
  label: string
  quantity: CodedConcept
  unit: CodedConcept
  slices: ValueMapSlice[]
}

export interface ValueMapSlice extends ImageReference {
  rows: number
  columns: number
  /** Row by row, little endian 32 bit floats in base64: rows × columns × 4 bytes. */
  values: string
}
