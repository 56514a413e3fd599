import type { Findings } from '../analysis/findings.js'
import type { DicomJson } from '../dicom/dicomJson.js'
import type { ResultFormat } from './resultFormat.js'

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
  format: ResultFormat
  /** The report of an earlier revision that this one supersedes. */
  predecessor?: InstanceReference
  /** The earlier examination that the findings are compared with. */
  prior?: PriorExamination
}

export interface SourceInstance {
  sopClassUid: string
  sopInstanceUid: string
  seriesInstanceUid: string
  header: DicomJson
}

export interface InstanceReference {
  sopClassUid: string
  sopInstanceUid: string
  seriesInstanceUid: string
}

export interface PriorExamination {
  studyInstanceUid: string
  studyDate?: string
  findings: Findings
  /** Images that its findings lie on. */
  sources: readonly SourceInstance[]
  /** Its report, when there is one. */
  report?: InstanceReference
}
