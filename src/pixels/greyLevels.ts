import { type DicomJson, numbersOf, textsOf } from '../dicom/dicomJson.js'
import { macroOf } from '../dicom/functionalGroups.js'

/** In modality values (PS3.3 C.11.2). */
export interface Window {
  center: number
  width: number
  /** VOI LUT Function (0028,1056); linear if not said otherwise. */
  shape?: 'linear' | 'linear-exact' | 'sigmoid'
}

/** What turns samples of an image into grey levels. */
export interface GreyScale {
  samples: ArrayLike<number>
  rescale: { slope: number; intercept: number }
  /** Undefined where the image has none. */
  window: Window | undefined
  /** High values are shown dark: the window is that of the stored image, and that was MONOCHROME1. */
  inverted: boolean
}

/**
 * A window of a frame, from 0; undefined where there is none.
 * @param preset the first one, or the one of this number from 1 or with this Window Center & Width Explanation (0028,1055)
 */
export function windowOf(header: DicomJson, frame: number, preset = '1'): Window | undefined {
  const voi = macroOf(header, frame, '00289132')
  const named = textsOf(voi, '00281055').findIndex(text => text.trim().toLowerCase() === preset.trim().toLowerCase())
  const index = named >= 0 ? named : Number(preset) - 1
  const [center, width] = [numbersOf(voi, '00281050')[index], numbersOf(voi, '00281051')[index]]
  return center !== undefined && width !== undefined && width >= 1 ? { center, width } : undefined
}

/** Grey levels, 0 to 255, by the image's window (PS3.3 C.11.2.1.2), or, without one, over the range of its samples. */
export function greyLevels({ samples, rescale, window, inverted }: GreyScale): (sample: number) => number {
  let { center, width } = window ?? { center: 0, width: 0 }
  const shape = window?.shape ?? 'linear'
  if (!window) {
    let [lowest, highest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (let i = 0; i < samples.length; i++) {
      const value = samples[i]! * rescale.slope + rescale.intercept
      lowest = Math.min(lowest, value)
      highest = Math.max(highest, value)
    }
    center = (lowest + highest) / 2
    width = Math.max(1, highest - lowest)
  }
  return sample => {
    const distance = (sample * rescale.slope + rescale.intercept - center) / width
    const level = shape === 'sigmoid' ? 255 / (1 + Math.exp(-4 * distance)) : (distance + 0.5) * 255
    const clamped = level < 0 ? 0 : Math.min(255, level)
    return inverted ? 255 - clamped : clamped
  }
}
