import type { CodedConcept } from '../dicom/concepts.js'

/** What an analyser found, in the words of radiology, free of any vendor and of DICOM encoding. */
export interface Findings {
  algorithm: { name: string; version: string; manufacturer: string; parameters?: string }
  status: FindingsStatus
  /** Why the status is `not-applicable` or `incomplete`, in one sentence. */
  reason?: string
  /** What was looked for; with status `no-findings` each is reported as absent. */
  lookedFor: CodedConcept[]
  items: Finding[]
  conclusion?: string
}

export type FindingsStatus = 'findings' | 'no-findings' | 'not-applicable' | 'incomplete'

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
  /** Centre in patient coordinates, mm (PS3.3 C.7.6.2.1.1). */
  center?: readonly [number, number, number]
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

/** The voxels of a finding: for each slice its runs of pixels. */
export interface FindingMask {
  slices: (ImageReference & { runs: { row: number; column: number; length: number }[] })[]
}

export interface Measurement {
  quantity: CodedConcept
  value: number
  unit: CodedConcept
  method?: CodedConcept
  derivation?: CodedConcept
}
