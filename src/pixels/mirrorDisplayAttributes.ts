import { decimalString } from '../dicom/decimalString.js'
import { type DicomJson, itemsOf, numberOf, numbersOf, textOf, wordsOf } from '../dicom/dicomJson.js'
import type { Replacement } from '../dicom/rewrite.js'
import { mirrorSum } from './photometric.js'

/** Slope and intercept from stored to modality values. */
interface Rescale {
  slope: number
  intercept: number
}

/**
 * The attributes that change when MONOCHROME1 becomes MONOCHROME2 by v' = S − v, so that each pixel is displayed as before: windows, VOI and
 * modality LUTs, padding, smallest and largest value, presentation LUT shape, intensity relationship sign; in functional groups too. Modality
 * values are mirrored with the stored ones; Real World Value Mapping gives each pixel the value that it had.
 * @returns replacements by path, as `rewriteDataSet` takes them
 * @see PS3.3 C.11.1, C.11.2 for the LUTs and windows, C.7.5.1.1.2 for padding, C.7.6.16.2.11 for real world values
 */
export function mirrorDisplayAttributes(
  header: DicomJson,
  bitsStored: number,
  signed: boolean,
): Map<string, Replacement> {
  const mirror = new Mirror(mirrorSum(bitsStored, signed), signed)
  mirror.changes.set('00280004', text('CS', 'MONOCHROME2'))
  const rescale = rescaleOf(header)
  mirror.voi(header, '', mirror.modalityLut(header, bitsStored) ?? mirror.topLevelAbout(header, rescale))
  mirror.realWorldValues(header, '')
  mirror.storedValues(header)
  mirror.functionalGroups(header, rescale)
  return mirror.changes
}

function rescaleOf(header: DicomJson): Rescale {
  return { slope: numberOf(header, '00281053') ?? 1, intercept: numberOf(header, '00281052') ?? 0 }
}

class Mirror {
  readonly changes = new Map<string, Replacement>()

  constructor(
    private readonly sum: number,
    private readonly signed: boolean,
  ) {}

  /** Modality values x' and x of a value and its mirror image add up to this. */
  about({ slope, intercept }: Rescale): number {
    return slope * this.sum + 2 * intercept
  }

  /** The Modality LUT with input and output mirrored. @returns what modality values and their mirror images add up to, if there is one */
  modalityLut(header: DicomJson, bitsStored: number): number | undefined {
    const lut = lookUpTable(itemsOf(header, '00283000')[0], this.signed)
    if (!lut) return undefined
    // Entries for values that cannot be stored say nothing, and their mirror images need not fit the descriptor.
    const lowest = this.signed ? -(2 ** (bitsStored - 1)) : 0
    return this.mirrorTable('00283000.0.', within(lut, lowest, lowest + 2 ** bitsStored - 1), this.sum)
  }

  /**
   * As `about`, unless a VOI LUT's first mapped value would then not fit into its 16 bits: another Rescale Intercept moves the mirrored modality
   * values to where the LUT is.
   */
  topLevelAbout(header: DicomJson, rescale: Rescale): number {
    const about = this.about(rescale)
    const lut = lookUpTable(itemsOf(header, '00283010')[0], this.signed)
    if (!lut) return about
    const last = lut.first + lut.entries.length - 1
    if (about - last >= -32768 && about - last <= 65535 && (about - last <= 32767 || !this.signed)) return about
    const moved = lut.first + last
    this.changes.set('00281052', text('DS', decimalString(rescale.intercept + moved - about)))
    if (header['00281053'] === undefined) this.changes.set('00281053', text('DS', '1'))
    return moved
  }

  /** @returns the sum of an output value and its mirror image */
  private mirrorTable(path: string, lut: LookUpTable, inputSum: number): number {
    const outputSum = 2 ** lut.bits - 1
    const first = Math.round(inputSum) - (lut.first + lut.entries.length - 1)
    this.changes.set(`${path}00283002`, words([lut.descriptorCount, first, lut.bits]))
    this.changes.set(`${path}00283006`, {
      vr: 'OW',
      bytes: bytesOf(lut.entries.map(entry => outputSum - entry).reverse()),
    })
    return outputSum
  }

  /** Windows, whose centre is mirrored, and VOI LUTs. @param about what modality values and their mirror images add up to */
  voi(header: DicomJson, path: string, about: number): void {
    const centers = numbersOf(header, '00281050')
    if (centers.length > 0) {
      // LINEAR is asymmetric by one (C.11.2.1.2.1), the other two functions are not.
      const offset = (textOf(header, '00281056') ?? 'LINEAR') === 'LINEAR' ? 1 : 0
      const mirrored = centers.map(center => decimalString(about - center + offset))
      this.changes.set(`${path}00281050`, text('DS', mirrored.join('\\')))
    }
    for (const [i, item] of itemsOf(header, '00283010').entries()) {
      const lut = lookUpTable(item, this.signed)
      if (lut) this.mirrorTable(`${path}00283010.${i}.`, lut, about)
    }
  }

  /** Real World Value Mapping: the same value for the mirror image of each stored value. */
  realWorldValues(header: DicomJson, path: string): void {
    for (const [i, item] of itemsOf(header, '00409096').entries()) {
      const at = `${path}00409096.${i}.`
      const slope = numberOf(item, '00409225')
      const intercept = numberOf(item, '00409224')
      if (slope !== undefined && intercept !== undefined) {
        this.changes.set(`${at}00409225`, double([-slope]))
        this.changes.set(`${at}00409224`, double([slope * this.sum + intercept]))
      }
      const table = numbersOf(item, '00409212')
      if (table.length > 0) this.changes.set(`${at}00409212`, double(table.reverse()))
      const [first, last] = [numberOf(item, '00409216'), numberOf(item, '00409211')]
      if (first !== undefined) this.changes.set(`${at}00409211`, this.value(this.sum - first))
      if (last !== undefined) this.changes.set(`${at}00409216`, this.value(this.sum - last))
    }
  }

  /** Attributes that are stored values. */
  storedValues(header: DicomJson): void {
    const mirrorOne = (tag: string, from = tag) => {
      const value = numberOf(header, from)
      if (value !== undefined) this.changes.set(tag, this.value(this.sum - value))
    }
    mirrorOne('00280120')
    mirrorOne('00280121')
    mirrorOne('00280106', '00280107')
    mirrorOne('00280107', '00280106')
    if (textOf(header, '20500020') === 'INVERSE') this.changes.set('20500020', text('CS', 'IDENTITY'))
    const sign = numberOf(header, '00281041')
    if (sign !== undefined) this.changes.set('00281041', word('SS', -sign))
  }

  /** Frame VOI LUT (C.7.6.16.2.10) and Real World Value Mapping of enhanced objects, with the frame's own rescale. */
  functionalGroups(header: DicomJson, outer: Rescale): void {
    const shared = itemsOf(header, '52009229')[0]
    const sharedRescale = (shared && groupRescale(shared)) ?? outer
    const group = (item: DicomJson, path: string) => {
      const rescale = groupRescale(item) ?? sharedRescale
      for (const [i, voi] of itemsOf(item, '00289132').entries())
        this.voi(voi, `${path}00289132.${i}.`, this.about(rescale))
      this.realWorldValues(item, path)
    }
    if (shared) group(shared, '52009229.0.')
    for (const [i, item] of itemsOf(header, '52009230').entries()) group(item, `52009230.${i}.`)
  }

  private value(value: number): Replacement {
    return word(this.signed ? 'SS' : 'US', value)
  }
}

/** Pixel Value Transformation (C.7.6.16.2.9). */
function groupRescale(item: DicomJson): Rescale | undefined {
  const transformation = itemsOf(item, '00289145')[0]
  return transformation && rescaleOf(transformation)
}

interface LookUpTable {
  /** As it stands in the descriptor, where 0 is 65536. */
  descriptorCount: number
  first: number
  bits: number
  entries: Uint16Array
}

function lookUpTable(item: DicomJson | undefined, signed: boolean): LookUpTable | undefined {
  if (!item) return undefined
  const [count, first, bits] = numbersOf(item, '00283002')
  const data = wordsOf(item, '00283006')
  if (count === undefined || first === undefined || bits === undefined || !data) return undefined
  const length = count & 0xffff || 65536
  // Entries of up to 8 bits may come two to a word (C.11.1.1.1).
  const packed = bits <= 8 && data.length < length && data.length * 2 >= length
  const entries = packed
    ? Uint16Array.from({ length }, (_, i) => (data[i >> 1]! >> ((i & 1) * 8)) & 0xff)
    : data.slice(0, length)
  return { descriptorCount: count & 0xffff, first: signed ? (first << 16) >> 16 : first, bits, entries }
}

/** The entries for inputs from `lowest` to `highest`; at least one. */
function within(lut: LookUpTable, lowest: number, highest: number): LookUpTable {
  const last = lut.first + lut.entries.length - 1
  const first = Math.min(Math.max(lut.first, lowest), highest)
  const from = Math.min(Math.max(first - lut.first, 0), lut.entries.length - 1)
  const to = Math.min(Math.max(Math.min(last, highest) - lut.first, from), lut.entries.length - 1)
  const entries = lut.entries.slice(from, to + 1)
  return { ...lut, first, entries, descriptorCount: entries.length & 0xffff }
}

function words(values: readonly number[]): Replacement {
  const signed = values.some(value => value < 0)
  return { vr: signed ? 'SS' : 'US', bytes: bytesOf(Uint16Array.from(values, value => value & 0xffff)) }
}

function bytesOf(values: Uint16Array): Buffer {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [i, value] of values.entries()) bytes.writeUInt16LE(value, i * 2)
  return bytes
}

function double(values: readonly number[]): Replacement {
  const bytes = Buffer.alloc(values.length * 8)
  for (const [i, value] of values.entries()) bytes.writeDoubleLE(value, i * 8)
  return { vr: 'FD', bytes }
}

export function text(vr: string, value: string): Replacement {
  return { vr, bytes: Buffer.from(value, 'latin1') }
}

export function word(vr: 'US' | 'SS', value: number): Replacement {
  const bytes = Buffer.alloc(2)
  if (vr === 'SS') bytes.writeInt16LE(Math.max(-32768, Math.min(32767, value)))
  else bytes.writeUInt16LE(Math.max(0, Math.min(65535, value)))
  return { vr, bytes }
}
