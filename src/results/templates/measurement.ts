import type { Measurement } from '../../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../../dicom/concepts.js'
import { type ContentItem, code, image, num, type SopReference } from '../contentItem.js'

/**
 * TID 300 Measurement, as TID 1419 includes it: the number with its method and derivation.
 * @param source the image that a number without either was measured on, for groups without a region (TID 320)
 */
export function measurement(
  { quantity, value, unit, method, derivation }: Measurement,
  source?: SopReference,
): ContentItem {
  return num(
    'CONTAINS',
    quantity,
    value,
    unit,
  )(
    ...(method ? [code('HAS CONCEPT MOD', c.measurementMethod, method)()] : []),
    ...(derivation ? [code('HAS CONCEPT MOD', c.derivation, derivation)()] : []),
    ...(source && !method && !derivation ? [image('INFERRED FROM', c.sourceOfMeasurement, source)()] : []),
  )
}

/** The measurement that a NUM holds; undefined if it has no value. */
export function readMeasurement({ name, value, children }: ContentItem): Measurement | undefined {
  if (value.type !== 'NUM' || value.value === undefined || !value.unit || !name) return undefined
  const method = codeNamed(children, c.measurementMethod)
  const derivation = codeNamed(children, c.derivation)
  return {
    quantity: name,
    value: value.value,
    unit: value.unit,
    ...(method ? { method } : {}),
    ...(derivation ? { derivation } : {}),
  }
}

/** The code of the first item with this name. */
export function codeNamed(items: readonly ContentItem[], name: CodedConcept): CodedConcept | undefined {
  const found = items.find(child => child.name && sameConcept(child.name, name))
  return found?.value.type === 'CODE' ? found.value.code : undefined
}
