import type { DicomJson } from '../dicom/dicomJson.js'

/** What a result object needs to know besides the findings: where they come from, and what it is itself. */
export interface ResultContext {
  studyInstanceUid: string
  revision: number
  route: string
  arm: string
  /** Instances that were analysed. */
  sources: readonly SourceInstance[]
  /** When the analysis started: Content Date and Time. */
  analyzedAt: Date
  /** Serial number of this installation. */
  deviceSerialNumber: string
  softwareVersion: string
  /** The report of an earlier revision that this one supersedes. */
  predecessor?: { sopClassUid: string; sopInstanceUid: string; seriesInstanceUid: string }
}

export interface SourceInstance {
  sopClassUid: string
  sopInstanceUid: string
  seriesInstanceUid: string
  header: DicomJson
}
