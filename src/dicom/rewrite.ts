import type { DataSet, Element } from 'dicom-parser'
import { type CharacterSet, characterSetOf } from './characterSet.js'
import { vrOf } from './dictionary.js'
import { isPrivate, isPrivateCreator, privateBlockOf } from './privateElements.js'

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
 * New contents by where they are: a tag of eight upper case hexadecimal digits, or, within sequences, a path of tags and item numbers from 0:
 * `52009230.3.00289132.0.00281050`.
 */
export type Replacements = ReadonlyMap<string, Replacement>

/** An element that is about to be written; its value in Little Endian, text in the data set's character set. */
export interface ElementToWrite {
  tag: string
  vr: string
  /** Undefined for sequences. */
  bytes: Buffer | undefined
}

export interface RewriteOptions {
  /** As Implicit instead of Explicit VR Little Endian (PS3.5 A.1). */
  implicit?: boolean
  /** Asked for every element, also within sequences, that is not replaced otherwise: whether it stays, or what takes its place. A sequence that stays is gone through. */
  change?: (element: ElementToWrite) => 'keep' | Replacement
  /** All text becomes UTF-8, and Specific Character Set says so. */
  utf8?: boolean
  /** Private elements are dropped, except those of these creators. */
  privateCreators?: readonly string[]
}

interface Rewriting extends RewriteOptions {
  bigEndian: boolean
  /** Replacements by the path of their data set, then by tag. */
  replacements: ReadonlyMap<string, ReadonlyMap<string, Replacement>>
}

/**
 * Encodes a parsed data set as Explicit VR Little Endian, or Implicit if `options` say so. Values keep their bytes, so that text, private elements, odd numbers and
 * empty items survive; only byte order and length fields change, unless `options` ask for more.
 */
export function rewriteDataSet(
  dataSet: DataSet,
  bigEndian: boolean,
  replacements: Replacements,
  options: RewriteOptions = {},
): Buffer {
  const byDataSet = new Map<string, Map<string, Replacement>>()
  for (const [path, replacement] of replacements) {
    const at = path.lastIndexOf('.') + 1
    const prefix = path.slice(0, at)
    byDataSet.set(prefix, (byDataSet.get(prefix) ?? new Map()).set(path.slice(at), replacement))
  }
  return Buffer.concat(encodeElements(dataSet, { ...options, bigEndian, replacements: byDataSet }, '', undefined))
}

function encodeElements(
  dataSet: DataSet,
  rewriting: Rewriting,
  path: string,
  inherited: CharacterSet | undefined,
): Buffer[] {
  const replacements = rewriting.replacements.get(path)
  const present = new Map(Object.values(dataSet.elements).map(element => [element.tag.slice(1).toUpperCase(), element]))
  const tags = new Set([...present.keys(), ...(replacements?.keys() ?? [])])
  const charset = characterSetOf(dataSet, inherited)
  const kept = rewriting.privateCreators ? privateBlocks(dataSet, rewriting.privateCreators, charset) : undefined
  if (rewriting.utf8 && path === '') tags.add('00080005')
  const out: Buffer[] = []
  for (const tag of [...tags].sort()) {
    if (tag.endsWith('0000') || tag.startsWith('FFFE')) continue
    if (kept && isPrivate(tag) && !kept.has(privateBlockOf(tag))) continue
    if (rewriting.utf8 && tag === '00080005') {
      const utf8 = { vr: 'CS', bytes: Buffer.from('ISO_IR 192') }
      if (path === '') out.push(...encodeReplacement(tag, utf8, rewriting))
    } else if (replacements?.has(tag)) out.push(...encodeReplacement(tag, replacements.get(tag), rewriting))
    else out.push(...encodeElement(dataSet, present.get(tag)!, tag, rewriting, path, charset))
  }
  return out
}

function encodeReplacement(tag: string, replacement: Replacement, { implicit }: RewriteOptions): Buffer[] {
  if (!replacement) return []
  const bytes = even(replacement.bytes, paddingOf(replacement.vr))
  return [headerOf(tag, replacement.vr, bytes.length, implicit), bytes]
}

function encodeElement(
  dataSet: DataSet,
  element: Element,
  tag: string,
  rewriting: Rewriting,
  path: string,
  charset: CharacterSet,
): Buffer[] {
  if (element.items) {
    const changed = rewriting.change?.({ tag, vr: 'SQ', bytes: undefined }) ?? 'keep'
    if (changed !== 'keep') return encodeReplacement(tag, changed, rewriting)
    const items = element.items.map((item, i) =>
      item.dataSet
        ? Buffer.concat(encodeElements(item.dataSet, rewriting, `${path}${tag}.${i}.`, charset))
        : Buffer.alloc(0),
    )
    const body = items.flatMap(item => [itemHeader(item.length), item])
    const length = body.reduce((sum, part) => sum + part.length, 0)
    return [headerOf(tag, 'SQ', length, rewriting.implicit), ...body]
  }
  let vr = element.vr ?? vrOf(tag) ?? 'UN'
  let bytes = Buffer.from(dataSet.byteArray.subarray(element.dataOffset, element.dataOffset + element.length))
  const size = wordSizes[vr]
  if (rewriting.bigEndian && size && bytes.length % size === 0) {
    if (size === 2) bytes.swap16()
    else if (size === 4) bytes.swap32()
    else bytes.swap64()
  }
  const changed = rewriting.change ? rewriting.change({ tag, vr, bytes }) : 'keep'
  if (changed !== 'keep') return encodeReplacement(tag, changed, rewriting)
  if (rewriting.utf8 && textVrs.has(vr)) bytes = Buffer.from(charset.decode(bytes, vr === 'PN').replace(/[\0 ]+$/, ''))
  const padded = even(bytes, paddingOf(vr))
  if (!longLengthVrs.has(vr) && padded.length > 0xffff) vr = 'UN' // PS3.5 6.2.2: a value too long for its VR's length field
  return [headerOf(tag, vr, padded.length, rewriting.implicit), padded]
}

const textVrs = new Set(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT'])

function paddingOf(vr: string): number {
  return ['UI', 'OB', 'OW', 'OF', 'OD', 'OL', 'OV', 'UN'].includes(vr) ? 0 : 0x20
}

/** The private blocks of a data set that one of `creators` has reserved. */
function privateBlocks(dataSet: DataSet, creators: readonly string[], charset: CharacterSet): Set<string> {
  const blocks = new Set<string>()
  for (const element of Object.values(dataSet.elements)) {
    const tag = element.tag.slice(1).toUpperCase()
    if (!isPrivateCreator(tag)) continue
    const bytes = dataSet.byteArray.subarray(element.dataOffset, element.dataOffset + element.length)
    if (creators.includes(charset.decode(bytes).trim())) blocks.add(privateBlockOf(tag))
  }
  return blocks
}

/** Tag and length of an element, with its VR unless it is implicit. */
function headerOf(tag: string, vr: string, length: number, implicit: boolean | undefined): Buffer {
  return implicit ? implicitElementHeader(tag, length) : elementHeader(tag, vr, length)
}

/** Tag and length of an element in Implicit VR Little Endian. */
export function implicitElementHeader(tag: string, length: number): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
  header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
  header.writeUInt32LE(length, 4)
  return header
}

/** Length of what ends with {@link sequenceDelimitation} (PS3.5 7.5.1, A.4). */
export const undefinedLength = 0xffffffff
export const sequenceDelimitation = Buffer.from('feffdde000000000', 'hex')

/** Tag, VR and length of an element in Explicit VR Little Endian. */
export function elementHeader(tag: string, vr: string, length: number): Buffer {
  const long = longLengthVrs.has(vr)
  const header = Buffer.alloc(long ? 12 : 8)
  header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
  header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
  header.write(vr, 4, 'latin1')
  if (long) header.writeUInt32LE(length, 8)
  else header.writeUInt16LE(length, 6)
  return header
}

export function itemHeader(length: number): Buffer {
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
