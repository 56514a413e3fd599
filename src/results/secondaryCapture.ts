import type { Finding, Findings, ImageReference, ValueMap } from '../analysis/findings.js'
import type { NormalizedImage } from '../analysis/normalizedStudy.js'
import type { DicomJson } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import type { Draw } from './drawing.js'
import { imageToDraw, type KeyImage } from './keyImage.js'
import type { ResultContext } from './resultContext.js'
import { identityOf, madeBy, patientAndStudy, type ResultObject, sopReference, written } from './resultObject.js'
import { measurementsOf, plainUnit, summaryLines } from './resultText.js'

/** More pictures than this help nobody; the report has all findings. */
const maxPictures = 30
/** Instance Numbers of a revision: the summary, the findings, the maps. */
const numbersOfRevision = 2 * maxPictures + 1

const notVerified = 'AI result, not verified'

export type ImageOf = (reference: ImageReference) => NormalizedImage | undefined

/**
 * Secondary Captures (PS3.3 A.8.1) for viewers that show neither reports nor segmentations: a summary page; for each finding with an outline its
 * key slice, with all findings of that slice outlined, its measurements, and who made it; of each value map the slice with its highest value, in colour
 * over the image.
 * @param imageOf the image that a finding refers to; pixels are decoded one after another
 */
export async function secondaryCaptures(
  findings: Findings,
  context: ResultContext,
  imageOf: ImageOf,
  draw: Draw,
): Promise<ResultObject[]> {
  const captures: ResultObject[] = []
  const header = context.sources[0]?.header
  if (header) captures.push(await summaryPage(findings, context, header, draw))
  const outlined = findings.items.filter(finding => finding.regions.length > 0).slice(0, maxPictures)
  for (const [i, finding] of outlined.entries()) {
    const image = imageOf(finding.regions[0]!)
    if (image) captures.push(await keyImage(finding, i + 1, image, findings, context, draw)) // one picture at a time in memory
  }
  for (const [i, map] of (findings.maps ?? []).slice(0, maxPictures).entries()) {
    const picture = await heatMap(map, maxPictures + i + 1, imageOf, findings, context, draw)
    if (picture) captures.push(picture)
  }
  return captures
}

/** The findings as a page to read. */
async function summaryPage(
  findings: Findings,
  context: ResultContext,
  header: DicomJson,
  draw: Draw,
): Promise<ResultObject> {
  const lines = summaryLines(findings).flatMap(({ heading, lines }) => [heading, ...lines.map(line => `  ${line}`), ''])
  const picture = await draw({ lines: [notVerified, '', ...lines] })
  return capture(
    picture,
    { number: 0, name: 'summary', description: 'Summary of findings', sources: [] },
    header,
    findings,
    context,
  )
}

async function keyImage(
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
  const picture = await draw({
    image: await imageToDraw(image),
    outlines,
    legend: [
      `${notVerified}: ${algorithm.name} ${algorithm.version}`,
      `${finding.trackingIdentifier}: ${measurementsOf(finding)}`,
    ],
  })
  const what = {
    number,
    name: finding.trackingUid,
    description: `${finding.trackingIdentifier} outlined`,
    comments: `${finding.trackingIdentifier}: ${measurementsOf(finding)}.`,
    sources: [{ ...sopReference(image), ...frameNumber(key) }],
  }
  return capture(picture, what, image.header, findings, context)
}

async function heatMap(
  map: ValueMap,
  number: number,
  imageOf: ImageOf,
  findings: Findings,
  context: ResultContext,
  draw: Draw,
): Promise<ResultObject | undefined> {
  const { algorithm } = findings
  const decoded = map.slices.map(slice => ({ slice, values: floatsOf(slice.values) }))
  const strongest = decoded
    .map(entry => ({ ...entry, peak: entry.values.reduce((a, b) => Math.max(b, a), Number.NEGATIVE_INFINITY) }))
    .reduce((best, entry) => (entry.peak > best.peak ? entry : best))
  const image = imageOf(strongest.slice)
  if (!image) return undefined
  const lowest = decoded.reduce(
    (low, { values }) => values.reduce((a, b) => Math.min(b, a), low),
    Number.POSITIVE_INFINITY,
  )
  const { rows, columns } = strongest.slice
  const picture = await draw({
    image: await imageToDraw(image),
    heat: { rows, columns, values: strongest.values, lowest, highest: strongest.peak },
    outlines: [],
    legend: [
      `${notVerified}: ${algorithm.name} ${algorithm.version}`,
      `${map.label}: ${Number(lowest.toPrecision(3))} to ${Number(strongest.peak.toPrecision(3))} ${plainUnit(map.unit.value)}`.trimEnd(),
    ],
  })
  const what = {
    number,
    name: `map ${number}`,
    description: `${map.label}, in colour over the image`,
    sources: [{ ...sopReference(image), ...frameNumber(strongest.slice) }],
  }
  return capture(picture, what, image.header, findings, context)
}

function floatsOf(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64')
  return Float32Array.from({ length: bytes.length >> 2 }, (_, i) => bytes.readFloatLE(i * 4))
}

function frameNumber({ frame }: ImageReference): DicomJson {
  return frame ? { '00081160': { vr: 'IS', Value: [String(frame)] } } : {}
}

interface What {
  /** Within the revision, from 0. */
  number: number
  /** Part of the UID that tells this picture from others. */
  name: string
  description: string
  comments?: string
  sources: DicomJson[]
}

function capture(
  { rows, columns, rgb }: KeyImage,
  { number, name, description, comments = `${description}.`, sources }: What,
  header: DicomJson,
  findings: Findings,
  context: ResultContext,
): ResultObject {
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('sc', ...identityOf(findings, context), name)
  const seriesInstanceUid = deriveUid('sc series', studyInstanceUid, route, arm)
  const { '00080023': date, '00080033': time, ...made } = madeBy(findings, context)
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...made,
    '00080008': { vr: 'CS', Value: ['DERIVED', 'SECONDARY'] },
    '00080016': { vr: 'UI', Value: [sopClass.secondaryCapture] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080023': date!,
    '00080033': time!,
    '00080060': { vr: 'CS', Value: ['OT'] },
    '00080064': { vr: 'CS', Value: ['WSD'] },
    '00082111': { vr: 'ST', Value: [`${description}. ${notVerified}.`] },
    ...(sources.length > 0 ? { '00082112': { vr: 'SQ', Value: sources } } : {}),
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9003'] },
    '00200013': { vr: 'IS', Value: [String((revision - 1) * numbersOfRevision + number + 1)] },
    '00200020': { vr: 'CS' },
    '00200060': { vr: 'CS' }, // Laterality: of a picture it is not known
    '00204000': { vr: 'LT', Value: [`${comments} ${notVerified}.`] },
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
  return written(dataset, { '7FE00010': { vr: 'OB', Value: [even.buffer] } })
}

function isOn(a: ImageReference, b: ImageReference): boolean {
  return a.sopInstanceUid === b.sopInstanceUid && (a.frame ?? 1) === (b.frame ?? 1)
}
