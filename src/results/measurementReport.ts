import type { Finding, Findings } from '../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../dicom/concepts.js'
import { type ContentItem, code, container, mapConcepts, type SopReference } from './contentItem.js'
import type { ResultContext } from './resultContext.js'
import { asTheyAre, languageConcepts, writer } from './resultFormat.js'
import { changeOf, derivedMeasurements, readComparison } from './templates/comparison.js'
import { imageLibrary, procedureOf } from './templates/imageLibrary.js'
import {
  measurementGroups,
  readMeasurementGroup,
  type SegmentReference,
  sourceFinder,
} from './templates/measurementGroup.js'
import {
  algorithmIdentification,
  deviceObserver,
  languageOfContent,
  readAlgorithm,
} from './templates/observationContext.js'
import { qualitativeEvaluations, readQualitativeEvaluations } from './templates/qualitativeEvaluations.js'

/** Imaging Measurement Report, TID 1500 of PS3.16, in the language and with the codes of the context's format. */
export function measurementReport(
  findings: Findings,
  context: ResultContext,
  segments: ReadonlyMap<string, SegmentReference> = new Map(),
): ContentItem {
  const { format, sources } = context
  const find = sourceFinder(sources)
  const changed = new Map(findings.comparison?.lesions.map(lesion => [lesion.trackingUid, lesion]))
  const groups = findings.items.flatMap(finding => {
    const lesion = changed.get(finding.trackingUid)
    const evaluations = lesion ? [changeOf(lesion)] : []
    return measurementGroups(finding, find, segments.get(finding.trackingUid), format.groups, { evaluations })
  })
  return reportOf(findings, context, groups, findings.comparison ? [derivedMeasurements(findings.comparison)] : [])
}

/** The frame of TID 1500 around measurement groups. */
export function reportOf(
  findings: Findings,
  { format, sources, deviceSerialNumber }: ResultContext,
  groups: readonly ContentItem[],
  derived: readonly ContentItem[],
): ContentItem {
  const root = container(undefined, c.imagingMeasurementReport, '1500')(
    languageOfContent(languageConcepts[format.language]),
    ...deviceObserver(findings, deviceSerialNumber),
    code('HAS CONCEPT MOD', c.procedureReported, procedureOf(sources))(),
    imageLibrary(sources),
    container('CONTAINS', c.imagingMeasurements)(...algorithmIdentification(findings), ...groups),
    ...derived,
    qualitativeEvaluations(findings),
  )
  const written = writer(format)
  return written === asTheyAre ? root : mapConcepts(root, written)
}

/** Findings as a report tells them, and by tracking UID the segments that show them, which another object holds. */
export interface ReadReport {
  findings: Findings
  segments: ReadonlyMap<string, SopReference>
}

/**
 * Reads an Imaging Measurement Report, whoever wrote it: groups of one tracking UID are one finding.
 * @param maker what the document's equipment says, for reports that name no algorithm
 * @returns undefined if the tree has no Imaging Measurements
 */
export function readMeasurementReport(
  root: ContentItem,
  maker: { manufacturer: string; model: string; version: string },
): ReadReport | undefined {
  const measurements = containerNamed(root, c.imagingMeasurements)
  if (!measurements) return undefined
  const qualitative = containerNamed(root, c.qualitativeEvaluations)
  const groups = measurements.children.filter(child => child.name && sameConcept(child.name, c.measurementGroup))
  const items = new Map<string, Finding>()
  const segments = new Map<string, SopReference>()
  for (const [i, group] of groups.entries()) {
    const { finding, segment } = readMeasurementGroup(group, i + 1)
    const key = finding.trackingUid || `group ${i}`
    const known = items.get(key)
    items.set(key, known ? merged(known, finding) : finding)
    if (segment) segments.set(key, segment)
  }
  const { status, ...said } = readQualitativeEvaluations(qualitative)
  const comparison = readComparison(containerNamed(root, c.derivedMeasurements), groups, qualitative)
  const findings: Findings = {
    algorithm: readAlgorithm(root, maker),
    status: status ?? (items.size > 0 ? 'findings' : 'no-findings'),
    ...said,
    items: [...items.values()],
    ...(comparison ? { comparison } : {}),
  }
  return { findings, segments }
}

function containerNamed(root: ContentItem, name: CodedConcept): ContentItem | undefined {
  return root.children.find(child => child.value.type === 'CONTAINER' && child.name && sameConcept(child.name, name))
}

/** Two groups of one lesion. */
function merged(a: Finding, b: Finding): Finding {
  const sources = [...(a.sources ?? []), ...(b.sources ?? [])]
  return {
    ...b,
    ...a,
    regions: [...a.regions, ...b.regions],
    ...(sources.length > 0 ? { sources } : {}),
    measurements: [...a.measurements, ...b.measurements],
    evaluations: [...a.evaluations, ...b.evaluations],
  }
}
