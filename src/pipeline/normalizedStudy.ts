import type {
  ImageGeometry,
  NormalizedImage,
  NormalizedSeries,
  NormalizedStudy,
  Vec3,
} from '../analysis/normalizedStudy.js'
import { instancesOfRevision, type StoredInstance } from '../archive/index.js'
import { numberOf, numbersOf, textOf, textsOf } from '../dicom/dicomJson.js'
import type { PipelineContext } from './context.js'

/** The study as an analyser gets it: headers from the index, pixels decoded when they are asked for. */
export async function normalizedStudy(
  study: string,
  revision: number,
  context: PipelineContext,
): Promise<NormalizedStudy> {
  const instances = await instancesOfRevision(context.database, study, revision)
  const series = new Map<string, NormalizedSeries>()
  for (const instance of instances) {
    const images = imagesOf(instance, context)
    if (images.length === 0) continue
    const entry = series.get(instance.seriesInstanceUid) ?? newSeries(instance)
    entry.images.push(...images)
    series.set(instance.seriesInstanceUid, entry)
  }
  return { studyInstanceUid: study, revision, series: [...series.values()] }
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
  const geometry = geometryOf(instance)
  return Array.from({ length: frames }, (_, index) => ({
    sopInstanceUid: instance.sopInstanceUid,
    sopClassUid: instance.sopClassUid,
    frame: index + 1,
    rows,
    columns,
    imageType: textsOf(header, '00080008'),
    rescale: {
      slope: numberOf(header, '00281053') ?? 1,
      intercept: numberOf(header, '00281052') ?? 0,
      unit: textOf(header, '00281054') ?? (textOf(header, '00080060') === 'CT' ? 'HU' : 'US'),
    },
    ...(geometry ? { geometry } : {}),
    header,
    pixels: async () => {
      const { samples, photometric, bitsStored, signed } = await pixels.frame(blobs.pathOf(instance.blobKey), index)
      return { samples, photometric, bitsStored, signed }
    },
  }))
}

/** Image Plane Module (PS3.3 C.7.6.2); undefined if position, orientation or spacing are missing or no numbers. */
function geometryOf({ header }: StoredInstance): ImageGeometry | undefined {
  const position = numbersOf(header, '00200032')
  const orientation = numbersOf(header, '00200037')
  const spacing = numbersOf(header, '00280030')
  if (position.length !== 3 || orientation.length !== 6 || spacing.length !== 2 || !spacing.every(s => s > 0))
    return undefined
  const sliceThickness = numberOf(header, '00180050')
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
