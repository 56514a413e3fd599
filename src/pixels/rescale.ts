import { type DicomJson, numberOf, textOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { mirrorSum } from './photometric.js'

/**
 * From a decoded sample of a frame, from 0, to its modality value (PS3.3 C.11.1); true for mirrored MONOCHROME1 too.
 */
export function rescaleOf(header: DicomJson, frame: number): { slope: number; intercept: number; unit: string } {
  const macro = macroOf(header, frame, '00289145')
  const slope = numberOf(macro, '00281053') ?? 1
  const intercept = numberOf(macro, '00281052') ?? 0
  const unit = textOf(macro, '00281054') ?? (textOf(header, '00080060') === 'CT' ? 'HU' : 'US')
  if (textOf(header, '00280004') !== 'MONOCHROME1') return { slope, intercept, unit }
  // Samples come mirrored, v' = S − v: so that the value of each pixel stays what it was, m' = −m and b' = m·S + b.
  const bitsStored = numberOf(header, '00280101') ?? numberOf(header, '00280100') ?? 16
  const sum = mirrorSum(bitsStored, numberOf(header, '00280103') === 1)
  return { slope: -slope, intercept: slope * sum + intercept, unit }
}
