import { textOf } from '../../dicom/dicomJson.js'
import type { Deidentification } from '../../privacy/deidentify.js'
import type { NormalizedImage } from '../normalizedStudy.js'

/** How objects of a patient are de-identified for a provider, by its settings; undefined: they are not. */
export function deidentification(
  { header }: NormalizedImage,
  {
    name,
    deidentify,
    pseudonymKey,
  }: { name: string; deidentify: 'basic' | 'basic+retain-longitudinal' | 'none'; pseudonymKey: string },
): Deidentification | undefined {
  if (deidentify === 'none') return undefined
  return {
    key: `${pseudonymKey} ${name}`,
    patient: `${textOf(header, '00100021') ?? ''} ${textOf(header, '00100020') ?? ''}`,
    retainLongitudinal: deidentify === 'basic+retain-longitudinal',
  }
}
