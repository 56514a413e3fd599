import type { Finding, Findings, ImageReference } from '../analysis/findings.js'
import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { textOf } from '../dicom/dicomJson.js'
import { deriveUid } from '../dicom/uid.js'
import {
  type ContentItem,
  code,
  container,
  date,
  image,
  num,
  polyline,
  type SopReference,
  text,
  uidref,
} from './contentItem.js'
import type { ResultContext, SourceInstance } from './resultContext.js'

/** A segment that shows a finding, by the finding's tracking UID. */
export interface SegmentReference extends SopReference {
  segment: number
  /** Series of the images that were segmented. */
  sourceSeries: string
}

/** Imaging Measurement Report, TID 1500 of PS3.16. */
export function measurementReport(
  findings: Findings,
  context: ResultContext,
  segments: ReadonlyMap<string, SegmentReference> = new Map(),
): ContentItem {
  const sources = new Map(context.sources.map(source => [source.sopInstanceUid, source]))
  return container(undefined, c.imagingMeasurementReport, '1500')(
    code('HAS CONCEPT MOD', c.language, c.englishUs)(), // TID 1204
    ...deviceObserver(findings, context),
    code('HAS CONCEPT MOD', c.procedureReported, procedureOf(context.sources))(),
    imageLibrary(context.sources),
    container('CONTAINS', c.imagingMeasurements)(
      ...algorithmIdentification(findings),
      ...findings.items.flatMap(finding => measurementGroups(finding, sources, segments.get(finding.trackingUid))),
    ),
    qualitativeEvaluations(findings),
  )
}

/** Identifies the algorithm: a new version is another device (IHE AIR). */
export function algorithmDeviceUid({ algorithm }: Findings): string {
  return deriveUid('algorithm', algorithm.manufacturer, algorithm.name, algorithm.version)
}

/** TID 1001 with TID 1002 and 1004. */
function deviceObserver(findings: Findings, context: ResultContext): ContentItem[] {
  return [
    code('HAS OBS CONTEXT', c.observerType, c.device)(),
    uidref('HAS OBS CONTEXT', c.deviceObserverUid, algorithmDeviceUid(findings))(),
    text('HAS OBS CONTEXT', c.deviceObserverName, 'Radbridge')(),
    text('HAS OBS CONTEXT', c.deviceObserverManufacturer, findings.algorithm.manufacturer)(),
    text('HAS OBS CONTEXT', c.deviceObserverModel, findings.algorithm.name)(),
    text('HAS OBS CONTEXT', c.deviceObserverSerial, context.deviceSerialNumber)(),
  ]
}

function procedureOf(sources: readonly SourceInstance[]): CodedConcept {
  return sources.every(source => textOf(source.header, '00080060') === 'CT') ? c.ctUnspecified : c.imagingProcedure
}

const modalities: Readonly<Record<string, CodedConcept>> = { CT: c.ct, CR: c.cr, DX: c.dx }

/** TID 1600, one group (TID 1602) a series. */
function imageLibrary(sources: readonly SourceInstance[]): ContentItem {
  const bySeries = new Map<string, SourceInstance[]>()
  for (const source of sources)
    bySeries.set(source.seriesInstanceUid, [...(bySeries.get(source.seriesInstanceUid) ?? []), source])
  return container(
    'CONTAINS',
    c.imageLibrary,
  )(
    ...[...bySeries.values()].map(images => {
      const { header } = images[0]!
      const modality = modalities[textOf(header, '00080060') ?? '']
      const bodyPart = textOf(header, '00180015')
      const studyDate = textOf(header, '00080020')
      const frameOfReference = textOf(header, '00200052')
      return container('CONTAINS', c.imageLibraryGroup)(
        ...(modality ? [code('HAS ACQ CONTEXT', c.modality, modality)()] : []),
        ...(bodyPart === 'CHEST' ? [code('HAS ACQ CONTEXT', c.targetRegion, c.chest)()] : []),
        ...(studyDate && /^\d{8}$/.test(studyDate) ? [date('HAS ACQ CONTEXT', c.studyDate, studyDate)()] : []),
        ...(frameOfReference ? [uidref('HAS ACQ CONTEXT', c.frameOfReferenceUid, frameOfReference)()] : []),
        ...images.map(source => image('CONTAINS', undefined, referenceTo(source))()),
      )
    }),
  )
}

/** TID 4019. */
function algorithmIdentification({ algorithm }: Findings): ContentItem[] {
  return [
    text('HAS CONCEPT MOD', c.algorithmName, algorithm.name)(),
    text('HAS CONCEPT MOD', c.algorithmVersion, algorithm.version)(),
    ...(algorithm.parameters ? [text('HAS CONCEPT MOD', c.algorithmParameters, algorithm.parameters)()] : []),
  ]
}

/** Quantities of the whole lesion, which belong to its segment; all others are measured in a plane. */
const volumetric: ReadonlySet<string> = new Set([c.volume.value, c.attenuation.value])

/**
 * The groups of one finding, under one tracking UID. With a segment: a planar group with the outline of the key slice, which is what viewers draw,
 * and a volumetric one that refers to the segment. A template allows one kind of geometry in a group, hence two.
 */
function measurementGroups(
  finding: Finding,
  sources: ReadonlyMap<string, SourceInstance>,
  segment: SegmentReference | undefined,
): ContentItem[] {
  const ofVolume = finding.measurements.filter(({ quantity }) => volumetric.has(quantity.value))
  const inPlane = finding.measurements.filter(({ quantity }) => !volumetric.has(quantity.value))
  if (!segment || finding.regions.length === 0 || ofVolume.length === 0 || inPlane.length === 0)
    return [measurementGroup(finding, sources)]
  return [
    measurementGroup({ ...finding, regions: finding.regions.slice(0, 1), measurements: inPlane }, sources),
    volumetricGroup({ ...finding, measurements: ofVolume }, segment),
  ]
}

/** TID 1411 with a Referenced Segment. The series stands after the tracking UID: viewers take the first UIDREF for that. */
function volumetricGroup(finding: Finding, { segment, sourceSeries, ...reference }: SegmentReference): ContentItem {
  return container('CONTAINS', c.measurementGroup, '1411')(
    ...headOf(finding),
    image('CONTAINS', c.referencedSegment, { ...reference, segment })(),
    uidref('CONTAINS', c.sourceSeriesForSegmentation, sourceSeries)(),
    ...tailOf(finding),
  )
}

/** TID 1411 (volumetric) for outlines on several slices, TID 1410 (planar) for one outline, TID 1501 without outlines. */
function measurementGroup(finding: Finding, sources: ReadonlyMap<string, SourceInstance>): ContentItem {
  const template = finding.regions.length > 1 ? '1411' : finding.regions.length === 1 ? '1410' : '1501'
  const find = (reference: ImageReference): SopReference => {
    const source = sources.get(reference.sopInstanceUid)
    if (!source) throw new Error('a finding refers to an image that was not analysed')
    return { ...referenceTo(source), ...(reference.frame ? { frame: reference.frame } : {}) }
  }
  return container('CONTAINS', c.measurementGroup, template)(
    ...headOf(finding),
    ...finding.regions.map(region =>
      polyline('CONTAINS', c.imageRegion, region.points)(image('SELECTED FROM', undefined, find(region))()),
    ),
    ...(finding.regions.length === 0 ? (finding.sources ?? []) : []).map(source =>
      image('CONTAINS', c.sourceOfMeasurement, find(source))(),
    ),
    ...tailOf(finding),
    ...(finding.probability === undefined
      ? []
      : [num('CONTAINS', c.certaintyOfFinding, finding.probability * 100, c.percent)()]),
    ...finding.evaluations.map(({ name, value }) => code('CONTAINS', name, value)()),
  )
}

/** The tracking UID must be the group's first UIDREF, and each item must have a name: viewers rely on both. */
function headOf(finding: Finding): ContentItem[] {
  return [
    text('HAS OBS CONTEXT', c.trackingIdentifier, finding.trackingIdentifier)(),
    uidref('HAS OBS CONTEXT', c.trackingUid, finding.trackingUid)(),
    ...(finding.category ? [code('CONTAINS', c.findingCategory, finding.category)()] : []),
    code('CONTAINS', c.finding, finding.type)(),
  ]
}

/** Finding site and measurements, TID 1419. */
function tailOf(finding: Finding): ContentItem[] {
  return [
    ...(finding.site
      ? [
          code(
            'HAS CONCEPT MOD',
            c.findingSite,
            finding.site,
          )(...(finding.laterality ? [code('HAS CONCEPT MOD', c.laterality, finding.laterality)()] : [])),
        ]
      : []),
    ...finding.measurements.map(({ quantity, value, unit, method, derivation }) =>
      num(
        'CONTAINS',
        quantity,
        value,
        unit,
      )(
        ...(method ? [code('HAS CONCEPT MOD', c.measurementMethod, method)()] : []),
        ...(derivation ? [code('HAS CONCEPT MOD', c.derivation, derivation)()] : []),
      ),
    ),
  ]
}

/** What was looked for and whether it is there. Absence is only said when everything could be looked at. */
function qualitativeEvaluations(findings: Findings): ContentItem {
  const found = new Set(findings.items.map(finding => finding.type.value))
  const presence = findings.lookedFor.flatMap(type => {
    if (found.has(type.value)) return [code('CONTAINS', type, c.present)()]
    return findings.status === 'incomplete' ? [] : [code('CONTAINS', type, c.absent)()]
  })
  return container('CONTAINS', c.qualitativeEvaluations)(
    code('CONTAINS', c.processingSummary, summaryOf(findings))(),
    ...presence,
    ...(findings.conclusion ? [text('CONTAINS', c.conclusion, findings.conclusion)()] : []),
  )
}

/** CID 6047. */
function summaryOf({ status, items, lookedFor }: Findings): CodedConcept {
  const wanted = new Set(lookedFor.map(type => type.value))
  const found = lookedFor.length === 0 ? items.length > 0 : items.some(finding => wanted.has(finding.type.value))
  if (status === 'incomplete') return found ? c.partlyWithFindings : c.partlyWithoutFindings
  return found ? c.succeededWithFindings : c.succeededWithoutFindings
}

function referenceTo({ sopClassUid, sopInstanceUid }: SourceInstance): SopReference {
  return { sopClassUid, sopInstanceUid }
}
