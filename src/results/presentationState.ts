import type { Finding, Findings } from '../analysis/findings.js'
import { type DicomJson, numberOf, pick, textOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import type { ResultContext, SourceInstance } from './resultContext.js'
import {
  dicomTime,
  madeBy,
  patientAndStudy,
  type ResultObject,
  sequence,
  sopReference,
  written,
} from './resultObject.js'

const layer = 'AI_FINDINGS'

/** One image with what is outlined on it. */
interface Annotated {
  source: SourceInstance
  frame?: number
  outlines: { label: string; points: readonly (readonly [number, number])[] }[]
}

/**
 * Grayscale Softcopy Presentation States (PS3.3 A.33.1) with the outlines of the findings, for viewers that show neither reports nor
 * segmentations: one for each series and way of display. The source's own rescale and window are said again, since a presentation state
 * replaces them. Colour images have none: theirs would need a colour profile that the source seldom has.
 */
export function presentationStates(findings: Findings, context: ResultContext): ResultObject[] {
  const groups = new Map<string, Annotated[]>()
  for (const image of annotatedImages(findings.items, context.sources)) {
    const { header, seriesInstanceUid } = image.source
    if (!textOf(header, '00280004')?.startsWith('MONOCHROME')) continue
    const key = JSON.stringify([seriesInstanceUid, displayOf(image)])
    groups.set(key, [...(groups.get(key) ?? []), image])
  }
  return [...groups.values()].map((images, i) => presentationState(images, i + 1, findings, context))
}

function annotatedImages(items: readonly Finding[], sources: readonly SourceInstance[]): Annotated[] {
  const known = new Map(sources.map(source => [source.sopInstanceUid, source]))
  const images = new Map<string, Annotated>()
  for (const { regions, trackingIdentifier } of items) {
    for (const { sopInstanceUid, frame, points } of regions) {
      const source = known.get(sopInstanceUid)
      if (!source) throw new Error('a finding refers to an image that was not analysed')
      const key = `${sopInstanceUid} ${frame ?? 1}`
      const image = images.get(key) ?? { source, ...(frame ? { frame } : {}), outlines: [] }
      image.outlines.push({ label: trackingIdentifier, points })
      images.set(key, image)
    }
  }
  return [...images.values()]
}

/** Modality LUT, VOI and polarity of an image, as the modules of a presentation state say them. */
function displayOf({ source: { header }, frame = 1 }: Annotated): DicomJson {
  const rescale = macroOf(header, frame - 1, '00289145')
  const window = macroOf(header, frame - 1, '00289132')
  const [slope, intercept] = [numberOf(rescale, '00281053'), numberOf(rescale, '00281052')]
  const [center, width] = [numberOf(window, '00281050'), numberOf(window, '00281051')]
  const type = textOf(rescale, '00281054') ?? (textOf(header, '00080060') === 'CT' ? 'HU' : 'US')
  return {
    ...(slope !== undefined && intercept !== undefined
      ? {
          '00281052': { vr: 'DS', Value: [intercept] },
          '00281053': { vr: 'DS', Value: [slope] },
          '00281054': { vr: 'LO', Value: [type] },
        }
      : {}),
    ...(center !== undefined && width !== undefined && width >= 1
      ? {
          '00283110': sequence({
            '00281050': { vr: 'DS', Value: [center] },
            '00281051': { vr: 'DS', Value: [width] },
          }),
        }
      : {}),
    '20500020': { vr: 'CS', Value: [textOf(header, '00280004') === 'MONOCHROME1' ? 'INVERSE' : 'IDENTITY'] },
  }
}

function presentationState(
  images: readonly Annotated[],
  number: number,
  findings: Findings,
  context: ResultContext,
): ResultObject {
  const { header, seriesInstanceUid: series } = images[0]!.source
  const { studyInstanceUid, revision, route, arm, analyzedAt } = context
  const sopInstanceUid = deriveUid('gsps', studyInstanceUid, revision, route, arm, number)
  const seriesInstanceUid = deriveUid('gsps series', studyInstanceUid, route, arm)
  const { '00080023': _date, '00080033': _time, ...made } = madeBy(findings, context)
  const when = dicomTime(analyzedAt)
  const instances = new Map(images.map(({ source }) => [source.sopInstanceUid, source]))
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...made,
    '00080016': { vr: 'UI', Value: [sopClass.grayscalePresentationState] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['PR'] },
    '00081115': sequence({
      '00081140': { vr: 'SQ', Value: [...instances.values()].map(source => referenceTo(source, images)) },
      '0020000E': { vr: 'UI', Value: [series] },
    }),
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9004'] },
    '00200013': { vr: 'IS', Value: [String(revision * 1000 + number)] },
    '00200060': { vr: 'CS' }, // Laterality: the series may show both sides
    '00700001': { vr: 'SQ', Value: images.map(annotation) },
    '0070005A': { vr: 'SQ', Value: displayedAreas(images) },
    '00700060': sequence({
      '00700002': { vr: 'CS', Value: [layer] },
      '00700062': { vr: 'IS', Value: ['1'] },
      '00700068': { vr: 'LO', Value: ['AI result, not verified'] },
    }),
    '00700080': { vr: 'CS', Value: [layer] },
    '00700081': { vr: 'LO', Value: ['AI result, not verified'] },
    '00700082': { vr: 'DA', Value: [when.date] },
    '00700083': { vr: 'TM', Value: [when.time] },
    '00700084': { vr: 'PN', Value: [{ Alphabetic: 'Radbridge' }] },
    ...displayOf(images[0]!),
  }
  return written(dataset)
}

/** Image SOP Instance Reference Macro; of multi-frame images the frames that have annotations. */
function referenceTo(source: SourceInstance, images: readonly Annotated[]): DicomJson {
  const frames = images.filter(image => image.source === source).flatMap(({ frame }) => (frame ? [frame] : []))
  return {
    ...sopReference(source),
    ...(frames.length > 0 ? { '00081160': { vr: 'IS', Value: frames.map(String) } } : {}),
  }
}

function annotation(image: Annotated): DicomJson {
  return {
    '00081140': sequence(referenceTo(image.source, [image])),
    '00700002': { vr: 'CS', Value: [layer] },
    '00700008': { vr: 'SQ', Value: image.outlines.map(({ label, points }) => textObject(label, points)) },
    '00700009': {
      vr: 'SQ',
      Value: image.outlines.map(({ points }) => ({
        '00700005': { vr: 'CS', Value: ['PIXEL'] },
        '00700020': { vr: 'US', Value: [2] },
        '00700021': { vr: 'US', Value: [points.length] },
        '00700022': { vr: 'FL', Value: points.flat() },
        '00700023': { vr: 'CS', Value: ['POLYLINE'] },
        '00700024': { vr: 'CS', Value: ['N'] },
      })),
    },
  }
}

/** The label, anchored at the uppermost point of the outline. */
function textObject(label: string, points: readonly (readonly [number, number])[]): DicomJson {
  const top = points.reduce((highest, point) => (point[1] < highest[1] ? point : highest))
  return {
    '00700004': { vr: 'CS', Value: ['PIXEL'] }, // Anchor Point Annotation Units
    '00700006': { vr: 'ST', Value: [`${label} (AI, not verified)`] },
    '00700014': { vr: 'FL', Value: [...top] },
    '00700015': { vr: 'CS', Value: ['N'] },
  }
}

/** The whole of each image, grouped by size (PS3.3 C.10.4): corners are counted from 1. */
function displayedAreas(images: readonly Annotated[]): DicomJson[] {
  const bySize = new Map<string, Annotated[]>()
  for (const image of images) {
    const size = [image.source.header['00280011']?.Value?.[0], image.source.header['00280010']?.Value?.[0]].join(' ')
    bySize.set(size, [...(bySize.get(size) ?? []), image])
  }
  return [...bySize.values()].map(group => {
    const { header } = group[0]!.source
    const instances = new Set(group.map(({ source }) => source))
    const spacing = pick(macroOf(header, 0, '00289110'), ['00280030'])['00280030'] ?? header['00181164']
    return {
      '00081140': { vr: 'SQ', Value: [...instances].map(source => referenceTo(source, group)) },
      '00700052': { vr: 'SL', Value: [1, 1] },
      '00700053': { vr: 'SL', Value: [numberOf(header, '00280011')!, numberOf(header, '00280010')!] },
      '00700100': { vr: 'CS', Value: ['SCALE TO FIT'] },
      ...(spacing
        ? { '00700101': { vr: 'DS', Value: spacing.Value ?? [] } }
        : { '00700102': { vr: 'IS', Value: ['1', '1'] } }),
    }
  })
}
