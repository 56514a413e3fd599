import type { DicomJson } from '../dicom/dicomJson.js'

export type Vec3 = readonly [number, number, number]

/** A study ready for analysis: uncompressed, one photometric model per kind, geometry resolved. Frames load on demand. */
export interface NormalizedStudy {
  studyInstanceUid: string
  revision: number
  series: NormalizedSeries[]
}

export interface NormalizedSeries {
  seriesInstanceUid: string
  modality: string
  bodyPart?: string
  images: NormalizedImage[]
}

export interface NormalizedImage {
  sopInstanceUid: string
  sopClassUid: string
  /** 1-based; 1 for single-frame objects. */
  frame: number
  rows: number
  columns: number
  imageType: string[]
  rescale: { slope: number; intercept: number; unit: string }
  geometry?: ImageGeometry
  header: DicomJson
  /** MONOCHROME2 or RGB samples, decoded in a worker thread; the caller may keep or change them. */
  pixels(): Promise<ImagePixels>
}

export interface ImageGeometry {
  /** Centre of the first pixel, mm, patient coordinates. */
  position: Vec3
  /** Direction of increasing column, then of increasing row. */
  rowDirection: Vec3
  columnDirection: Vec3
  /** Distance between rows, then between columns, mm. */
  spacing: readonly [number, number]
  sliceThickness?: number
  frameOfReferenceUid?: string
}

export interface ImagePixels {
  samples: Uint8Array | Int8Array | Uint16Array | Int16Array
  photometric: string
  bitsStored: number
  signed: boolean
}
