import { decimalString } from '../dicom/decimalString.js'
import { type DicomJson, itemsOf, numberOf, numbersOf, textOf } from '../dicom/dicomJson.js'
import type { Replacement } from '../dicom/rewrite.js'
import { mirrorSum } from './photometric.js'

/**
 * The attributes that change when MONOCHROME1 becomes MONOCHROME2 by v' = S − v, so that each pixel is displayed as before:
 * window centre, padding, smallest and largest value, presentation LUT shape, intensity relationship sign.
 * @see PS3.3 C.11.2.1.2 for the windows, C.7.5.1.1.2 for padding
 */
export function mirrorDisplayAttributes(
  header: DicomJson,
  bitsStored: number,
  signed: boolean,
): Map<string, Replacement> {
  const sum = mirrorSum(bitsStored, signed)
  const changes = new Map<string, Replacement>([['00280004', text('CS', 'MONOCHROME2')]])

  const slope = numberOf(header, '00281053') ?? 1
  const intercept = numberOf(header, '00281052') ?? 0
  const centers = numbersOf(header, '00281050')
  if (centers.length > 0) {
    // LINEAR is asymmetric by one (C.11.2.1.2.1), the other two functions are not.
    const offset = (textOf(header, '00281056') ?? 'LINEAR') === 'LINEAR' ? 1 : 0
    const mirrored = centers.map(center => decimalString(slope * sum + 2 * intercept - center + offset))
    changes.set('00281050', text('DS', mirrored.join('\\')))
  }
  const vr = signed ? 'SS' : 'US'
  const mirrorOne = (tag: string, from = tag) => {
    const value = numberOf(header, from)
    if (value !== undefined) changes.set(tag, word(vr, sum - value))
  }
  mirrorOne('00280120')
  mirrorOne('00280121')
  mirrorOne('00280106', '00280107')
  mirrorOne('00280107', '00280106')
  const shape = textOf(header, '20500020')
  if (shape === 'INVERSE') changes.set('20500020', text('CS', 'IDENTITY'))
  const sign = numberOf(header, '00281041')
  if (sign !== undefined) changes.set('00281041', word('SS', -sign))
  // Mirroring VOI LUT tables is not done yet; a window would be lost with them, so such images are refused by the caller.
  return changes
}

/** True if the image is displayed by a VOI LUT table, which this version does not mirror. */
export function hasVoiLut(header: DicomJson): boolean {
  return itemsOf(header, '00283010').length > 0
}

export function text(vr: string, value: string): Replacement {
  const bytes = Buffer.from(value, 'latin1')
  return { vr, bytes: bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.from(vr === 'UI' ? '\0' : ' ')]) }
}

export function word(vr: 'US' | 'SS', value: number): Replacement {
  const bytes = Buffer.alloc(2)
  if (vr === 'SS') bytes.writeInt16LE(Math.max(-32768, Math.min(32767, value)))
  else bytes.writeUInt16LE(Math.max(0, Math.min(65535, value)))
  return { vr, bytes }
}
