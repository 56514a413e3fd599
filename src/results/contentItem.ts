import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { decimalString } from '../dicom/decimalString.js'
import { type DicomJson, itemsOf, numberOf, numbersOf, textOf } from '../dicom/dicomJson.js'

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

/** Graphic Type (0070,0023), PS3.3 C.18.6.1.2. */
export type GraphicType = 'POINT' | 'MULTIPOINT' | 'POLYLINE' | 'CIRCLE' | 'ELLIPSE'
type Point = readonly [column: number, row: number]

type Value =
  | { type: 'CONTAINER'; template?: string }
  | { type: 'CODE'; code: CodedConcept }
  | { type: 'TEXT'; text: string }
  | { type: 'UIDREF'; uid: string }
  | { type: 'DATE'; date: string }
  /** Without a value where the measurement has none (Measured Value Sequence empty). */
  | { type: 'NUM'; value?: number; unit?: CodedConcept }
  | { type: 'IMAGE'; image: SopReference }
  | { type: 'SCOORD'; graphicType: GraphicType; points: readonly Point[] }
  /** Types that Radbridge does not write; read, their content is not looked at. */
  | { type: 'OTHER'; valueType: string; text: string }

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
export const polyline = item((points: readonly Point[]) => ({ type: 'SCOORD', graphicType: 'POLYLINE', points }))

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

/** Concepts are few and code sequences many: each concept's is made once, and is not to be changed. */
const sequences = new WeakMap<CodedConcept, { vr: string; Value: DicomJson[] }>()

export function codeSequence(concept: CodedConcept): { vr: string; Value: DicomJson[] } {
  const known = sequences.get(concept)
  if (known) return known
  const sequence = { vr: 'SQ', Value: [codeItem(concept)] }
  sequences.set(concept, sequence)
  return sequence
}

/** The concept that the first item of a code sequence names; undefined if there is none. */
export function conceptIn(dataset: DicomJson, sequence: string): CodedConcept | undefined {
  const coded = itemsOf(dataset, sequence)[0]
  const value = coded && (textOf(coded, '00080100') ?? textOf(coded, '00080119') ?? textOf(coded, '00080120'))
  if (value === undefined) return undefined
  return { value, scheme: textOf(coded!, '00080102') ?? '', meaning: textOf(coded!, '00080104') ?? value }
}

/** The attributes of a content item and, nested, of its children. */
export function contentItemJson({ relationship, name, value, children }: ContentItem): DicomJson {
  const item: DicomJson = {}
  if (relationship) item['0040A010'] = { vr: 'CS', Value: [relationship] }
  item['0040A040'] = { vr: 'CS', Value: [value.type] }
  if (name) item['0040A043'] = codeSequence(name)
  Object.assign(item, valueJson(value))
  if (children.length > 0) item['0040A730'] = { vr: 'SQ', Value: children.map(contentItemJson) }
  return item
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
      return { '0040A300': measuredValue(value) }
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
    case 'OTHER':
      throw new Error(`a content item of type ${value.valueType} cannot be written`)
  }
}

/** Measured Value Sequence; Floating Point Value stands beside where a Decimal String is not precise enough (PS3.3 C.18.1). */
function measuredValue({ value, unit }: { value?: number; unit?: CodedConcept }) {
  if (value === undefined || !unit) return { vr: 'SQ' }
  const decimal = decimalString(value)
  return {
    vr: 'SQ',
    Value: [
      {
        '004008EA': codeSequence(unit),
        '0040A30A': { vr: 'DS', Value: [decimal] },
        ...(Number(decimal) === value ? {} : { '0040A161': { vr: 'FD', Value: [value] } }),
      },
    ],
  }
}

/** Containers within containers deeper than this are no report but an attack on the reader. */
const maxDepth = 64

/**
 * The content tree of an SR document, whoever made it.
 * @param dataset the document, or an item of a Content Sequence
 */
export function readContentItem(dataset: DicomJson, depth = 0): ContentItem {
  const relationship = textOf(dataset, '0040A010') as Relationship | undefined
  const name = conceptIn(dataset, '0040A043')
  return {
    ...(relationship ? { relationship } : {}),
    ...(name ? { name } : {}),
    value: readValue(dataset),
    children: depth < maxDepth ? itemsOf(dataset, '0040A730').map(child => readContentItem(child, depth + 1)) : [],
  }
}

function readValue(dataset: DicomJson): Value {
  const valueType = textOf(dataset, '0040A040') ?? ''
  switch (valueType) {
    case 'CONTAINER': {
      const template = itemsOf(dataset, '0040A504')[0]
      const id = template && textOf(template, '0040DB00')
      return { type: 'CONTAINER', ...(id ? { template: id } : {}) }
    }
    case 'CODE':
      return { type: 'CODE', code: conceptIn(dataset, '0040A168') ?? c.undetermined }
    case 'TEXT':
      return { type: 'TEXT', text: textOf(dataset, '0040A160') ?? '' }
    case 'UIDREF':
      return { type: 'UIDREF', uid: textOf(dataset, '0040A124') ?? '' }
    case 'DATE':
      return { type: 'DATE', date: textOf(dataset, '0040A121') ?? '' }
    case 'NUM': {
      const measured = itemsOf(dataset, '0040A300')[0]
      const value = measured && (numberOf(measured, '0040A161') ?? numberOf(measured, '0040A30A'))
      const unit = measured && conceptIn(measured, '004008EA')
      return { type: 'NUM', ...(value === undefined ? {} : { value }), ...(unit ? { unit } : {}) }
    }
    case 'IMAGE':
      return { type: 'IMAGE', image: readReference(dataset) }
    case 'SCOORD': {
      const flat = numbersOf(dataset, '00700022')
      const points = Array.from({ length: flat.length >> 1 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!] as const)
      return { type: 'SCOORD', graphicType: (textOf(dataset, '00700023') ?? 'POINT') as GraphicType, points }
    }
    default:
      return { type: 'OTHER', valueType, text: otherText(dataset) }
  }
}

function readReference(dataset: DicomJson): SopReference {
  const reference = itemsOf(dataset, '00081199')[0] ?? {}
  const frame = numberOf(reference, '00081160')
  const segment = numberOf(reference, '0062000B')
  return {
    sopClassUid: textOf(reference, '00081150') ?? '',
    sopInstanceUid: textOf(reference, '00081155') ?? '',
    ...(frame ? { frame } : {}),
    ...(segment ? { segment } : {}),
  }
}

/** Date and time, time, person name: what a reader sees of them. */
function otherText(dataset: DicomJson): string {
  return ['0040A120', '0040A122', '0040A123'].map(tag => textOf(dataset, tag)).find(value => value !== undefined) ?? ''
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

/** Every concept of the tree: names, values, units. */
export function conceptsIn(root: ContentItem): CodedConcept[] {
  const found: CodedConcept[] = []
  const visit = ({ name, value, children }: ContentItem) => {
    if (name) found.push(name)
    if (value.type === 'CODE') found.push(value.code)
    else if (value.type === 'NUM' && value.unit) found.push(value.unit)
    children.forEach(visit)
  }
  visit(root)
  return found
}

/** The tree with each concept replaced, names, values and units alike. */
export function mapConcepts(root: ContentItem, replace: (concept: CodedConcept) => CodedConcept): ContentItem {
  const { name, value } = root
  return {
    ...root,
    ...(name ? { name: replace(name) } : {}),
    value:
      value.type === 'CODE'
        ? { ...value, code: replace(value.code) }
        : value.type === 'NUM' && value.unit
          ? { ...value, unit: replace(value.unit) }
          : value,
    children: root.children.map(child => mapConcepts(child, replace)),
  }
}
