import type { Findings } from '../analysis/findings.js'
import { concepts as c, privateScheme } from '../dicom/concepts.js'
import { type DicomJson, pick, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { writePart10 } from '../dicom/writePart10.js'
import { codeSequence, contentItemJson, referencesIn } from './contentItem.js'
import { algorithmDeviceUid, measurementReport } from './measurementReport.js'
import type { ResultContext } from './resultContext.js'

/** An object made from findings: its bytes as a Part 10 file, and its data set without them. */
export interface ResultObject {
  sopClassUid: string
  sopInstanceUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  dataset: DicomJson
  bytes: Buffer
}

/**
 * Comprehensive 3D SR (PS3.3 A.35.13) with the measurement report of the findings. The same findings in the same context give the
 * same bytes: its UIDs derive from study, revision, route and arm, its times from the analysis.
 */
export function structuredReport(findings: Findings, context: ResultContext): ResultObject {
  const first = context.sources[0]
  if (!first) throw new Error('a report needs the instances that were analysed')
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('sr', studyInstanceUid, revision, route, arm)
  const seriesInstanceUid = deriveUid('sr series', studyInstanceUid, route, arm)
  const content = measurementReport(findings, context)
  const seriesOf = new Map(context.sources.map(source => [source.sopInstanceUid, source.seriesInstanceUid]))
  const partial = findings.status === 'incomplete'
  const when = dicomTime(context.analyzedAt)
  const dataset: DicomJson = {
    ...patientAndStudy(first.header),
    '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
    '00080012': { vr: 'DA', Value: [when.date] },
    '00080013': { vr: 'TM', Value: [when.time] },
    '00080016': { vr: 'UI', Value: [sopClass.comprehensive3dSr] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080023': { vr: 'DA', Value: [when.date] },
    '00080033': { vr: 'TM', Value: [when.time] },
    '00080060': { vr: 'CS', Value: ['SR'] },
    '00080110': codingSchemes(),
    '00080201': { vr: 'SH', Value: ['+0000'] },
    '0008103E': { vr: 'LO', Value: [`AI ${findings.algorithm.name} (unverified)`.slice(0, 64)] },
    '00081111': { vr: 'SQ' },
    // General and Enhanced General Equipment: the writer of this object.
    '00080070': { vr: 'LO', Value: ['Radbridge'] },
    '00081090': { vr: 'LO', Value: ['Radbridge'] },
    '00181000': { vr: 'LO', Value: [context.deviceSerialNumber] },
    '00181020': { vr: 'LO', Value: [context.softwareVersion] },
    '0018A001': contributingEquipment(findings),
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

const type2: Readonly<Record<string, string>> = {
  '00080020': 'DA',
  '00080030': 'TM',
  '00080050': 'SH',
  '00080090': 'PN',
  '00100010': 'PN',
  '00100020': 'LO',
  '00100030': 'DA',
  '00100040': 'CS',
  '00200010': 'SH',
}
const copied = [
  '00080051',
  '00081030',
  '00081032',
  '00100021',
  '00100022',
  '00100024',
  '00100032',
  '00101010',
  '00101020',
  '00101030',
]

/** Patient and study attributes as they are in the source; required ones empty where the source lacks them. */
function patientAndStudy(header: DicomJson): DicomJson {
  const dataset = pick(header, [...Object.keys(type2), ...copied])
  for (const [tag, vr] of Object.entries(type2)) dataset[tag] ??= { vr }
  return dataset
}

function contributingEquipment(findings: Findings) {
  const { manufacturer, name, version } = findings.algorithm
  return {
    vr: 'SQ',
    Value: [
      {
        '00080070': { vr: 'LO', Value: [manufacturer] },
        '00081090': { vr: 'LO', Value: [name] },
        '00181002': { vr: 'UI', Value: [algorithmDeviceUid(findings)] },
        '00181020': { vr: 'LO', Value: [version] },
        '0040A170': codeSequence(c.processingEquipment),
      },
    ],
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
    const entry = { '00081150': { vr: 'UI', Value: [sopClassUid] }, '00081155': { vr: 'UI', Value: [sopInstanceUid] } }
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

function dicomTime(at: Date): { date: string; time: string } {
  const iso = at.toISOString()
  return { date: iso.slice(0, 10).replaceAll('-', ''), time: iso.slice(11, 19).replaceAll(':', '') }
}
