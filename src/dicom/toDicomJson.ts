import type { DataSet, Element } from 'dicom-parser'
import { type CharacterSet, characterSetOf } from './characterSet.js'
import type { DicomJson, DicomJsonElement, DicomJsonValue, PersonName } from './dicomJson.js'
import { vrOf } from './dictionary.js'

/** Sequences nested deeper than this are refused: no real object needs them, and recursion must end. */
const maxSequenceDepth = 64
/** Binary values up to this length stand in the JSON; of longer ones their path within the data set, as Bulk Data URI. */
const defaultInlineBinary = 4096

const pixelDataTags = new Set(['7FE00008', '7FE00009', '7FE00010'])

export class NestedTooDeep extends Error {}

const stringVrs = new Set(['AE', 'AS', 'CS', 'DA', 'DT', 'LO', 'LT', 'SH', 'ST', 'TM', 'UC', 'UI', 'UR', 'UT'])
const textVrs = new Set(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT'])
const singleValued = new Set(['LT', 'ST', 'UR', 'UT'])
const numericVrs: Readonly<Record<string, { bytes: number; read: keyof DataView }>> = {
  US: { bytes: 2, read: 'getUint16' },
  SS: { bytes: 2, read: 'getInt16' },
  UL: { bytes: 4, read: 'getUint32' },
  SL: { bytes: 4, read: 'getInt32' },
  FL: { bytes: 4, read: 'getFloat32' },
  FD: { bytes: 8, read: 'getFloat64' },
  UV: { bytes: 8, read: 'getBigUint64' },
  SV: { bytes: 8, read: 'getBigInt64' },
}

/**
 * Header of a parsed data set as DICOM JSON (PS3.18 F): group lengths and Pixel Data left out.
 * @param maxInlineBinary of binary values with more bytes only the path is kept: `54000100/0/54001010`
 * @throws NestedTooDeep
 */
export function toDicomJson(
  dataSet: DataSet,
  littleEndian: boolean,
  maxInlineBinary = defaultInlineBinary,
  inherited?: CharacterSet,
  depth = 0,
  path = '',
): DicomJson {
  if (depth > maxSequenceDepth) throw new NestedTooDeep(`sequences are nested deeper than ${maxSequenceDepth}`)
  const charset = characterSetOf(dataSet, inherited)
  const signed = dataSet.elements.x00280103 !== undefined && dataSet.uint16('x00280103') === 1
  const json: DicomJson = {}
  const context = { charset, littleEndian, signed, depth, path, maxInlineBinary }
  for (const key of Object.keys(dataSet.elements).sort()) {
    const tag = key.slice(1).toUpperCase()
    if (tag.endsWith('0000') || tag.startsWith('FFFE') || pixelDataTags.has(tag)) continue
    json[tag] = convertElement(dataSet, dataSet.elements[key]!, tag, context)
  }
  return json
}

interface Context {
  charset: CharacterSet
  littleEndian: boolean
  signed: boolean
  depth: number
  path: string
  maxInlineBinary: number
}

function convertElement(dataSet: DataSet, element: Element, tag: string, context: Context): DicomJsonElement {
  let vr = element.vr ?? vrOf(tag) ?? 'UN'
  if (vr === 'UN' && !element.items) vr = knownVrOfUn(tag) ?? 'UN'
  if (vr === 'US' && element.vr === undefined && context.signed && isPixelValued(tag)) vr = 'SS'
  if (element.items || vr === 'SQ') {
    const items = (element.items ?? []).filter(item => item.dataSet)
    // An item of an UN sequence is Implicit VR (PS3.5 6.2.2 note): its elements have no VR of their own.
    const Value = items.map((item, i) =>
      toDicomJson(
        item.dataSet!,
        context.littleEndian,
        context.maxInlineBinary,
        context.charset,
        context.depth + 1,
        `${context.path}${tag}/${i}/`,
      ),
    )
    return { vr: 'SQ', ...(Value.length > 0 ? { Value } : {}) }
  }
  const bytes = dataSet.byteArray.subarray(element.dataOffset, element.dataOffset + element.length)
  if (bytes.length === 0) return { vr }
  const numeric = numericVrs[vr]
  if (numeric) return { vr, Value: readNumbers(bytes, numeric, context.littleEndian) }
  if (vr === 'AT') return { vr, Value: readTags(bytes, context.littleEndian) }
  if (vr === 'PN') return { vr, Value: splitText(bytes, context.charset, true).map(personName) }
  if (vr === 'DS' || vr === 'IS') return { vr, Value: splitText(bytes, context.charset, false).map(decimal) }
  if (stringVrs.has(vr)) {
    const values = singleValued.has(vr)
      ? [trimEnd(decode(bytes, vr, context.charset))]
      : stringValues(bytes, vr, context.charset)
    return values.length === 1 && values[0] === ''
      ? { vr }
      : { vr, Value: values.map(value => (value === '' ? null : value)) }
  }
  if (bytes.length > context.maxInlineBinary) return { vr, BulkDataURI: `${context.path}${tag}` }
  const binary = Buffer.from(bytes) // a copy: its bytes may be exchanged
  if (!context.littleEndian) swapWords(binary, vr) // PS3.18 F.2.7: InlineBinary is Little Endian
  return { vr, InlineBinary: binary.toString('base64') }
}

/** Turns words of a binary value from Big to Little Endian, in place. */
export function swapWords(bytes: Buffer, vr: string): void {
  const size = { OW: 2, OF: 4, OL: 4, OD: 8, OV: 8 }[vr]
  if (!size || bytes.length % size !== 0) return
  if (size === 2) bytes.swap16()
  else if (size === 4) bytes.swap32()
  else bytes.swap64()
}

/** Elements sent as UN whose VR the dictionary knows, unless it is one of the binary ones. */
function knownVrOfUn(tag: string): string | undefined {
  const vr = vrOf(tag)
  return vr && (stringVrs.has(vr) || vr === 'PN' || vr === 'DS' || vr === 'IS') ? vr : undefined
}

/** Attributes whose VR is US or SS by Pixel Representation (PS3.5 A.1 note). */
function isPixelValued(tag: string): boolean {
  return ['00280106', '00280107', '00280108', '00280109', '00280120', '00280121'].includes(tag)
}

function decode(bytes: Uint8Array, vr: string, charset: CharacterSet): string {
  return textVrs.has(vr)
    ? charset.decode(bytes, vr === 'PN')
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function stringValues(bytes: Uint8Array, vr: string, charset: CharacterSet): string[] {
  // Trailing NUL pads a UID, trailing space pads all others; leading spaces are insignificant in all but LT, ST, UT.
  return decode(bytes, vr, charset)
    .split('\\')
    .map(value => trimEnd(value).trimStart())
}

function splitText(bytes: Uint8Array, charset: CharacterSet, isName: boolean): string[] {
  return charset
    .decode(bytes, isName)
    .split('\\')
    .map(value => trimEnd(value).trimStart())
}

function trimEnd(text: string): string {
  let end = text.length
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end--
  return end === text.length ? text : text.slice(0, end)
}

function personName(text: string): DicomJsonValue {
  const [Alphabetic, Ideographic, Phonetic] = text.split('=').map(group => group.replace(/[ ^]+$/, ''))
  const name: PersonName = {
    ...(Alphabetic ? { Alphabetic } : {}),
    ...(Ideographic ? { Ideographic } : {}),
    ...(Phonetic ? { Phonetic } : {}),
  }
  return Object.keys(name).length > 0 ? name : null
}

/** A number where JSON can hold it without loss, else the original text (PS3.18 F.2.3). */
function decimal(text: string): DicomJsonValue {
  if (text === '') return null
  const number = Number(text)
  if (text.length <= 15 && Number.isFinite(number)) return number
  const digits = text
    .replace(/[eE].*$/, '')
    .replace(/[^0-9]/g, '')
    .replace(/^0+/, '')
  return Number.isFinite(number) && digits.length <= 15 ? number : text
}

function readNumbers(
  bytes: Uint8Array,
  { bytes: size, read }: { bytes: number; read: keyof DataView },
  littleEndian: boolean,
): DicomJsonValue[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const values: DicomJsonValue[] = []
  for (let at = 0; at + size <= bytes.length; at += size) {
    const value = (view[read] as (offset: number, little: boolean) => number | bigint).call(view, at, littleEndian)
    if (typeof value === 'bigint') values.push(Number.isSafeInteger(Number(value)) ? Number(value) : value.toString())
    else values.push(Number.isFinite(value) ? value : String(value))
  }
  return values
}

function readTags(bytes: Uint8Array, littleEndian: boolean): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(4, '0')
  const tags: string[] = []
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    tags.push(hex(view.getUint16(at, littleEndian)) + hex(view.getUint16(at + 2, littleEndian)))
  }
  return tags
}
