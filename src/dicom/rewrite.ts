import type { DataSet, Element } from 'dicom-parser'
import { vrOf } from './dictionary.js'

/** New content of an attribute: its bytes in Little Endian, padded to even length by the writer. `undefined` removes it. */
export type Replacement = { vr: string; bytes: Uint8Array } | undefined

const longLengthVrs = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV'])
const wordSizes: Readonly<Record<string, number>> = {
  US: 2,
  SS: 2,
  OW: 2,
  AT: 2,
  UL: 4,
  SL: 4,
  FL: 4,
  OF: 4,
  OL: 4,
  FD: 8,
  OD: 8,
  OV: 8,
  SV: 8,
  UV: 8,
}

/**
 * Encodes a parsed data set as Explicit VR Little Endian. Values keep their bytes, so that text, private elements, odd numbers and
 * empty items survive; only byte order and length fields change.
 * @param replacements by tag, eight upper case hexadecimal digits, for the top level
 */
export function rewriteDataSet(
  dataSet: DataSet,
  bigEndian: boolean,
  replacements: ReadonlyMap<string, Replacement>,
): Buffer {
  return Buffer.concat(encodeElements(dataSet, bigEndian, replacements))
}

function encodeElements(
  dataSet: DataSet,
  bigEndian: boolean,
  replacements?: ReadonlyMap<string, Replacement>,
): Buffer[] {
  const present = new Map(Object.values(dataSet.elements).map(element => [element.tag.slice(1).toUpperCase(), element]))
  const tags = new Set([...present.keys(), ...(replacements?.keys() ?? [])])
  const out: Buffer[] = []
  for (const tag of [...tags].sort()) {
    if (tag.endsWith('0000') || tag.startsWith('FFFE')) continue
    if (replacements?.has(tag)) {
      const replacement = replacements.get(tag)
      if (replacement)
        out.push(elementHeader(tag, replacement.vr, even(replacement.bytes).length), even(replacement.bytes))
      continue
    }
    out.push(...encodeElement(dataSet, present.get(tag)!, tag, bigEndian))
  }
  return out
}

function encodeElement(dataSet: DataSet, element: Element, tag: string, bigEndian: boolean): Buffer[] {
  if (element.items) {
    const items = element.items.map(item =>
      item.dataSet ? Buffer.concat(encodeElements(item.dataSet, bigEndian)) : Buffer.alloc(0),
    )
    const body = items.flatMap(item => [itemHeader(item.length), item])
    const length = body.reduce((sum, part) => sum + part.length, 0)
    return [elementHeader(tag, 'SQ', length), ...body]
  }
  let vr = element.vr ?? vrOf(tag) ?? 'UN'
  const bytes = Buffer.from(dataSet.byteArray.subarray(element.dataOffset, element.dataOffset + element.length))
  const size = wordSizes[vr]
  if (bigEndian && size && bytes.length % size === 0) {
    if (size === 2) bytes.swap16()
    else if (size === 4) bytes.swap32()
    else bytes.swap64()
  }
  const padded = even(bytes, vr === 'UI' || vr === 'OB' || vr === 'UN' ? 0 : 0x20)
  if (!longLengthVrs.has(vr) && padded.length > 0xffff) vr = 'UN' // PS3.5 6.2.2: a value too long for its VR's length field
  return [elementHeader(tag, vr, padded.length), padded]
}

function elementHeader(tag: string, vr: string, length: number): Buffer {
  const long = longLengthVrs.has(vr)
  const header = Buffer.alloc(long ? 12 : 8)
  header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
  header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
  header.write(vr, 4, 'latin1')
  if (long) header.writeUInt32LE(length, 8)
  else header.writeUInt16LE(length, 6)
  return header
}

function itemHeader(length: number): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0xe000fffe, 0)
  header.writeUInt32LE(length, 4)
  return header
}

function even(bytes: Uint8Array, padding = 0): Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.length % 2 === 0 ? buffer : Buffer.concat([buffer, Buffer.from([padding])])
}

/** File meta information (PS3.10 7.1) with preamble, for a data set in the given transfer syntax. */
export function fileMeta(values: {
  sopClassUid: string
  sopInstanceUid: string
  transferSyntaxUid: string
  implementationClassUid: string
}): Buffer {
  const uid = (tag: string, value: string) => {
    const bytes = even(Buffer.from(value, 'latin1'))
    return Buffer.concat([elementHeader(tag, 'UI', bytes.length), bytes])
  }
  const body = Buffer.concat([
    elementHeader('00020001', 'OB', 2),
    Buffer.from([0, 1]),
    uid('00020002', values.sopClassUid),
    uid('00020003', values.sopInstanceUid),
    uid('00020010', values.transferSyntaxUid),
    uid('00020012', values.implementationClassUid),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(body.length)
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), elementHeader('00020000', 'UL', 4), length, body])
}
