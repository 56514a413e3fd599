import type { FindingMask, MaskSlice } from '../analysis/findings.js'
import type { CodedConcept } from '../dicom/concepts.js'
import { type DicomJson, itemsOf, numberOf, textOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'
import { decodeFrame } from '../pixels/decodeFrame.js'
import { openFrames } from '../pixels/frames.js'
import type { Samples } from '../pixels/imageDescription.js'
import { conceptIn } from './contentItem.js'
import { runsOf } from './maskFrames.js'

/** One segment of a Segmentation, whoever made it. */
export interface ReadSegment {
  number: number
  label: string
  trackingUid?: string
  type?: CodedConcept
  category?: CodedConcept
  /** On the images that the frames say they derive from; undefined if it has no pixel on any of those. */
  mask?: FindingMask
}

export interface ReadSegmentation {
  sopInstanceUid: string
  segments: ReadSegment[]
  /** Frames that name no source image: their pixels are in no mask. */
  framesWithoutSource: number
}

/**
 * Reads a binary, fractional or label map Segmentation frame by frame.
 * @throws PixelProblem if it cannot be decoded
 */
export async function readSegmentation(path: string): Promise<ReadSegmentation> {
  const frames = await openFrames(path)
  try {
    const { json } = frames.header
    const masks = new Map<number, MaskSlice[]>()
    const type = textOf(json, '00620001')
    let framesWithoutSource = 0
    for (let frame = 0; frame < frames.image.frames; frame++) {
      const source = sourceOf(json, frame)
      if (!source) {
        framesWithoutSource++
        continue
      }
      const { samples, rows, columns } = await decodeFrame(frames, frame, { keepPhotometric: true }) // one at a time; colours of a label map are for display
      for (const [segment, value] of segmentsIn(json, frame, frames.image.frames, samples)) {
        const runs = runsOf(rows, columns, pixel =>
          value === undefined ? samples[pixel] !== 0 : samples[pixel] === value,
        )
        if (runs.length === 0) continue
        const scale = 255 / (numberOf(json, '0062000E') ?? 255)
        if (type === 'FRACTIONAL')
          for (const run of runs)
            run.fractions = Array.from({ length: run.length }, (_, i) =>
              Math.max(1, Math.round(samples[run.row * columns + run.column + i]! * scale)),
            )
        const slices = masks.get(segment)
        if (slices) slices.push({ ...source, runs })
        else masks.set(segment, [{ ...source, runs }])
      }
    }
    const fractional = type === 'FRACTIONAL' ? (textOf(json, '00620010') as 'PROBABILITY' | 'OCCUPANCY') : undefined
    return {
      sopInstanceUid: frames.header.sopInstanceUid,
      segments: itemsOf(json, '00620002').map(item => segmentOf(item, masks, fractional)),
      framesWithoutSource,
    }
  } finally {
    await frames.close()
  }
}

function segmentOf(
  item: DicomJson,
  masks: ReadonlyMap<number, MaskSlice[]>,
  fractional: FindingMask['fractional'],
): ReadSegment {
  const number = numberOf(item, '00620004') ?? 0
  const trackingUid = textOf(item, '00620021')
  const type = conceptIn(item, '0062000F')
  const category = conceptIn(item, '00620003')
  const slices = masks.get(number)
  return {
    number,
    label: textOf(item, '00620005') ?? `Segment ${number}`,
    ...(trackingUid ? { trackingUid } : {}),
    ...(type ? { type } : {}),
    ...(category ? { category } : {}),
    ...(slices ? { mask: { ...(fractional ? { fractional } : {}), slices } } : {}),
  }
}

/** The segments that a frame shows, each with the value of its pixels; undefined: all that are not 0. */
function* segmentsIn(
  json: DicomJson,
  frame: number,
  frames: number,
  samples: Samples,
): Generator<[number, number | undefined]> {
  if (textOf(json, '00620001') === 'LABELMAP') {
    const present = new Set<number>()
    for (let i = 0; i < samples.length; i++) if (samples[i] !== 0) present.add(samples[i]!)
    for (const number of present) yield [number, number]
    return
  }
  const number =
    numberOf(macroOf(json, frame, '0062000A'), '0062000B') ??
    // TILED_FULL has no groups of frames: all tiles of the first segment come first (PS3.3 C.7.6.17.3).
    (textOf(json, '00209311') === 'TILED_FULL'
      ? 1 + Math.floor((frame * itemsOf(json, '00620002').length) / frames)
      : undefined)
  if (number !== undefined) yield [number, undefined]
}

function sourceOf(json: DicomJson, frame: number): Omit<MaskSlice, 'runs'> | undefined {
  const derivation = macroOf(json, frame, '00089124')
  const source = itemsOf(derivation, '00082112')[0]
  const sopInstanceUid = source && textOf(source, '00081155')
  if (!sopInstanceUid) return undefined
  const number = numberOf(source!, '00081160')
  return { sopInstanceUid, ...(number ? { frame: number } : {}) }
}
