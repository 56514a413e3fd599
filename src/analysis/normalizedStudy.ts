import type { DicomJson } from '../dicom/dicomJson.js'
import type { Samples } from '../pixels/imageDescription.js'
import type { Deidentification } from '../privacy/deidentify.js'

export type Vec3 = readonly [number, number, number]

/** A study ready for analysis: uncompressed, one photometric model per kind, geometry resolved. Frames load on demand. */
export interface NormalizedStudy {
  studyInstanceUid: string
  revision: number
  series: NormalizedSeries[]
  /**
   * Its images as Part 10 files, normalized, one after another; a file is gone when the next is asked for. UIDs are those in the file.
   * @param deidentify as the patient becomes unknown; undefined: as they are
   * @param only those of these SOP Instance UIDs; undefined: all
   */
  objects(deidentify: Deidentification | undefined, only?: readonly string[]): AsyncIterable<StudyObject>
  /** What the study has beside: images in a transfer syntax that is stored but not decoded (video). */
  undecodable: { transferSyntax: string; instances: number }[]
}

export interface StudyObject {
  path: string
  byteLength: number
  sopClassUid: string
  sopInstanceUid: string
  seriesInstanceUid: string
  studyInstanceUid: string
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
  /** From a sample that `pixels` gives to the modality value of PS3.3 C.11.1; true for mirrored MONOCHROME1 too. */
  rescale: { slope: number; intercept: number; unit: string }
  geometry?: ImageGeometry
  /** Text in UTF-8, without private elements but those that the provider may see. */
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
  samples: Samples
  photometric: string
  bitsStored: number
  signed: boolean
}
