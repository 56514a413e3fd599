import { type DicomJson, numberOf } from '../dicom/dicomJson.js'
import type { Replacement } from '../dicom/rewrite.js'
import type { ImageDescription } from './imageDescription.js'
import { text, word } from './mirrorDisplayAttributes.js'

/** An overlay that stands in bits of the samples above or below the stored ones (retired; PS3.3 C.9.2 of 2004). */
export interface EmbeddedOverlay {
  /** `6000` to `601E`. */
  group: string
  /** Overlay Bit Position (60xx,0102). */
  bit: number
}

/** The embedded overlays of an object; those that have Overlay Data of their own are none. */
export function embeddedOverlays(header: DicomJson, image: ImageDescription): EmbeddedOverlay[] {
  const lowest = image.highBit + 1 - image.bitsStored
  return Array.from({ length: 16 }, (_, i) => (0x6000 + i * 2).toString(16).toUpperCase()).flatMap(group => {
    const bit = numberOf(header, `${group}0102`)
    const allocated = numberOf(header, `${group}0100`)
    if (bit === undefined || allocated === undefined || allocated < 2 || header[`${group}3000`]) return []
    const outside = bit < image.bitsAllocated && (bit > image.highBit || bit < lowest)
    return outside ? [{ group, bit }] : []
  })
}

/** Attributes of an overlay that now stands in Overlay Data (60xx,3000), one bit a pixel, frames one after another. */
export function overlayAttributes(
  { group }: EmbeddedOverlay,
  image: ImageDescription,
  packed: Uint8Array,
): [string, Replacement][] {
  return [
    [`${group}0010`, word('US', image.rows)],
    [`${group}0011`, word('US', image.columns)],
    ...(image.frames > 1 ? [[`${group}0015`, text('IS', String(image.frames))] as [string, Replacement]] : []),
    [`${group}0100`, word('US', 1)],
    [`${group}0102`, word('US', 0)],
    [`${group}3000`, { vr: 'OW', bytes: packed }],
  ]
}

/** Packs samples of 0 and 1, the first one in the lowest bit. @param at the bit of `into` to begin at */
export function packBits(samples: ArrayLike<number>, into: Uint8Array, at: number): void {
  for (let i = 0, bit = at; i < samples.length; i++, bit++) if (samples[i]) into[bit >> 3]! |= 1 << (bit & 7)
}
