import type { Finding, FindingMask, Findings, MaskRun } from '../analysis/findings.js'
import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { type DicomJson, numberOf, pick, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { codeSequence } from './contentItem.js'
import { displayColour } from './displayColour.js'
import { canEncode, encodeFrames, nativeFrames } from './encodeFrames.js'
import { packFrames, paintRuns } from './maskFrames.js'
import { dimensionIndex, type Plane, planesOf, referencedSeries, sharedGroups, sourceGroups } from './multiFrame.js'
import type { ResultContext, SourceInstance } from './resultContext.js'
import { variantOf, writer } from './resultFormat.js'
import { madeBy, patientAndStudy, type ResultObject, sequence, written } from './resultObject.js'
import type { SegmentReference } from './templates/measurementGroup.js'

/** A Segmentation with, by tracking UID of the findings, where each of its segments is found. */
export interface Segmentation extends ResultObject {
  segments: ReadonlyMap<string, SegmentReference>
}

type SegmentationType = 'BINARY' | 'PROBABILITY' | 'OCCUPANCY' | 'LABELMAP'
type Segmented = Finding & { mask: FindingMask }

/**
 * Segmentations (PS3.3 A.51) of the findings that have a mask: for each series that was segmented one object for its binary masks, or a Label Map
 * Segmentation (A.90) where the format asks for one and they do not overlap, and one for each kind of fractional masks. Without masks, or with slices
 * of one series that do not fit together, there is none: an object of no frames is not legal.
 */
export async function segmentations(findings: Findings, context: ResultContext): Promise<Segmentation[]> {
  const sources = new Map(context.sources.map(source => [source.sopInstanceUid, source]))
  const groups = new Map<string, { series: string; type: SegmentationType; items: Segmented[] }>()
  for (const finding of findings.items) {
    const { mask } = finding
    const series = mask?.slices[0] && sources.get(mask.slices[0].sopInstanceUid)?.seriesInstanceUid
    if (!mask || !series) continue
    const type = mask.fractional ?? 'BINARY'
    const key = `${series} ${type}`
    const group = groups.get(key) ?? { series, type, items: [] }
    group.items.push({ ...finding, mask })
    groups.set(key, group)
  }
  const made: Segmentation[] = []
  for (const { series, type, items } of groups.values()) {
    const wanted =
      type === 'BINARY' && context.format.segmentation === 'labelmap' && !overlap(items) ? 'LABELMAP' : type
    const object = await segmentation(series, wanted, items, findings, context, sources)
    if (object) made.push(object)
  }
  return made
}

interface Frame {
  /** Undefined in a label map, whose frames hold all segments. */
  segment?: number
  plane: Plane
  runs: readonly { value: number; runs: readonly MaskRun[] }[]
}

async function segmentation(
  sourceSeries: string,
  type: SegmentationType,
  items: readonly Segmented[],
  findings: Findings,
  context: ResultContext,
  sources: ReadonlyMap<string, SourceInstance>,
): Promise<Segmentation | undefined> {
  const planes = planesOf(
    items.flatMap(item => item.mask.slices),
    sources,
  )
  if (!planes) return undefined
  const { order, indexOf } = planes
  const first = order[0]!
  const { header } = first.source
  const { studyInstanceUid, revision, route, arm, format } = context
  const kind = type === 'BINARY' ? [] : [type]
  const variant = [...kind, ...variantOf(format, ['compression', 'codes'])]
  const names = [studyInstanceUid, revision, route, arm, sourceSeries, ...variant] as const
  const sopInstanceUid = deriveUid('seg', ...names)
  const seriesInstanceUid = deriveUid('seg series', studyInstanceUid, route, arm, ...variant)
  const dimension = deriveUid('seg dimension', ...names)
  const [rows, columns] = [numberOf(header, '00280010')!, numberOf(header, '00280011')!]
  const frames = type === 'LABELMAP' ? labelFrames(items, order, indexOf) : segmentFrames(items, order, indexOf)
  const bits = type === 'BINARY' ? 1 : items.length > 255 && type === 'LABELMAP' ? 16 : 8
  const pixels = await pixelData(frames, { rows, columns, bits }, format.compression)
  const spatial = first.position !== undefined
  const frameOfReference = textOf(header, '00200052')
  const lossy = textOf(header, '00282110') === '01'
  const labelmap = type === 'LABELMAP'
  const siteCodes = writer({ ...format, language: 'en' }) // a Segmentation cannot say which language its meanings are in
  const sopClassUid = labelmap ? sopClass.labelMapSegmentation : sopClass.segmentation
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...madeBy(findings, context),
    '00080008': { vr: 'CS', Value: ['DERIVED', 'PRIMARY'] },
    '00080016': { vr: 'UI', Value: [sopClassUid] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['SEG'] },
    '00081115': referencedSeries(sourceSeries, order),
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9002'] },
    '00200013': { vr: 'IS', Value: [String(revision)] },
    ...(spatial && frameOfReference
      ? { '00200052': { vr: 'UI', Value: [frameOfReference] }, '00201040': { vr: 'LO' } }
      : { '00200020': { vr: 'CS', ...pick(header, ['00200020'])['00200020'] } }),
    '00209221': sequence({ '00209164': { vr: 'UI', Value: [dimension] } }),
    '00209222': sequence(
      ...(labelmap ? [] : [dimensionIndex(dimension, '0062000B', '0062000A', 'Segment')]),
      ...(spatial
        ? [dimensionIndex(dimension, '00200032', '00209113', 'Slice position')]
        : [dimensionIndex(dimension, '00209156', '00209111', 'Image')]),
    ),
    '00280002': { vr: 'US', Value: [1] },
    '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
    '00280008': { vr: 'IS', Value: [String(frames.length)] },
    '00280010': { vr: 'US', Value: [rows] },
    '00280011': { vr: 'US', Value: [columns] },
    '00280100': { vr: 'US', Value: [bits] },
    '00280101': { vr: 'US', Value: [bits] },
    '00280102': { vr: 'US', Value: [bits - 1] },
    '00280103': { vr: 'US', Value: [0] },
    ...(labelmap ? { '00280120': { vr: 'US', Value: [0] } } : {}),
    '00282110': { vr: 'CS', Value: [lossy ? '01' : '00'] },
    ...(lossy ? pick(header, ['00282112', '00282114']) : {}),
    '00620001': { vr: 'CS', Value: [labelmap ? 'LABELMAP' : type === 'BINARY' ? 'BINARY' : 'FRACTIONAL'] },
    ...(type === 'PROBABILITY' || type === 'OCCUPANCY'
      ? { '0062000E': { vr: 'US', Value: [255] }, '00620010': { vr: 'CS', Value: [type] } }
      : {}),
    '00620002': { vr: 'SQ', Value: items.map((item, i) => segmentItem(item, i + 1, findings, siteCodes)) },
    '00620013': { vr: 'CS', Value: [labelmap ? 'NO' : 'UNDEFINED'] },
    '00700080': { vr: 'CS', Value: ['AI_SEGMENTATION'] },
    '00700081': { vr: 'LO', Value: ['AI result, not verified'] },
    '00700084': { vr: 'PN', Value: [{ Alphabetic: 'Radbridge' }] },
    '52009229': sequence(sharedGroups(first)),
    '52009230': {
      vr: 'SQ',
      Value: frames.map(({ segment, plane }) => frameGroups(segment, plane, indexOf(plane))),
    },
  }
  const binary = { '7FE00010': { vr: bits === 16 ? 'OW' : 'OB', Value: pixels.frames } }
  const reference = { sopClassUid, sopInstanceUid, sourceSeries }
  return {
    ...written(dataset, binary, pixels.transferSyntaxUid),
    segments: new Map(items.map((item, i) => [item.trackingUid, { ...reference, segment: i + 1 }])),
  }
}

type Planes = NonNullable<ReturnType<typeof planesOf>>

/** A frame for each slice that a segment touches. */
function segmentFrames(items: readonly Segmented[], order: Planes['order'], indexOf: Planes['indexOf']): Frame[] {
  return items.flatMap((item, i) =>
    item.mask.slices.map(slice => ({
      segment: i + 1,
      plane: order[indexOf(slice) - 1]!,
      runs: [{ value: 1, runs: slice.runs }],
    })),
  )
}

/** A frame for each slice that any segment touches; pixels hold segment numbers. */
function labelFrames(items: readonly Segmented[], order: Planes['order'], indexOf: Planes['indexOf']): Frame[] {
  const frames = order.map(plane => ({ plane, runs: [] as { value: number; runs: readonly MaskRun[] }[] }))
  for (const [i, item] of items.entries())
    for (const slice of item.mask.slices) frames[indexOf(slice) - 1]!.runs.push({ value: i + 1, runs: slice.runs })
  return frames
}

async function pixelData(
  frames: readonly Frame[],
  shape: { rows: number; columns: number; bits: 1 | 8 | 16 },
  compression: ResultContext['format']['compression'],
) {
  const { rows, columns, bits } = shape
  if (bits === 1) {
    const runs = frames.map(frame => frame.runs.flatMap(entry => entry.runs))
    if (compression !== 'none' && canEncode(compression, bits))
      return encodeFrames(
        (function* () {
          for (const one of runs) yield packFrames([one], rows, columns)
        })(),
        shape,
        compression,
      )
    return nativeFrames([packFrames(runs, rows, columns)])
  }
  const paint = (frame: Frame) => {
    const samples = bits === 16 ? new Uint16Array(rows * columns) : new Uint8Array(rows * columns)
    for (const { value, runs } of frame.runs) paintRuns(samples, columns, runs, value)
    return new Uint8Array(samples.buffer)
  }
  if (compression === 'none') return nativeFrames(frames.map(paint))
  return encodeFrames(
    (function* () {
      for (const frame of frames) yield paint(frame)
    })(),
    shape,
    compression,
  )
}

/** Do two masks share a pixel? */
function overlap(items: readonly Segmented[]): boolean {
  const taken = new Map<string, [start: number, end: number][]>()
  for (const { sopInstanceUid, frame = 1, runs } of items.flatMap(item => item.mask.slices)) {
    for (const { row, column, length } of runs) {
      const key = `${sopInstanceUid} ${frame} ${row}`
      const spans = taken.get(key) ?? []
      spans.push([column, column + length])
      taken.set(key, spans)
    }
  }
  for (const spans of taken.values()) {
    spans.sort((a, b) => a[0] - b[0])
    if (spans.some(([start], i) => i > 0 && start < spans[i - 1]![1])) return true
  }
  return false
}

/** Segment Description Macro (PS3.3 table C.8.20-4). */
function segmentItem(
  finding: Finding,
  number: number,
  { algorithm }: Findings,
  written: (concept: CodedConcept) => CodedConcept,
): DicomJson {
  return {
    '00620003': codeSequence(written(finding.category ?? c.morphologicallyAbnormalStructure)),
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
    '0062000F': codeSequence(written(finding.type)),
    '00620020': { vr: 'UT', Value: [finding.trackingIdentifier] },
    '00620021': { vr: 'UI', Value: [finding.trackingUid] },
    ...(finding.site
      ? { '00082218': anatomicRegion(written(finding.site), finding.laterality && written(finding.laterality)) }
      : {}),
  }
}

function anatomicRegion(site: CodedConcept, laterality: CodedConcept | undefined) {
  const [item] = codeSequence(site).Value
  return sequence({ ...item!, ...(laterality ? { '00082220': codeSequence(laterality) } : {}) })
}

function frameGroups(segment: number | undefined, plane: Plane, index: number): DicomJson {
  return {
    ...sourceGroups(plane, c.segmentation),
    '00209111': sequence({
      ...(plane.position ? {} : { '00209156': { vr: 'US', Value: [index] } }), // Frame Acquisition Number: what has no place is counted
      '00209157': { vr: 'UL', Value: [...(segment === undefined ? [] : [segment]), index] },
    }),
    ...(segment === undefined ? {} : { '0062000A': sequence({ '0062000B': { vr: 'US', Value: [segment] } }) }),
  }
}
