import type { Finding, FindingMask, Findings } from '../analysis/findings.js'
import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { type DicomJson, numberOf, numbersOf, pick, textOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { type DataSetToWrite, writePart10 } from '../dicom/writePart10.js'
import { codeSequence } from './contentItem.js'
import { displayColour } from './displayColour.js'
import type { SegmentReference } from './measurementReport.js'
import type { ResultContext, SourceInstance } from './resultContext.js'
import { madeBy, patientAndStudy, type ResultObject, sopReference } from './resultObject.js'

/** A Segmentation with, by tracking UID of the findings, where each of its segments is found. */
export interface Segmentation extends ResultObject {
  segments: ReadonlyMap<string, SegmentReference>
}

/** A slice of the source on which something is segmented. */
interface Plane {
  source: SourceInstance
  /** 1-based, of multi-frame sources. */
  frame?: number
  position: readonly [number, number, number]
  /** Along the normal of the slices, mm. */
  distance: number
}

/**
 * Binary Segmentations (PS3.3 A.51) of the findings that have a mask: one object for each series that was segmented, one segment for each
 * finding, a frame for each slice that a segment touches. Without masks, or without geometry of the source, there is none: an object of no frames is
 * not legal.
 */
export function segmentations(findings: Findings, context: ResultContext): Segmentation[] {
  const sources = new Map(context.sources.map(source => [source.sopInstanceUid, source]))
  const bySeries = new Map<string, (Finding & { mask: FindingMask })[]>()
  for (const finding of findings.items) {
    const { mask } = finding
    const series = mask?.slices[0] && sources.get(mask.slices[0].sopInstanceUid)?.seriesInstanceUid
    if (mask && series) bySeries.set(series, [...(bySeries.get(series) ?? []), { ...finding, mask }])
  }
  return [...bySeries].flatMap(([series, items]) => {
    const made = segmentation(series, items, findings, context, sources)
    return made ? [made] : []
  })
}

function segmentation(
  sourceSeries: string,
  items: readonly (Finding & { mask: FindingMask })[],
  findings: Findings,
  context: ResultContext,
  sources: ReadonlyMap<string, SourceInstance>,
): Segmentation | undefined {
  const planes = planesOf(items, sources)
  const first = planes && [...planes.values()][0]
  if (!planes || !first) return undefined
  const { header } = first.source
  const { studyInstanceUid, revision, route, arm } = context
  const names = [studyInstanceUid, revision, route, arm, sourceSeries] as const
  const sopInstanceUid = deriveUid('seg', ...names)
  const seriesInstanceUid = deriveUid('seg series', studyInstanceUid, route, arm)
  const dimension = deriveUid('seg dimension', ...names)
  const [rows, columns] = [numberOf(header, '00280010')!, numberOf(header, '00280011')!]
  const order = [...planes.values()].sort((a, b) => a.distance - b.distance)
  const frames = items.flatMap((item, i) =>
    item.mask.slices.map(slice => ({ segment: i + 1, slice, plane: planes.get(keyOf(slice))! })),
  )
  const pixels = packFrames(
    frames.map(frame => frame.slice.runs),
    rows,
    columns,
  )
  const frameOfReference = textOf(header, '00200052')
  const lossy = textOf(header, '00282110') === '01'
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...madeBy(findings, context),
    '00080008': { vr: 'CS', Value: ['DERIVED', 'PRIMARY'] },
    '00080016': { vr: 'UI', Value: [sopClass.segmentation] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['SEG'] },
    '00081115': referencedSeries(sourceSeries, order),
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9002'] },
    '00200013': { vr: 'IS', Value: [String(revision)] },
    ...(frameOfReference ? { '00200052': { vr: 'UI', Value: [frameOfReference] } } : {}),
    '00201040': { vr: 'LO' },
    '00209221': sequence({ '00209164': { vr: 'UI', Value: [dimension] } }),
    '00209222': sequence(
      dimensionIndex(dimension, '0062000B', '0062000A', 'Segment'),
      dimensionIndex(dimension, '00200032', '00209113', 'Slice position'),
    ),
    '00280002': { vr: 'US', Value: [1] },
    '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
    '00280008': { vr: 'IS', Value: [String(frames.length)] },
    '00280010': { vr: 'US', Value: [rows] },
    '00280011': { vr: 'US', Value: [columns] },
    '00280100': { vr: 'US', Value: [1] },
    '00280101': { vr: 'US', Value: [1] },
    '00280102': { vr: 'US', Value: [0] },
    '00280103': { vr: 'US', Value: [0] },
    '00282110': { vr: 'CS', Value: [lossy ? '01' : '00'] },
    ...(lossy ? pick(header, ['00282112', '00282114']) : {}),
    '00620001': { vr: 'CS', Value: ['BINARY'] },
    '00620002': { vr: 'SQ', Value: items.map((item, i) => segmentItem(item, i + 1, findings)) },
    '00620013': { vr: 'CS', Value: ['UNDEFINED'] },
    '00700080': { vr: 'CS', Value: ['AI_SEGMENTATION'] },
    '00700081': { vr: 'LO', Value: ['AI result, not verified'] },
    '00700084': { vr: 'PN', Value: [{ Alphabetic: 'Radbridge' }] },
    '52009229': sequence(sharedGroups(first)),
    '52009230': {
      vr: 'SQ',
      Value: frames.map(({ segment, plane }) => frameGroups(segment, plane, order.indexOf(plane) + 1)),
    },
  }
  const toWrite: DataSetToWrite = { ...dataset, '7FE00010': { vr: 'OB', Value: [pixels.buffer] } }
  const reference = { sopClassUid: sopClass.segmentation, sopInstanceUid, sourceSeries }
  return {
    ...reference,
    studyInstanceUid,
    seriesInstanceUid,
    dataset,
    bytes: writePart10(toWrite),
    segments: new Map(items.map((item, i) => [item.trackingUid, { ...reference, segment: i + 1 }])),
  }
}

/**
 * The slices that are touched, by instance and frame; undefined if one of them has no geometry, or another orientation, spacing or size than the first.
 */
function planesOf(
  items: readonly { mask: FindingMask }[],
  sources: ReadonlyMap<string, SourceInstance>,
): ReadonlyMap<string, Plane> | undefined {
  const planes = new Map<string, Plane>()
  let shared: string | undefined
  for (const slice of items.flatMap(item => item.mask.slices)) {
    if (planes.has(keyOf(slice))) continue
    const source = sources.get(slice.sopInstanceUid)
    const geometry = source && geometryOf(source.header, (slice.frame ?? 1) - 1)
    if (!source || !geometry) return undefined
    shared ??= geometry.shared
    if (geometry.shared !== shared) return undefined
    planes.set(keyOf(slice), { source, ...geometry, ...(slice.frame ? { frame: slice.frame } : {}) })
  }
  return planes
}

function keyOf({ sopInstanceUid, frame = 1 }: { sopInstanceUid: string; frame?: number }): string {
  return `${sopInstanceUid} ${frame}`
}

function geometryOf(header: DicomJson, frame: number) {
  const position = numbersOf(macroOf(header, frame, '00209113'), '00200032')
  const orientation = numbersOf(macroOf(header, frame, '00209116'), '00200037')
  const spacing = numbersOf(macroOf(header, frame, '00289110'), '00280030')
  if (position.length !== 3 || orientation.length !== 6 || spacing.length !== 2) return undefined
  const [ax, ay, az, bx, by, bz] = orientation as [number, number, number, number, number, number]
  const normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
  const distance = normal.reduce((sum, component, axis) => sum + component * position[axis]!, 0)
  const size = [numberOf(header, '00280010'), numberOf(header, '00280011')]
  return {
    position: position as unknown as readonly [number, number, number],
    distance,
    shared: JSON.stringify([orientation, spacing, size]),
  }
}

/** One bit a pixel, frames one after another without padding between them, the first pixel in the lowest bit (PS3.5 8.1.1). */
function packFrames(
  frames: readonly (readonly { row: number; column: number; length: number }[])[],
  rows: number,
  columns: number,
): Uint8Array<ArrayBuffer> {
  const bytes = Math.ceil((frames.length * rows * columns) / 8)
  const packed = new Uint8Array(bytes + (bytes % 2))
  for (const [frame, runs] of frames.entries()) {
    for (const { row, column, length } of runs) {
      const start = (frame * rows + row) * columns + column
      for (let bit = start; bit < start + length; bit++) packed[bit >> 3]! |= 1 << (bit & 7)
    }
  }
  return packed
}

/** Segment Description Macro (PS3.3 table C.8.20-4). */
function segmentItem(finding: Finding, number: number, { algorithm }: Findings): DicomJson {
  return {
    '00620003': codeSequence(finding.category ?? c.morphologicallyAbnormalStructure),
    '00620004': { vr: 'US', Value: [number] },
    '00620005': { vr: 'LO', Value: [finding.trackingIdentifier.slice(0, 64)] },
    '00620007': sequence({
      '0066002F': codeSequence(c.artificialIntelligence),
      '00660031': { vr: 'LO', Value: [algorithm.version.slice(0, 64)] },
      '00660036': { vr: 'LO', Value: [algorithm.name.slice(0, 64)] },
    }),
    '00620008': { vr: 'CS', Value: ['AUTOMATIC'] },
    '00620009': { vr: 'LO', Value: [algorithm.name.slice(0, 64)] },
    '0062000D': { vr: 'US', Value: displayColour(number) },
    '0062000F': codeSequence(finding.type),
    '00620020': { vr: 'UT', Value: [finding.trackingIdentifier] },
    '00620021': { vr: 'UI', Value: [finding.trackingUid] },
    ...(finding.site ? { '00082218': anatomicRegion(finding.site, finding.laterality) } : {}),
  }
}

function anatomicRegion(site: CodedConcept, laterality: CodedConcept | undefined) {
  const [item] = codeSequence(site).Value
  return sequence({ ...item!, ...(laterality ? { '00082220': codeSequence(laterality) } : {}) })
}

/** What is the same for all frames: pixel spacing, slice thickness, orientation. */
function sharedGroups({ source, frame = 1 }: Plane): DicomJson {
  const measures = macroOf(source.header, frame - 1, '00289110')
  return {
    '00209116': sequence(pick(macroOf(source.header, frame - 1, '00209116'), ['00200037'])),
    '00289110': sequence(pick(measures, ['00280030', '00180050', '00180088'])),
  }
}

function frameGroups(segment: number, { source, frame, position }: Plane, positionIndex: number): DicomJson {
  return {
    '00089124': sequence({
      '00082112': sequence({
        ...sopReference(source),
        ...(frame ? { '00081160': { vr: 'IS', Value: [String(frame)] } } : {}),
        '0028135A': { vr: 'CS', Value: ['YES'] }, // Spatial Locations Preserved
        '0040A170': codeSequence(c.sourceImageForProcessing),
      }),
      '00089215': codeSequence(c.segmentation),
    }),
    '00209111': sequence({ '00209157': { vr: 'UL', Value: [segment, positionIndex] } }),
    '00209113': sequence({ '00200032': { vr: 'DS', Value: [...position] } }),
    '0062000A': sequence({ '0062000B': { vr: 'US', Value: [segment] } }),
  }
}

function dimensionIndex(organization: string, pointer: string, group: string, label: string): DicomJson {
  return {
    '00209164': { vr: 'UI', Value: [organization] },
    '00209165': { vr: 'AT', Value: [pointer] },
    '00209167': { vr: 'AT', Value: [group] },
    '00209421': { vr: 'LO', Value: [label] },
  }
}

/** Common Instance Reference Module (PS3.3 C.12.2). */
function referencedSeries(series: string, planes: readonly Plane[]) {
  const instances = new Map(planes.map(({ source }) => [source.sopInstanceUid, sopReference(source)]))
  return sequence({
    '0008114A': { vr: 'SQ', Value: [...instances.values()] },
    '0020000E': { vr: 'UI', Value: [series] },
  })
}

function sequence(...items: DicomJson[]) {
  return { vr: 'SQ', Value: items }
}
