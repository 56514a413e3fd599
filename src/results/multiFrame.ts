import type { ImageReference } from '../analysis/findings.js'
import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { type DicomJson, numberOf, numbersOf, pick } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { codeSequence } from './contentItem.js'
import type { SourceInstance } from './resultContext.js'
import { sequence, sopReference } from './resultObject.js'

/** An image of the source on which something lies that a derived multi-frame object shows. */
export interface Plane {
  source: SourceInstance
  /** 1-based, of multi-frame sources. */
  frame?: number
  /** Undefined where the source has no place in the patient: projections, ultrasound. */
  position?: readonly [number, number, number]
}

/** Planes in the order of their place along the normal, or, without places, as they come. */
export interface Planes {
  order: readonly Plane[]
  /** 1-based index of a plane, as Dimension Index Values count. */
  indexOf(plane: ImageReference | Plane): number
}

/**
 * The images that are touched, once each; undefined if there is none, one is not among the sources, some have a place and others not, or they
 * differ in orientation, spacing or size.
 */
export function planesOf(
  slices: readonly ImageReference[],
  sources: ReadonlyMap<string, SourceInstance>,
): Planes | undefined {
  const planes = new Map<string, Plane & { distance: number }>()
  let shared: string | undefined
  for (const slice of slices) {
    const key = keyOf(slice)
    if (planes.has(key)) continue
    const source = sources.get(slice.sopInstanceUid)
    if (!source) return undefined
    const { shared: own, ...place } = placeOf(source.header, (slice.frame ?? 1) - 1)
    shared ??= own
    if (own !== shared) return undefined
    planes.set(key, { source, ...place, ...(slice.frame ? { frame: slice.frame } : {}) })
  }
  if (planes.size === 0) return undefined
  const order = [...planes.values()].sort((a, b) => a.distance - b.distance)
  const index = new Map(order.map((plane, i) => [keyOf(referenceOf(plane)), i + 1]))
  return { order, indexOf: plane => index.get(keyOf('source' in plane ? referenceOf(plane) : plane))! }
}

function referenceOf({ source, frame }: Plane): ImageReference {
  return { sopInstanceUid: source.sopInstanceUid, ...(frame ? { frame } : {}) }
}

function keyOf({ sopInstanceUid, frame = 1 }: ImageReference): string {
  return `${sopInstanceUid} ${frame}`
}

/** Where a frame lies, and what must be the same for all planes of an object. */
function placeOf(header: DicomJson, frame: number): Pick<Plane, 'position'> & { distance: number; shared: string } {
  const position = numbersOf(macroOf(header, frame, '00209113'), '00200032')
  const orientation = numbersOf(macroOf(header, frame, '00209116'), '00200037')
  const spacing = numbersOf(macroOf(header, frame, '00289110'), '00280030')
  const size = [numberOf(header, '00280010'), numberOf(header, '00280011')]
  if (position.length !== 3 || orientation.length !== 6 || spacing.length !== 2)
    return { distance: 0, shared: JSON.stringify(size) }
  const [ax, ay, az, bx, by, bz] = orientation as [number, number, number, number, number, number]
  const normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
  return {
    position: position as unknown as readonly [number, number, number],
    distance: normal.reduce((sum, component, axis) => sum + component * position[axis]!, 0),
    shared: JSON.stringify([orientation, spacing, size]),
  }
}

/** Shared Functional Groups: pixel spacing, slice thickness, orientation; nothing where the source has no place in the patient. */
export function sharedGroups({ source, frame = 1, position }: Plane): DicomJson {
  if (!position) return {}
  const measures = macroOf(source.header, frame - 1, '00289110')
  return {
    '00209116': sequence(pick(macroOf(source.header, frame - 1, '00209116'), ['00200037'])),
    '00289110': sequence(pick(measures, ['00280030', '00180050', '00180088'])),
  }
}

/** What each frame says of its source: the Derivation Image and, if it has a place, the Plane Position macros. */
export function sourceGroups({ source, frame, position }: Plane, derivation: CodedConcept): DicomJson {
  return {
    '00089124': sequence({
      '00082112': sequence({
        ...sopReference(source),
        ...(frame ? { '00081160': { vr: 'IS', Value: [String(frame)] } } : {}),
        '0028135A': { vr: 'CS', Value: ['YES'] }, // Spatial Locations Preserved
        '0040A170': codeSequence(c.sourceImageForProcessing),
      }),
      '00089215': codeSequence(derivation),
    }),
    ...(position ? { '00209113': sequence({ '00200032': { vr: 'DS', Value: [...position] } }) } : {}),
  }
}

export function dimensionIndex(organization: string, pointer: string, group: string, label: string): DicomJson {
  return {
    '00209164': { vr: 'UI', Value: [organization] },
    '00209165': { vr: 'AT', Value: [pointer] },
    '00209167': { vr: 'AT', Value: [group] },
    '00209421': { vr: 'LO', Value: [label] },
  }
}

/** Common Instance Reference Module (PS3.3 C.12.2). */
export function referencedSeries(series: string, planes: readonly Plane[]) {
  const instances = new Map(planes.map(({ source }) => [source.sopInstanceUid, sopReference(source)]))
  return sequence({
    '0008114A': { vr: 'SQ', Value: [...instances.values()] },
    '0020000E': { vr: 'UI', Value: [series] },
  })
}
