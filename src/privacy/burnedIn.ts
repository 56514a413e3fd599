import { type DicomJson, textOf } from '../dicom/dicomJson.js'

/** Modalities whose pixels often show the patient's name, so that silence about it is no assurance. */
const suspicious = new Set(['US', 'OT', 'SC', 'XC', 'ES', 'GM'])

/**
 * Why the pixels of an image may name the patient; undefined if nothing speaks for it. Burned In Annotation (0028,0301) decides; where it is
 * absent, the modality and whether the image is a Secondary Capture do.
 */
export function mayNamePatient(header: DicomJson): string | undefined {
  const burnedIn = textOf(header, '00280301')
  if (burnedIn === 'YES') return 'Burned In Annotation is YES'
  if (burnedIn === 'NO') return undefined
  const modality = textOf(header, '00080060') ?? ''
  if (suspicious.has(modality) || header['00080064'])
    return `Burned In Annotation is not given, and the modality is ${modality || 'unknown'}`
  return undefined
}
