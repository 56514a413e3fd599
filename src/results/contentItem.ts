import type { CodedConcept } from '../dicom/concepts.js'
import { decimalString } from '../dicom/decimalString.js'
import type { DicomJson } from '../dicom/dicomJson.js'

/** Relationship Type (0040,A010), PS3.3 C.17.3.2.4. */
export type Relationship =
  | 'CONTAINS'
  | 'HAS CONCEPT MOD'
  | 'HAS OBS CONTEXT'
  | 'HAS ACQ CONTEXT'
  | 'INFERRED FROM'
  | 'SELECTED FROM'
  | 'HAS PROPERTIES'

/** An image or another instance that content refers to. `frame` is 1-based. */
export interface SopReference {
  sopClassUid: string
  sopInstanceUid: string
  frame?: number
  /** Referenced Segment Number, where a Segmentation is referred to. */
  segment?: number
}

type Value =
  | { type: 'CONTAINER'; template?: string }
  | { type: 'CODE'; code: CodedConcept }
  | { type: 'TEXT'; text: string }
  | { type: 'UIDREF'; uid: string }
  | { type: 'DATE'; date: string }
  | { type: 'NUM'; value: number; unit: CodedConcept }
  | { type: 'IMAGE'; image: SopReference }
  | { type: 'SCOORD'; graphicType: 'POLYLINE' | 'POINT'; points: readonly (readonly [number, number])[] }

/** A node of an SR content tree (PS3.3 C.17.3). */
export interface ContentItem {
  relationship?: Relationship
  name?: CodedConcept
  value: Value
  children: ContentItem[]
}

const item =
  <A extends unknown[]>(make: (...args: A) => Value) =>
  (relationship: Relationship | undefined, name: CodedConcept | undefined, ...args: A) =>
  (...children: ContentItem[]): ContentItem => ({
    ...(relationship ? { relationship } : {}),
    ...(name ? { name } : {}),
    value: make(...args),
    children,
  })

/** `template` is the TID of PS3.16 that the container follows. */
export const container = item((template?: string) => ({ type: 'CONTAINER', ...(template ? { template } : {}) }))
export const code = item((concept: CodedConcept) => ({ type: 'CODE', code: concept }))
export const text = item((value: string) => ({ type: 'TEXT', text: value }))
export const uidref = item((uid: string) => ({ type: 'UIDREF', uid }))
export const date = item((value: string) => ({ type: 'DATE', date: value }))
export const num = item((value: number, unit: CodedConcept) => ({ type: 'NUM', value, unit }))
export const image = item((reference: SopReference) => ({ type: 'IMAGE', image: reference }))
export const polyline = item((points: readonly (readonly [number, number])[]) => ({
  type: 'SCOORD',
  graphicType: 'POLYLINE',
  points,
}))

/** A concept as an item of a code sequence (PS3.3 8.8). */
function codeItem(concept: CodedConcept): DicomJson {
  // Short Code Value holds 16 characters; longer ones have an attribute of their own.
  const tag = concept.value.length <= 16 ? '00080100' : '00080119'
  return {
    [tag]: { vr: tag === '00080100' ? 'SH' : 'UC', Value: [concept.value] },
    '00080102': { vr: 'SH', Value: [concept.scheme] },
    '00080104': { vr: 'LO', Value: [concept.meaning] },
  }
}

export function codeSequence(concept: CodedConcept) {
  return { vr: 'SQ', Value: [codeItem(concept)] }
}

/** The attributes of a content item and, nested, of its children. */
export function contentItemJson({ relationship, name, value, children }: ContentItem): DicomJson {
  return {
    ...(relationship ? { '0040A010': { vr: 'CS', Value: [relationship] } } : {}),
    '0040A040': { vr: 'CS', Value: [value.type] },
    ...(name ? { '0040A043': codeSequence(name) } : {}),
    ...valueJson(value),
    ...(children.length > 0 ? { '0040A730': { vr: 'SQ', Value: children.map(contentItemJson) } } : {}),
  }
}

function valueJson(value: Value): DicomJson {
  switch (value.type) {
    case 'CONTAINER':
      return {
        '0040A050': { vr: 'CS', Value: ['SEPARATE'] },
        ...(value.template
          ? {
              '0040A504': {
                vr: 'SQ',
                Value: [
                  { '00080105': { vr: 'CS', Value: ['DCMR'] }, '0040DB00': { vr: 'CS', Value: [value.template] } },
                ],
              },
            }
          : {}),
      }
    case 'CODE':
      return { '0040A168': codeSequence(value.code) }
    case 'TEXT':
      return { '0040A160': { vr: 'UT', Value: [value.text] } }
    case 'UIDREF':
      return { '0040A124': { vr: 'UI', Value: [value.uid] } }
    case 'DATE':
      return { '0040A121': { vr: 'DA', Value: [value.date] } }
    case 'NUM':
      return {
        '0040A300': {
          vr: 'SQ',
          Value: [
            { '004008EA': codeSequence(value.unit), '0040A30A': { vr: 'DS', Value: [decimalString(value.value)] } },
          ],
        },
      }
    case 'IMAGE':
      return {
        '00081199': {
          vr: 'SQ',
          Value: [
            {
              '00081150': { vr: 'UI', Value: [value.image.sopClassUid] },
              '00081155': { vr: 'UI', Value: [value.image.sopInstanceUid] },
              ...(value.image.frame ? { '00081160': { vr: 'IS', Value: [String(value.image.frame)] } } : {}),
              ...(value.image.segment ? { '0062000B': { vr: 'US', Value: [value.image.segment] } } : {}),
            },
          ],
        },
      }
    case 'SCOORD':
      return {
        '00700022': { vr: 'FL', Value: value.points.flat() },
        '00700023': { vr: 'CS', Value: [value.graphicType] },
      }
  }
}

/** Every image that the tree refers to, once each. */
export function referencesIn(root: ContentItem): SopReference[] {
  const found = new Map<string, SopReference>()
  const visit = ({ value, children }: ContentItem) => {
    if (value.type === 'IMAGE') found.set(value.image.sopInstanceUid, value.image)
    children.forEach(visit)
  }
  visit(root)
  return [...found.values()]
}
