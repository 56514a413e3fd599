import type { Findings } from '../analysis/findings.js'
import { privateScheme } from '../dicom/concepts.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { type ContentItem, conceptsIn, contentItemJson, referencesIn } from './contentItem.js'
import { measurementReport } from './measurementReport.js'
import type { ResultContext } from './resultContext.js'
import { variantOf } from './resultFormat.js'
import {
  identityOf,
  madeBy,
  patientAndStudy,
  type ResultObject,
  sequence,
  sopReference,
  written,
} from './resultObject.js'
import type { Segmentation } from './segmentation.js'

/** Settings of the format that change a report, or the segmentations it refers to. */
const reportSettings = ['language', 'report', 'groups', 'codes', 'segmentation', 'compression'] as const

/**
 * Comprehensive 3D SR (PS3.3 A.35.13), or Comprehensive SR (A.35.3) if the format asks for it, with the measurement report of the findings. The same findings in the same context give the
 * same bytes: its UIDs derive from study, revision, route and arm, its times from the analysis.
 * @param segmentations of the same findings, to which the report refers
 */
export function structuredReport(
  findings: Findings,
  context: ResultContext,
  segmentations: readonly Segmentation[] = [],
): ResultObject {
  const segments = new Map(segmentations.flatMap(segmentation => [...segmentation.segments]))
  const content = measurementReport(findings, context, segments)
  const variant = variantOf(context.format, reportSettings)
  return reportObject('sr', '9001', variant, content, findings, context, segmentations)
}

/** UID of the SR of an analysis: a later revision finds the earlier report by it. */
export function reportUid(
  findings: Pick<Findings, 'status'>,
  context: Pick<ResultContext, 'studyInstanceUid' | 'revision' | 'route' | 'arm' | 'format'>,
): string {
  return deriveUid('sr', ...identityOf(findings, context), ...variantOf(context.format, reportSettings))
}

/** A document with this content: header, evidence, flags. */
export function reportObject(
  kind: string,
  seriesNumber: string,
  variant: readonly string[],
  content: ContentItem,
  findings: Findings,
  context: ResultContext,
  segmentations: readonly Segmentation[],
): ResultObject {
  const first = context.sources[0]
  if (!first) throw new Error('a report needs the instances that were analysed')
  const { studyInstanceUid, revision, route, arm, format, prior } = context
  const sopInstanceUid = deriveUid(kind, ...identityOf(findings, context), ...variant)
  const seriesInstanceUid = deriveUid(`${kind} series`, studyInstanceUid, route, arm, ...variant)
  const sopClassUid = format.report === 'comprehensive' ? sopClass.comprehensiveSr : sopClass.comprehensive3dSr
  const seriesOf = new Map(
    [...context.sources, ...segmentations].map(object => [object.sopInstanceUid, object.seriesInstanceUid]),
  )
  const own = new Set([...context.sources, ...segmentations].map(object => object.sopInstanceUid))
  const references = referencesIn(content)
  const priorSeries = new Map(prior?.sources.map(source => [source.sopInstanceUid, source.seriesInstanceUid]))
  const pertinent = [
    ...references
      .filter(({ sopInstanceUid: uid }) => !own.has(uid))
      .map(reference => ({
        ...reference,
        seriesInstanceUid: priorSeries.get(reference.sopInstanceUid)!,
      })),
    ...(prior?.report ? [prior.report] : []),
  ]
  const partial = findings.status !== 'findings' && findings.status !== 'no-findings'
  const dataset: DicomJson = {
    ...patientAndStudy(first.header),
    ...madeBy(findings, context),
    '00080016': { vr: 'UI', Value: [sopClassUid] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['SR'] },
    '00080110': codingSchemes(content),
    '00081111': { vr: 'SQ' },
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: [seriesNumber] },
    '00200013': { vr: 'IS', Value: [String(revision)] },
    // SR Document General: nothing made by a machine may look verified or final.
    '0040A491': { vr: 'CS', Value: [partial ? 'PARTIAL' : 'COMPLETE'] },
    ...(partial ? { '0040A492': { vr: 'LO', Value: [(findings.reason ?? findings.status).slice(0, 64)] } } : {}),
    '0040A493': { vr: 'CS', Value: ['UNVERIFIED'] },
    '0040A496': { vr: 'CS', Value: ['PRELIMINARY'] },
    '0040A372': { vr: 'SQ' },
    ...referencedRequest(first.header, studyInstanceUid),
    '0040A375': evidence(
      studyInstanceUid,
      references
        .filter(({ sopInstanceUid: uid }) => own.has(uid))
        .map(reference => ({ ...reference, seriesInstanceUid: seriesOf.get(reference.sopInstanceUid)! })),
    ),
    ...(prior && pertinent.length > 0 ? { '0040A385': evidence(prior.studyInstanceUid, pertinent) } : {}),
    ...(context.predecessor ? { '0040A360': evidence(studyInstanceUid, [context.predecessor]) } : {}),
    ...contentItemJson(content),
  }
  return written(dataset)
}

/** Coding Scheme Identification: the private schemes whose codes the content has (PS3.3 C.12.1.1.9); ours with its maker. */
function codingSchemes(content: ContentItem) {
  const schemes = new Set([privateScheme])
  for (const { scheme } of conceptsIn(content)) if (scheme.startsWith('99')) schemes.add(scheme)
  return sequence(
    ...[...schemes].map(scheme => ({
      '00080102': { vr: 'SH', Value: [scheme] },
      ...(scheme === privateScheme
        ? { '00080115': { vr: 'ST', Value: ['Codes of Radbridge'] }, '00080116': { vr: 'ST', Value: ['Radbridge'] } }
        : { '00080115': { vr: 'ST', Value: ['Codes of the site or of the maker of the algorithm'] } }),
    })),
  )
}

/** Referenced Request Sequence, when the source knows of an order. */
function referencedRequest(header: DicomJson, studyInstanceUid: string): DicomJson {
  const accession = textOf(header, '00080050')
  if (!accession) return {}
  const procedure = textOf(header, '00081030')
  return {
    '0040A370': {
      vr: 'SQ',
      Value: [
        {
          '00080050': { vr: 'SH', Value: [accession] },
          '00081110': { vr: 'SQ' },
          '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
          '00321060': { vr: 'LO', ...(procedure ? { Value: [procedure] } : {}) },
          '00321064': { vr: 'SQ' },
          '00401001': { vr: 'SH' },
          '00402016': { vr: 'LO' },
          '00402017': { vr: 'LO' },
        },
      ],
    },
  }
}

/** Hierarchical SOP Instance Reference Macro (PS3.3 table C.17-3). */
function evidence(
  study: string,
  references: readonly { sopClassUid: string; sopInstanceUid: string; seriesInstanceUid: string }[],
) {
  const bySeries = new Map<string, DicomJson[]>()
  for (const { sopClassUid, sopInstanceUid, seriesInstanceUid } of references) {
    const entry = sopReference({ sopClassUid, sopInstanceUid })
    const entries = bySeries.get(seriesInstanceUid)
    if (entries) entries.push(entry)
    else bySeries.set(seriesInstanceUid, [entry])
  }
  const series = [...bySeries].map(([uid, Value]) => ({
    '00081199': { vr: 'SQ', Value },
    '0020000E': { vr: 'UI', Value: [uid] },
  }))
  return { vr: 'SQ', Value: [{ '00081115': { vr: 'SQ', Value: series }, '0020000D': { vr: 'UI', Value: [study] } }] }
}
