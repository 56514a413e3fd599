import type { Findings } from '../analysis/findings.js'
import { concepts as c } from '../dicom/concepts.js'
import { type DicomJson, pick, textOf } from '../dicom/dicomJson.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { type DataSetToWrite, writePart10 } from '../dicom/writePart10.js'
import { codeSequence } from './contentItem.js'
import type { ResultContext } from './resultContext.js'
import { algorithmDeviceUid } from './templates/observationContext.js'

/** An object made from findings: its bytes as a Part 10 file, and its data set without them. */
export interface ResultObject {
  sopClassUid: string
  sopInstanceUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  transferSyntaxUid: string
  dataset: DicomJson
  bytes: Buffer
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

/**
 * The object of a data set, which names its SOP Class, study, series and instance itself.
 * @param binary elements that stand in the file only: pixels, a document
 */
export function written(
  dataset: DicomJson,
  binary: DataSetToWrite = {},
  transferSyntaxUid = explicitVrLittleEndian,
): ResultObject {
  const uid = (tag: string) => textOf(dataset, tag)!
  return {
    sopClassUid: uid('00080016'),
    sopInstanceUid: uid('00080018'),
    studyInstanceUid: uid('0020000D'),
    seriesInstanceUid: uid('0020000E'),
    transferSyntaxUid,
    dataset,
    bytes: writePart10({ ...dataset, ...binary }, transferSyntaxUid),
  }
}

/** Patient and study attributes as they are in the source; required ones empty where the source lacks them. */
export function patientAndStudy(header: DicomJson): DicomJson {
  const dataset = pick(header, [...Object.keys(type2), ...copied])
  for (const [tag, vr] of Object.entries(type2)) dataset[tag] ??= { vr }
  return dataset
}

/** SOP Common, Enhanced General Equipment and the algorithm: what every object made from findings says of its making. */
export function madeBy(findings: Findings, context: ResultContext): DicomJson {
  const when = dicomTime(context.analyzedAt)
  return {
    '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
    '00080012': { vr: 'DA', Value: [when.date] },
    '00080013': { vr: 'TM', Value: [when.time] },
    '00080023': { vr: 'DA', Value: [when.date] },
    '00080033': { vr: 'TM', Value: [when.time] },
    '00080201': { vr: 'SH', Value: ['+0000'] },
    '0008103E': { vr: 'LO', Value: [`AI ${findings.algorithm.name} (unverified)`.slice(0, 64)] },
    // General and Enhanced General Equipment: the writer of this object.
    '00080070': { vr: 'LO', Value: ['Radbridge'] },
    '00081090': { vr: 'LO', Value: ['Radbridge'] },
    '00181000': { vr: 'LO', Value: [context.deviceSerialNumber] },
    '00181020': { vr: 'LO', Value: [context.softwareVersion] },
    '0018A001': contributingEquipment(findings),
  }
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

/** Date and time of day (UTC) as DA and TM. */
export function dicomTime(at: Date): { date: string; time: string } {
  const iso = at.toISOString()
  return { date: iso.slice(0, 10).replaceAll('-', ''), time: iso.slice(11, 19).replaceAll(':', '') }
}

/** SOP Instance Reference Macro (PS3.3 table 10-11). */
export function sopReference({
  sopClassUid,
  sopInstanceUid,
}: {
  sopClassUid: string
  sopInstanceUid: string
}): DicomJson {
  return {
    '00081150': { vr: 'UI', Value: [sopClassUid] },
    '00081155': { vr: 'UI', Value: [sopInstanceUid] },
  }
}

/**
 * What the UIDs of an analysis's objects derive from, after their kind. The report of a failure is another object than that of the success that may
 * come of a later attempt.
 */
export function identityOf(
  { status }: Pick<Findings, 'status'>,
  { studyInstanceUid, revision, route, arm }: Pick<ResultContext, 'studyInstanceUid' | 'revision' | 'route' | 'arm'>,
): (string | number)[] {
  return [studyInstanceUid, revision, route, arm, ...(status === 'failed' ? [status] : [])]
}

/** A sequence of these items. */
export function sequence(...items: DicomJson[]) {
  return { vr: 'SQ', Value: items }
}
