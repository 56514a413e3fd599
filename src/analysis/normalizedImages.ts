import { type DicomJson, numberOf, numbersOf, textOf, textsOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { rescaleOf } from '../pixels/rescale.js'
import type { ImageGeometry, ImagePixels, NormalizedImage, Vec3 } from './normalizedStudy.js'

/** Decodes a frame (0-based) of one instance to MONOCHROME2 or RGB. */
export type FrameDecoder = (frame: number) => Promise<ImagePixels>

/** One image a frame; none for what is no image (reports, presentation states, waveforms). */
export function imagesOf(
  { sopInstanceUid, sopClassUid, header }: { sopInstanceUid: string; sopClassUid: string; header: DicomJson },
  decode: FrameDecoder,
): NormalizedImage[] {
  const rows = numberOf(header, '00280010')
  const columns = numberOf(header, '00280011')
  if (!rows || !columns) return []
  const frames = Math.max(1, Math.min(numberOf(header, '00280008') ?? 1, 100_000))
  return Array.from({ length: frames }, (_, index) => {
    const geometry = geometryOf(header, index)
    return {
      sopInstanceUid,
      sopClassUid,
      frame: index + 1,
      rows,
      columns,
      imageType: textsOf(header, '00080008'),
      rescale: rescaleOf(header, index),
      ...(geometry ? { geometry } : {}),
      header,
      pixels: async () => {
        const { samples, photometric, bitsStored, signed } = await decode(index)
        return { samples, photometric, bitsStored, signed }
      },
    }
  })
}

/** Image Plane Module (PS3.3 C.7.6.2) or its macros, of a frame from 0; undefined if position, orientation or spacing are missing or no numbers. */
export function geometryOf(header: DicomJson, frame: number): ImageGeometry | undefined {
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
