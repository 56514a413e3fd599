import type { Finding, Findings, ImageReference } from '../analysis/findings.js'
import type { NormalizedImage } from '../analysis/normalizedStudy.js'
import type { DicomJson } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { type DataSetToWrite, writePart10 } from '../dicom/writePart10.js'
import type { Draw } from './drawing.js'
import { imageToDraw } from './keyImage.js'
import type { ResultContext } from './resultContext.js'
import { madeBy, patientAndStudy, type ResultObject, sopReference } from './resultObject.js'

/** More pictures than this help nobody; the report has all findings. */
const maxPictures = 30

const notVerified = 'AI result, not verified'

/**
 * Secondary Captures (PS3.3 A.8.1) for viewers that show neither reports nor segmentations: for each finding with an outline its key slice, with
 * all findings of that slice outlined, its measurements, and who made it.
 * @param imageOf the image that a finding refers to; its pixels are decoded one after another
 */
export async function secondaryCaptures(
  findings: Findings,
  context: ResultContext,
  imageOf: (reference: ImageReference) => NormalizedImage | undefined,
  draw: Draw,
): Promise<ResultObject[]> {
  const outlined = findings.items.filter(finding => finding.regions.length > 0).slice(0, maxPictures)
  const captures: ResultObject[] = []
  for (const [i, finding] of outlined.entries()) {
    const image = imageOf(finding.regions[0]!)
    if (image) captures.push(await secondaryCapture(finding, i + 1, image, findings, context, draw)) // one picture at a time in memory
  }
  return captures
}

async function secondaryCapture(
  finding: Finding,
  number: number,
  image: NormalizedImage,
  findings: Findings,
  context: ResultContext,
  draw: Draw,
): Promise<ResultObject> {
  const { algorithm } = findings
  const key = finding.regions[0]!
  const outlines = findings.items.flatMap(item =>
    item.regions.filter(region => isOn(region, key)).map(({ points }) => ({ points, label: item.trackingIdentifier })),
  )
  const { rows, columns, rgb } = await draw({
    image: await imageToDraw(image),
    outlines,
    legend: [
      `${notVerified}: ${algorithm.name} ${algorithm.version}`,
      `${finding.trackingIdentifier}: ${measurementsOf(finding)}`,
    ],
  })
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('sc', studyInstanceUid, revision, route, arm, finding.trackingUid)
  const seriesInstanceUid = deriveUid('sc series', studyInstanceUid, route, arm)
  const { '00080023': date, '00080033': time, ...made } = madeBy(findings, context)
  const dataset: DicomJson = {
    ...patientAndStudy(image.header),
    ...made,
    '00080008': { vr: 'CS', Value: ['DERIVED', 'SECONDARY'] },
    '00080016': { vr: 'UI', Value: [sopClass.secondaryCapture] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080023': date!,
    '00080033': time!,
    '00080060': { vr: 'CS', Value: ['OT'] },
    '00080064': { vr: 'CS', Value: ['WSD'] },
    '00082111': { vr: 'ST', Value: [`${finding.trackingIdentifier} outlined. ${notVerified}.`] },
    '00082112': {
      vr: 'SQ',
      Value: [
        {
          ...sopReference(image),
          ...(key.frame ? { '00081160': { vr: 'IS', Value: [String(key.frame)] } } : {}),
        },
      ],
    },
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9003'] },
    '00200013': { vr: 'IS', Value: [String((revision - 1) * maxPictures + number)] },
    '00200020': { vr: 'CS' },
    '00200060': { vr: 'CS' }, // Laterality: of a picture it is not known
    '00204000': { vr: 'LT', Value: [`${finding.trackingIdentifier}: ${measurementsOf(finding)}. ${notVerified}.`] },
    '00280002': { vr: 'US', Value: [3] },
    '00280004': { vr: 'CS', Value: ['RGB'] },
    '00280006': { vr: 'US', Value: [0] },
    '00280010': { vr: 'US', Value: [rows] },
    '00280011': { vr: 'US', Value: [columns] },
    '00280100': { vr: 'US', Value: [8] },
    '00280101': { vr: 'US', Value: [8] },
    '00280102': { vr: 'US', Value: [7] },
    '00280103': { vr: 'US', Value: [0] },
    '00280301': { vr: 'CS', Value: ['YES'] },
  }
  const even = new Uint8Array(rgb.length + (rgb.length % 2))
  even.set(rgb)
  const toWrite: DataSetToWrite = { ...dataset, '7FE00010': { vr: 'OB', Value: [even.buffer] } }
  return {
    sopClassUid: sopClass.secondaryCapture,
    sopInstanceUid,
    studyInstanceUid,
    seriesInstanceUid,
    dataset,
    bytes: writePart10(toWrite),
  }
}

function isOn(a: ImageReference, b: ImageReference): boolean {
  return a.sopInstanceUid === b.sopInstanceUid && (a.frame ?? 1) === (b.frame ?? 1)
}

function measurementsOf({ measurements }: Finding): string {
  return measurements
    .map(({ quantity, value, unit }) => `${quantity.meaning} ${Number(value.toPrecision(3))} ${plainUnit(unit.value)}`)
    .join(', ')
}

/** UCUM codes as people write them. */
function plainUnit(code: string): string {
  return code === "[hnsf'U]" ? 'HU' : code === 'ml' ? 'mL' : code
}
