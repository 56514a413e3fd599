import type { Findings } from '../analysis/findings.js'
import { privateScheme } from '../dicom/concepts.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { writePart10 } from '../dicom/writePart10.js'
import { contentItemJson, referencesIn } from './contentItem.js'
import { measurementReport } from './measurementReport.js'
import type { ResultContext } from './resultContext.js'
import { madeBy, patientAndStudy, type ResultObject, sopReference } from './resultObject.js'
import type { Segmentation } from './segmentation.js'

/**
 * Comprehensive 3D SR (PS3.3 A.35.13) with the measurement report of the findings. The same findings in the same context give the
 * same bytes: its UIDs derive from study, revision, route and arm, its times from the analysis.
 * @param segmentations of the same findings, to which the report refers
 */
export function structuredReport(
  findings: Findings,
  context: ResultContext,
  segmentations: readonly Segmentation[] = [],
): ResultObject {
  const first = context.sources[0]
  if (!first) throw new Error('a report needs the instances that were analysed')
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('sr', studyInstanceUid, revision, route, arm)
  const seriesInstanceUid = deriveUid('sr series', studyInstanceUid, route, arm)
  const segments = new Map(segmentations.flatMap(segmentation => [...segmentation.segments]))
  const content = measurementReport(findings, context, segments)
  const seriesOf = new Map(
    [...context.sources, ...segmentations].map(object => [object.sopInstanceUid, object.seriesInstanceUid]),
  )
  const partial = findings.status === 'incomplete'
  const dataset: DicomJson = {
    ...patientAndStudy(first.header),
    ...madeBy(findings, context),
    '00080016': { vr: 'UI', Value: [sopClass.comprehensive3dSr] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['SR'] },
    '00080110': codingSchemes(),
    '00081111': { vr: 'SQ' },
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9001'] },
    '00200013': { vr: 'IS', Value: [String(revision)] },
    // SR Document General: nothing made by a machine may look verified or final.
    '0040A491': { vr: 'CS', Value: [partial ? 'PARTIAL' : 'COMPLETE'] },
    ...(partial ? { '0040A492': { vr: 'LO', Value: [(findings.reason ?? 'incomplete').slice(0, 64)] } } : {}),
    '0040A493': { vr: 'CS', Value: ['UNVERIFIED'] },
    '0040A496': { vr: 'CS', Value: ['PRELIMINARY'] },
    '0040A372': { vr: 'SQ' },
    ...referencedRequest(first.header, studyInstanceUid),
    '0040A375': evidence(
      studyInstanceUid,
      referencesIn(content).map(reference => ({
        ...reference,
        seriesInstanceUid: seriesOf.get(reference.sopInstanceUid)!,
      })),
    ),
    ...(context.predecessor ? { '0040A360': evidence(studyInstanceUid, [context.predecessor]) } : {}),
    ...contentItemJson(content),
  }
  return {
    sopClassUid: sopClass.comprehensive3dSr,
    sopInstanceUid,
    studyInstanceUid,
    seriesInstanceUid,
    dataset,
    bytes: writePart10(dataset),
  }
}

function codingSchemes() {
  return {
    vr: 'SQ',
    Value: [
      {
        '00080102': { vr: 'SH', Value: [privateScheme] },
        '00080115': { vr: 'ST', Value: ['Codes of Radbridge'] },
        '00080116': { vr: 'ST', Value: ['Radbridge'] },
      },
    ],
  }
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
