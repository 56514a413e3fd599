import { inflateRawSync, constants as zlib } from 'node:zlib'
import dicomParser, { type ByteArrayParser, type DataSet } from 'dicom-parser'
import type { DicomJson } from './dicomJson.js'
import { textOf } from './dicomJson.js'
import { vrOf } from './dictionary.js'
import { reason } from './reasons.js'
import { NestedTooDeep, toDicomJson } from './toDicomJson.js'
import { findTransferSyntax, type TransferSyntax } from './transferSyntaxes.js'
import { isValidUid } from './uid.js'

/** What one Part 10 file (PS3.10) says of itself, without its pixels. */
export interface InstanceHeader {
  transferSyntax: TransferSyntax
  sopClassUid: string
  sopInstanceUid: string
  studyInstanceUid: string
  seriesInstanceUid: string
  json: DicomJson
  /** First byte of the data set, after the file meta information. */
  dataSetOffset: number
  /**
   * Value of Pixel Data (7FE0,0010), Float (7FE0,0008) or Double Float Pixel Data (7FE0,0009) in the file; offset counts in the inflated
   * data set if the syntax is deflated.
   */
  pixelData?: { tag: string; vr: string; offset: number; length: number; undefinedLength: boolean }
  /** What is not by the standard and was tolerated. */
  warnings: string[]
}

export type HeaderOutcome =
  | { outcome: 'header'; header: InstanceHeader }
  /** The bytes end before the header does, and more are to come. */
  | { outcome: 'incomplete' }
  | { outcome: 'refused'; reason: number; detail: string; sopClassUid?: string; sopInstanceUid?: string }

/** A palette or look-up table of 65536 entries has twice as many bytes; ICC profiles are longer. */
const maxTable = 4 * 1024 * 1024

/** A deflated header may expand to this at most; a decompression bomb ends here. */
const maxInflatedHeader = 64 * 1024 * 1024

/**
 * Reads the header of a Part 10 file: preamble, file meta information and the data set up to Pixel Data.
 * @param bytes the file, or its beginning
 * @param whole true if `bytes` is all there is
 * @param forPixels true when the image is wanted: missing or contradicting UIDs are no reason to refuse, and tables stand in the JSON
 */
export function readPart10Header(bytes: Uint8Array, whole: boolean, forPixels = false): HeaderOutcome {
  const incomplete = (detail: string): HeaderOutcome =>
    whole ? refuse(reason.cannotUnderstand, detail) : { outcome: 'incomplete' }
  if (bytes.length < 132) return incomplete('shorter than the 132 bytes of preamble and prefix')
  if (Buffer.from(bytes.buffer, bytes.byteOffset + 128, 4).toString('latin1') !== 'DICM') {
    return refuse(reason.cannotUnderstand, 'no DICM prefix at byte 128: not a DICOM Part 10 file')
  }
  const meta = readFileMeta(bytes)
  if (meta === 'incomplete') return incomplete('ends inside the file meta information')
  const { transferSyntaxUid } = meta
  if (!transferSyntaxUid) return refuse(reason.cannotUnderstand, 'no Transfer Syntax UID (0002,0010)')
  const syntax = findTransferSyntax(transferSyntaxUid)
  if (!syntax)
    return refuse(reason.transferSyntaxNotSupported, `transfer syntax ${printable(transferSyntaxUid)} is not supported`)

  const parsed = parseDataSet(bytes, meta.end, syntax, whole, { anyVr: forPixels })
  if ('outcome' in parsed) return parsed
  const { dataSet, warnings } = parsed
  const { x7fe00008: float, x7fe00009: double, x7fe00010: integer } = dataSet.elements
  const pixel = integer ?? float ?? double
  if (!pixel && !whole) return { outcome: 'incomplete' }

  let json: DicomJson
  try {
    json = toDicomJson(dataSet, syntax.encoding !== 'explicit-big', forPixels ? maxTable : undefined)
  } catch (error) {
    if (error instanceof NestedTooDeep) return refuse(reason.cannotUnderstand, error.message)
    throw error
  }
  const uids = {
    sopClassUid: textOf(json, '00080016') ?? '',
    sopInstanceUid: textOf(json, '00080018') ?? '',
    studyInstanceUid: textOf(json, '0020000D') ?? '',
    seriesInstanceUid: textOf(json, '0020000E') ?? '',
  }
  const problem = forPixels ? undefined : identityProblem(uids, meta)
  if (problem) return refuse(reason.dataSetDoesNotMatchSopClass, problem, uids)
  return {
    outcome: 'header',
    header: {
      transferSyntax: syntax,
      ...uids,
      json,
      dataSetOffset: meta.end,
      ...(pixel
        ? {
            pixelData: {
              tag: pixel.tag.slice(1).toUpperCase(),
              vr: pixel.vr ?? vrOf(pixel.tag.slice(1).toUpperCase()) ?? 'OW',
              offset: pixel.dataOffset,
              length: pixel.length,
              undefinedLength: pixel.hadUndefinedLength ?? false,
            },
          }
        : {}),
      warnings: [...meta.warnings, ...warnings],
    },
  }
}

interface FileMeta {
  transferSyntaxUid?: string
  mediaStorageSopClassUid?: string
  mediaStorageSopInstanceUid?: string
  end: number
  warnings: string[]
}

const longLengthVrs = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV'])

/** Group 0002, always Explicit VR Little Endian. Its group length is not relied on: it is often wrong. */
function readFileMeta(bytes: Uint8Array): FileMeta | 'incomplete' {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const meta: FileMeta = { end: 132, warnings: [] }
  let declaredEnd: number | undefined
  while (meta.end + 8 <= buffer.length && buffer.readUInt16LE(meta.end) === 0x0002) {
    const element = buffer.readUInt16LE(meta.end + 2)
    const vr = buffer.toString('latin1', meta.end + 4, meta.end + 6)
    const long = longLengthVrs.has(vr)
    const valueAt = meta.end + (long ? 12 : 8)
    if (valueAt > buffer.length) return 'incomplete'
    const length = long ? buffer.readUInt32LE(meta.end + 8) : buffer.readUInt16LE(meta.end + 6)
    if (valueAt + length > buffer.length) return 'incomplete'
    const text = () => buffer.toString('latin1', valueAt, valueAt + length).replace(/[\0 ]+$/, '')
    if (element === 0x0000 && length === 4) declaredEnd = valueAt + 4 + buffer.readUInt32LE(valueAt)
    if (element === 0x0002) meta.mediaStorageSopClassUid = text()
    if (element === 0x0003) meta.mediaStorageSopInstanceUid = text()
    if (element === 0x0010) meta.transferSyntaxUid = text()
    meta.end = valueAt + length
  }
  if (meta.end + 8 > buffer.length) return 'incomplete'
  if (declaredEnd !== undefined && declaredEnd !== meta.end)
    meta.warnings.push('File Meta Information Group Length is wrong')
  return meta
}

const explicitVrs = new Set(
  'AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV'.split(' '),
)

interface ParseOptions {
  /** A deflated data set may expand to so many bytes. */
  maxInflated?: number
  /** What is Implicit VR although the transfer syntax says Explicit is read as what it is, with a warning. */
  anyVr?: boolean
}

/**
 * Parses a data set up to Pixel Data; of equal tags the first one counts.
 * @param start its first byte in `bytes`
 */
export function parseDataSet(
  bytes: Uint8Array,
  start: number,
  syntax: TransferSyntax,
  whole: boolean,
  { maxInflated = maxInflatedHeader, anyVr = false }: ParseOptions = {},
): { dataSet: DataSet; warnings: string[] } | Exclude<HeaderOutcome, { outcome: 'header' }> {
  if (anyVr && syntax.encoding === 'explicit-little' && looksImplicit(bytes, start)) {
    const parsed = parseDataSet(bytes, start, { ...syntax, encoding: 'implicit-little' }, whole)
    const warning = 'the data set is Implicit VR, although its transfer syntax says Explicit'
    return 'dataSet' in parsed ? { ...parsed, warnings: [...parsed.warnings, warning] } : parsed
  }
  let body = bytes
  let at = start
  if (syntax.encoding === 'deflated') {
    try {
      const finishFlush = whole ? zlib.Z_FINISH : zlib.Z_SYNC_FLUSH
      body = inflateRawSync(bytes.subarray(start), { finishFlush, maxOutputLength: maxInflated })
      at = 0
    } catch (error) {
      const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      return tooLarge
        ? refuse(reason.outOfResources, `the deflated data set expands to more than ${maxInflated} bytes`)
        : refuse(reason.cannotUnderstand, 'the deflated data set is corrupt')
    }
  }
  const parser =
    syntax.encoding === 'explicit-big' ? dicomParser.bigEndianByteArrayParser : dicomParser.littleEndianByteArrayParser
  const duplicates = new Set<string>()
  const { dataSet, elements } = emptyDataSet(parser, body, duplicates)
  const options = { untilTag: 'x7fe00010', vrCallback: (tag: string) => vrOf(tag.slice(1).toUpperCase()) as string }
  try {
    const stream = new dicomParser.ByteStream(parser, body, at)
    if (syntax.encoding === 'implicit-little')
      dicomParser.parseDicomDataSetImplicit(dataSet, stream, body.length, options)
    else dicomParser.parseDicomDataSetExplicit(dataSet, stream, body.length, options)
  } catch (error) {
    if (error instanceof RangeError && /call stack/.test(error.message)) {
      return refuse(reason.cannotUnderstand, 'sequences are nested too deeply')
    }
    const wrongVr = syntax.encoding === 'implicit-little' ? undefined : elementOfWrongVr(elements)
    if (wrongVr) return refuse(reason.cannotUnderstand, wrongVr)
    return whole ? refuse(reason.cannotUnderstand, 'the data set ends inside an element') : { outcome: 'incomplete' }
  }
  dataSet.elements = elements
  const wrongVr = syntax.encoding === 'implicit-little' ? undefined : elementOfWrongVr(elements)
  if (wrongVr) return refuse(reason.cannotUnderstand, wrongVr)
  for (const uid of ['x00080016', 'x00080018', 'x0020000d', 'x0020000e']) {
    if (duplicates.has(uid)) return refuse(reason.cannotUnderstand, `${tagName(uid)} is there twice`)
  }
  return { dataSet, warnings: [...duplicates].map(tag => `${tagName(tag)} is there twice, the first one counts`) }
}

/** True if no value representation stands where the first element of Explicit VR would have it. */
function looksImplicit(bytes: Uint8Array, start: number): boolean {
  return bytes.length >= start + 8 && !explicitVrs.has(String.fromCharCode(bytes[start + 4]!, bytes[start + 5]!))
}

/** dicom-parser lets the last of several equal tags win; here the first one does, and the others are noted. */
function emptyDataSet(parser: ByteArrayParser, bytes: Uint8Array, duplicates: Set<string>) {
  const elements: DataSet['elements'] = {}
  const recording = new Proxy(elements, {
    set(target, tag: string, element) {
      if (tag in target) duplicates.add(tag)
      else target[tag] = element
      return true
    },
  })
  const { DataSet: Constructor } = dicomParser as unknown as {
    DataSet: new (parser: ByteArrayParser, bytes: Uint8Array, elements: DataSet['elements']) => DataSet
  } // exported, but missing from the package's types
  return { dataSet: new Constructor(parser, bytes, recording), elements }
}

function elementOfWrongVr(elements: DataSet['elements']): string | undefined {
  const wrong = Object.values(elements).find(element => !explicitVrs.has(element.vr ?? ''))
  return wrong && `${tagName(wrong.tag)} has no valid value representation: not Explicit VR, or damaged`
}

function identityProblem(
  uids: { sopClassUid: string; sopInstanceUid: string; studyInstanceUid: string; seriesInstanceUid: string },
  meta: FileMeta,
): string | undefined {
  const names = {
    sopClassUid: 'SOP Class UID (0008,0016)',
    sopInstanceUid: 'SOP Instance UID (0008,0018)',
    studyInstanceUid: 'Study Instance UID (0020,000D)',
    seriesInstanceUid: 'Series Instance UID (0020,000E)',
  }
  for (const key of Object.keys(names) as (keyof typeof names)[]) {
    if (uids[key] === '') return `${names[key]} is missing or empty`
    if (!isValidUid(uids[key])) return `${names[key]} is not a valid UID`
  }
  if (meta.mediaStorageSopInstanceUid && meta.mediaStorageSopInstanceUid !== uids.sopInstanceUid) {
    return 'Media Storage SOP Instance UID (0002,0003) differs from SOP Instance UID'
  }
  if (meta.mediaStorageSopClassUid && meta.mediaStorageSopClassUid !== uids.sopClassUid) {
    return 'Media Storage SOP Class UID (0002,0002) differs from SOP Class UID'
  }
  return undefined
}

function refuse(
  code: number,
  detail: string,
  uids?: { sopClassUid: string; sopInstanceUid: string },
): Extract<HeaderOutcome, { outcome: 'refused' }> {
  return {
    outcome: 'refused',
    reason: code,
    detail,
    ...(uids && isValidUid(uids.sopClassUid) ? { sopClassUid: uids.sopClassUid } : {}),
    ...(uids && isValidUid(uids.sopInstanceUid) ? { sopInstanceUid: uids.sopInstanceUid } : {}),
  }
}

function tagName(tag: string): string {
  return `(${tag.slice(1, 5)},${tag.slice(5)})`.toUpperCase()
}

/** Text from outside that goes into an answer. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80)
}
