import { isValidUid } from '../dicom/uid.js'

/** SOP classes of services other than Storage (PS3.6 table A-1). */
export const service = {
  /** PS3.4 annex A. */
  verification: '1.2.840.10008.1.1',
  /** PS3.4 annex J. */
  storageCommitment: '1.2.840.10008.1.20.1',
  /** PS3.4 annex R. */
  instanceAvailability: '1.2.840.10008.5.1.4.33',
  patientRootFind: '1.2.840.10008.5.1.4.1.2.1.1',
  patientRootMove: '1.2.840.10008.5.1.4.1.2.1.2',
  patientRootGet: '1.2.840.10008.5.1.4.1.2.1.3',
  studyRootFind: '1.2.840.10008.5.1.4.1.2.2.1',
  studyRootMove: '1.2.840.10008.5.1.4.1.2.2.2',
  studyRootGet: '1.2.840.10008.5.1.4.1.2.2.3',
} as const

/** The one SOP Instance of Storage Commitment Push Model (PS3.4 J.3.5). */
export const storageCommitmentInstance = '1.2.840.10008.1.20.1.1'

/** Storage SOP classes: those of the standard, and private ones (PS3.4 annex B). */
export function isStorageClass(uid: string): boolean {
  if (/^1\.2\.840\.10008\.5\.1\.4\.1\.1(\.|$)/.test(uid)) return true
  return isValidUid(uid) && !uid.startsWith('1.2.840.10008.')
}
