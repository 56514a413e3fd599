import type {
  ImageGeometry,
  NormalizedImage,
  NormalizedSeries,
  NormalizedStudy,
  Vec3,
} from '../analysis/normalizedStudy.js'
import { instancesOfRevision, type StoredInstance } from '../archive/index.js'
import { type DicomJson, numberOf, numbersOf, textOf, textsOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { withoutPrivateElements } from '../dicom/privateElements.js'
import { findTransferSyntax } from '../dicom/transferSyntaxes.js'
import { isDecodable } from '../pixels/codecs/index.js'
import { mirrorSum } from '../pixels/photometric.js'
import type { PipelineContext } from './context.js'

/**
 * The study as an analyser gets it: headers from the index, pixels decoded when they are asked for.
 * @param privateCreators whose private elements the analyser may see
 */
export async function normalizedStudy(
  study: string,
  revision: number,
  context: PipelineContext,
  privateCreators: readonly string[] = [],
): Promise<NormalizedStudy> {
  const instances = await instancesOfRevision(context.database, study, revision)
  const series = new Map<string, NormalizedSeries>()
  const undecodable = new Map<string, number>()
  for (const instance of instances) {
    const syntax = findTransferSyntax(instance.transferSyntaxUid)
    if (syntax && !isDecodable(syntax)) {
      undecodable.set(syntax.name, (undecodable.get(syntax.name) ?? 0) + 1)
      continue
    }
    const images = imagesOf({ ...instance, header: withoutPrivateElements(instance.header, privateCreators) }, context)
    if (images.length === 0) continue
    const entry = series.get(instance.seriesInstanceUid) ?? newSeries(instance)
    entry.images.push(...images)
    series.set(instance.seriesInstanceUid, entry)
  }
  return {
    studyInstanceUid: study,
    revision,
    series: [...series.values()],
    undecodable: [...undecodable].map(([transferSyntax, count]) => ({ transferSyntax, instances: count })),
  }
}

function newSeries({ seriesInstanceUid, header }: StoredInstance): NormalizedSeries {
  const bodyPart = textOf(header, '00180015')
  return {
    seriesInstanceUid,
    modality: textOf(header, '00080060') ?? '',
    ...(bodyPart ? { bodyPart } : {}),
    images: [],
  }
}

/** One image a frame; none for what is no image (reports, presentation states, waveforms). */
function imagesOf(instance: StoredInstance, { blobs, pixels }: PipelineContext): NormalizedImage[] {
  const { header } = instance
  const rows = numberOf(header, '00280010')
  const columns = numberOf(header, '00280011')
  if (!rows || !columns) return []
  const frames = Math.max(1, Math.min(numberOf(header, '00280008') ?? 1, 100_000))
  return Array.from({ length: frames }, (_, index) => {
    const geometry = geometryOf(header, index)
    return {
      sopInstanceUid: instance.sopInstanceUid,
      sopClassUid: instance.sopClassUid,
      frame: index + 1,
      rows,
      columns,
      imageType: textsOf(header, '00080008'),
      rescale: rescaleOf(header, index),
      ...(geometry ? { geometry } : {}),
      header,
      pixels: async () => {
        const { samples, photometric, bitsStored, signed } = await pixels.frame(blobs.pathOf(instance.blobKey), index)
        return { samples, photometric, bitsStored, signed }
      },
    }
  })
}

function rescaleOf(header: DicomJson, frame: number): NormalizedImage['rescale'] {
  const macro = macroOf(header, frame, '00289145')
  const slope = numberOf(macro, '00281053') ?? 1
  const intercept = numberOf(macro, '00281052') ?? 0
  const unit = textOf(macro, '00281054') ?? (textOf(header, '00080060') === 'CT' ? 'HU' : 'US')
  if (textOf(header, '00280004') !== 'MONOCHROME1') return { slope, intercept, unit }
  // Samples come mirrored, v' = S − v: so that the value of each pixel stays what it was, m' = −m and b' = m·S + b.
  const bitsStored = numberOf(header, '00280101') ?? numberOf(header, '00280100') ?? 16
  const sum = mirrorSum(bitsStored, numberOf(header, '00280103') === 1)
  return { slope: -slope, intercept: slope * sum + intercept, unit }
}

/** Image Plane Module (PS3.3 C.7.6.2) or its macros; undefined if position, orientation or spacing are missing or no numbers. */
function geometryOf(header: DicomJson, frame: number): ImageGeometry | undefined {
  const measures = macroOf(header, frame, '00289110')
  const position = numbersOf(macroOf(header, frame, '00209113'), '00200032')
  const orientation = numbersOf(macroOf(header, frame, '00209116'), '00200037')
  const spacing = numbersOf(measures, '00280030')
  if (position.length !== 3 || orientation.length !== 6 || spacing.length !== 2 || !spacing.every(s => s > 0))
    return undefined
  const sliceThickness = numberOf(measures, '00180050')
  const frameOfReferenceUid = textOf(header, '00200052')
  return {
    position: position as unknown as Vec3,
    rowDirection: orientation.slice(0, 3) as unknown as Vec3,
    columnDirection: orientation.slice(3) as unknown as Vec3,
    spacing: spacing as unknown as readonly [number, number],
    ...(sliceThickness ? { sliceThickness } : {}),
    ...(frameOfReferenceUid ? { frameOfReferenceUid } : {}),
  }
}
