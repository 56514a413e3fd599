import type { Finding, ImageReference, PlanarRegion } from '../../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../../dicom/concepts.js'
import { sopClass } from '../../dicom/sopClasses.js'
import {
  type ContentItem,
  code,
  container,
  image,
  num,
  polyline,
  type SopReference,
  text,
  uidref,
} from '../contentItem.js'
import type { SourceInstance } from '../resultContext.js'
import type { ResultFormat } from '../resultFormat.js'
import { codeNamed, measurement, readMeasurement } from './measurement.js'

/** A segment that shows a finding, by the finding's tracking UID. */
export interface SegmentReference extends SopReference {
  segment: number
  /** Series of the images that were segmented. */
  sourceSeries: string
}

export type FindSource = (reference: ImageReference) => SopReference

/** What a group says beside its template's own content: time point context, and what became of the lesion. */
export interface GroupExtras {
  context?: readonly ContentItem[]
  evaluations?: readonly ContentItem[]
}

/** @throws Error when a finding refers to an image that is not among the sources */
export function sourceFinder(sources: readonly SourceInstance[]): FindSource {
  const known = new Map(sources.map(source => [source.sopInstanceUid, source]))
  return ({ sopInstanceUid, frame }) => {
    const source = known.get(sopInstanceUid)
    if (!source) throw new Error('a finding refers to an image that was not analysed')
    return { sopClassUid: source.sopClassUid, sopInstanceUid, ...(frame ? { frame } : {}) }
  }
}

/** Quantities of the whole lesion, which belong to its segment; all others are measured in a plane. */
const volumetric = [c.volume, c.attenuation, c.standardizedUptake]

/**
 * The groups of one finding, under one tracking UID. A finding with outlines and a segment has two, by default: one with the outlines, which is
 * what most viewers draw, and one that refers to the segment, which is all that others look at. A template allows one kind of geometry in a group.
 */
export function measurementGroups(
  finding: Finding,
  find: FindSource,
  segment: SegmentReference | undefined,
  groups: ResultFormat['groups'],
  extras: GroupExtras = {},
): ContentItem[] {
  const hasOutline = finding.regions.length > 0
  // Readers that do not know label maps stumble over a reference to one of their segments: the tracking UID alone tells which it is.
  const planarOnly = groups === 'planar' || segment?.sopClassUid === sopClass.labelMapSegmentation
  if (!segment || (hasOutline && planarOnly)) return [outlineGroup(finding, find, extras)]
  if (!hasOutline || groups === 'volumetric') return [volumetricGroup(finding, segment, extras, find)]
  const ofVolume = finding.measurements.filter(({ quantity }) => volumetric.some(v => sameConcept(v, quantity)))
  const inPlane = finding.measurements.filter(entry => !ofVolume.includes(entry))
  // TID 1419 wants a measurement in each group: one that has none is left out.
  if (ofVolume.length === 0) return [outlineGroup(finding, find, extras)]
  if (inPlane.length === 0 && finding.probability === undefined) return [outlineGroup(finding, find, extras)]
  const { probability: _, ...whole } = finding
  return [
    outlineGroup({ ...finding, measurements: inPlane }, find, extras),
    volumetricGroup({ ...whole, measurements: ofVolume, evaluations: [] }, segment, {
      ...(extras.context ? { context: extras.context } : {}),
    }),
  ]
}

/** TID 1411 Volumetric ROI Measurements with a Referenced Segment. Its series stands after the tracking UID: viewers take the first UIDREF for that. */
function volumetricGroup(
  finding: Finding,
  { segment, sourceSeries, sopClassUid, sopInstanceUid }: SegmentReference,
  extras: GroupExtras,
  find?: FindSource,
): ContentItem {
  const slice = find && finding.mask?.slices[0]
  return container('CONTAINS', c.measurementGroup, '1411')(
    ...headOf(finding, extras),
    image('CONTAINS', c.referencedSegment, { sopClassUid, sopInstanceUid, segment })(),
    uidref('CONTAINS', c.sourceSeriesForSegmentation, sourceSeries)(),
    ...tailOf(finding, extras, slice && find(slice)),
  )
}

/** TID 1411 for outlines on several slices, TID 1410 Planar ROI Measurements for one outline, TID 1501 Measurement Group without outlines. */
function outlineGroup(finding: Finding, find: FindSource, extras: GroupExtras): ContentItem {
  const { regions, sources = [] } = finding
  const template = regions.length > 1 ? '1411' : regions.length === 1 ? '1410' : '1501'
  return container('CONTAINS', c.measurementGroup, template)(
    ...headOf(finding, extras),
    ...regions.map(region =>
      polyline('CONTAINS', c.imageRegion, region.points)(image('SELECTED FROM', undefined, find(region))()),
    ),
    ...(regions.length === 0 ? sources : []).map(source => image('CONTAINS', c.sourceOfMeasurement, find(source))()),
    ...tailOf(finding, extras, regions.length === 0 && sources[0] ? find(sources[0]) : undefined),
  )
}

/** The tracking UID must be the group's first UIDREF, and each item must have a name: viewers rely on both. */
function headOf(finding: Finding, { context = [] }: GroupExtras): ContentItem[] {
  return [
    text('HAS OBS CONTEXT', c.trackingIdentifier, finding.trackingIdentifier)(),
    uidref('HAS OBS CONTEXT', c.trackingUid, finding.trackingUid)(),
    ...(finding.category ? [code('CONTAINS', c.findingCategory, finding.category)()] : []),
    code('CONTAINS', c.finding, finding.type)(),
    ...context,
  ]
}

/**
 * Finding site and measurements (TID 1419), confidence and qualitative evaluations.
 * @param source given for groups without a region: a viewer may stumble there over a number that nothing stands below
 */
function tailOf(finding: Finding, { evaluations = [] }: GroupExtras, source?: SopReference): ContentItem[] {
  const { site, laterality, probability } = finding
  const side = laterality ? [code('HAS CONCEPT MOD', c.laterality, laterality)()] : []
  return [
    ...(site ? [code('HAS CONCEPT MOD', c.findingSite, site)(...side)] : []),
    ...finding.measurements.map(entry => measurement(entry, source)),
    ...(probability === undefined ? [] : [certainty(probability, source)]),
    ...finding.evaluations.map(({ name, value }) => code('CONTAINS', name, value)()),
    ...evaluations,
  ]
}

function certainty(probability: number, source: SopReference | undefined): ContentItem {
  return num(
    'CONTAINS',
    c.certaintyOfFinding,
    Math.round(probability * 1e14) / 1e12,
    c.percent,
  )(...(source ? [image('INFERRED FROM', c.sourceOfMeasurement, source)()] : []))
}

/** A group as it is read: a finding, or the part of one that the group holds, and the segment it refers to. */
export interface ReadGroup {
  finding: Finding
  segment?: SopReference
}

/** Names that have a place of their own in a group; every other CODE is an evaluation. */
const structural = [c.findingCategory, c.finding, c.findingSite, c.changeSincePrior, c.timePointType]

/** Reads a Measurement Group of TID 1410, 1411 or 1501, whoever wrote it. */
export function readMeasurementGroup(group: ContentItem, ordinal: number): ReadGroup {
  const { children } = group
  const named = (name: CodedConcept) => children.filter(child => child.name && sameConcept(child.name, name))
  const identifier = named(c.trackingIdentifier)[0]?.value
  const uid = named(c.trackingUid)[0]?.value
  const site = named(c.findingSite)[0]
  const certainty = named(c.certaintyOfFinding)[0]?.value
  const category = codeNamed(children, c.findingCategory)
  const laterality = site && codeNamed(site.children, c.laterality)
  const regions = children.flatMap(readRegion)
  // Makers name the images of a group without a region in several ways: what is no segment is a source.
  const images = children.flatMap(({ value }) =>
    value.type === 'IMAGE' && value.image.segment === undefined && regions.length === 0 ? [value.image] : [],
  )
  const segment = children.find(({ value }) => value.type === 'IMAGE' && value.image.segment !== undefined)?.value
  const probability =
    certainty?.type === 'NUM' && certainty.value !== undefined ? Math.round(certainty.value * 1e12) / 1e14 : undefined
  const finding: Finding = {
    trackingIdentifier: identifier?.type === 'TEXT' && identifier.text ? identifier.text : `Finding ${ordinal}`,
    trackingUid: uid?.type === 'UIDREF' ? uid.uid : '',
    type: codeNamed(children, c.finding) ?? c.lesion,
    ...(category ? { category } : {}),
    ...(site?.value.type === 'CODE' ? { site: site.value.code } : {}),
    ...(laterality ? { laterality } : {}),
    regions,
    ...(images.length > 0 ? { sources: images.map(referenceOf) } : {}),
    measurements: children
      .filter(child => !(child.name && sameConcept(child.name, c.certaintyOfFinding)))
      .flatMap(child => readMeasurement(child) ?? []),
    evaluations: children.flatMap(({ name, value }) =>
      name && value.type === 'CODE' && !structural.some(known => sameConcept(known, name))
        ? [{ name, value: value.code }]
        : [],
    ),
    ...(probability === undefined ? {} : { probability }),
  }
  return { finding, ...(segment?.type === 'IMAGE' ? { segment: segment.image } : {}) }
}

function readRegion({ value, children }: ContentItem): PlanarRegion[] {
  const source = children.find(child => child.value.type === 'IMAGE')?.value
  if (value.type !== 'SCOORD' || source?.type !== 'IMAGE') return []
  const points = value.points.map(([column, row]) => [column, row] as [number, number])
  return [
    {
      ...referenceOf(source.image),
      points: value.graphicType === 'POLYLINE' ? points : around(value.graphicType, points),
    },
  ]
}

function referenceOf({ sopInstanceUid, frame }: SopReference): ImageReference {
  return { sopInstanceUid, ...(frame ? { frame } : {}) }
}

const circleCorners = 64

/** An ellipse or circle as a closed polygon; points as they are (PS3.3 C.18.6.1.2). */
function around(graphicType: string, points: [number, number][]): [number, number][] {
  if (graphicType === 'CIRCLE' && points.length === 2) {
    const [[cx, cy], [x, y]] = points as [[number, number], [number, number]]
    const radius = Math.hypot(x - cx, y - cy)
    return polygon([cx, cy], [radius, 0], [0, radius])
  }
  if (graphicType === 'ELLIPSE' && points.length === 4) {
    const [a, b, p, q] = points as [[number, number], [number, number], [number, number], [number, number]]
    return polygon(
      [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2],
      [(b[0] - a[0]) / 2, (b[1] - a[1]) / 2],
      [(q[0] - p[0]) / 2, (q[1] - p[1]) / 2],
    )
  }
  return points
}

function polygon(
  [cx, cy]: readonly [number, number],
  [ax, ay]: readonly [number, number],
  [bx, by]: readonly [number, number],
): [number, number][] {
  return Array.from({ length: circleCorners + 1 }, (_, i) => {
    const angle = (2 * Math.PI * (i % circleCorners)) / circleCorners
    return [cx + ax * Math.cos(angle) + bx * Math.sin(angle), cy + ay * Math.cos(angle) + by * Math.sin(angle)]
  })
}
