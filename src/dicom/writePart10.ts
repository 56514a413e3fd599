import { types } from 'node:util'
import { decimalString } from './decimalString.js'
import type { DicomJson, PersonName } from './dicomJson.js'
import { explicitVrLittleEndian } from './transferSyntaxes.js'
import { implementationClassUid } from './uid.js'

/** A data set to be written: DICOM JSON, in which binary values may stand as `ArrayBuffer`; of encapsulated Pixel Data one for each frame. */
export type DataSetToWrite = Record<string, { vr: string; Value?: readonly unknown[]; InlineBinary?: string }>

/**
 * Writes an object of our own as a Part 10 file in Explicit VR Little Endian. Received objects are never written so: they are stored
 * and forwarded byte for byte.
 * @param dataset with SOP Class and Instance UID; text must be declared as ISO_IR 192
 * @param transferSyntaxUid of an encapsulated syntax if Pixel Data holds compressed frames
 */
export function writePart10(dataset: DicomJson | DataSetToWrite, transferSyntaxUid = explicitVrLittleEndian): Buffer {
  const out = new Output(binaryBytes(dataset as DataSetToWrite) + 64 * 1024)
  out.skip(128)
  out.text('DICM')
  const group = out.begin('00020000', 'UL', 4)
  out.uint32(0)
  const meta: DataSetToWrite = {
    '00020001': { vr: 'OB', Value: [new Uint8Array([0, 1]).buffer] },
    '00020002': { vr: 'UI', Value: [uidIn(dataset, '00080016')] },
    '00020003': { vr: 'UI', Value: [uidIn(dataset, '00080018')] },
    '00020010': { vr: 'UI', Value: [transferSyntaxUid] },
    '00020012': { vr: 'UI', Value: [implementationClassUid] },
  }
  writeDataSet(out, meta, false)
  out.patchUint32(group, out.length - group - 4)
  writeDataSet(out, dataset as DataSetToWrite, transferSyntaxUid !== explicitVrLittleEndian)
  return out.bytes()
}

/** Encodes a data set by itself, in Explicit or Implicit VR Little Endian (PS3.5 annex A). */
export function writeDataSetBytes(dataset: DicomJson | DataSetToWrite, implicit = false): Buffer {
  const out = new Output(binaryBytes(dataset as DataSetToWrite) + 4 * 1024, implicit)
  writeDataSet(out, dataset as DataSetToWrite, false)
  return out.bytes()
}

function uidIn(dataset: DicomJson | DataSetToWrite, tag: string): string {
  return ((dataset[tag]?.Value as string[] | undefined)?.[0] ?? '') as string
}

/** Bytes of the binary values at the top: most of what a large object has. */
function binaryBytes(dataset: DataSetToWrite): number {
  return Object.values(dataset)
    .flatMap(({ Value = [] }) => Value)
    .reduce<number>((sum, value) => sum + (types.isAnyArrayBuffer(value) ? value.byteLength + 8 : 0), 0)
}

/** VRs with a reserved field and a length of 32 bits (PS3.5 7.1.2). */
const longVrs = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV'])
const undefinedLength = 0xffffffff
const maxShortLength = 0xfffe

const numberWriters: Readonly<Record<string, readonly [bytes: number, (out: Output, value: number) => void]>> = {
  US: [2, (out, value) => out.uint16(value)],
  SS: [2, (out, value) => out.uint16(value & 0xffff)],
  UL: [4, (out, value) => out.uint32(value)],
  SL: [4, (out, value) => out.uint32(value >>> 0)],
  FL: [4, (out, value) => out.float32(value)],
  FD: [8, (out, value) => out.float64(value)],
  UV: [8, (out, value) => out.uint64(BigInt(value))],
  SV: [8, (out, value) => out.uint64(BigInt.asUintN(64, BigInt(value)))],
}

function writeDataSet(out: Output, dataset: DataSetToWrite, encapsulated: boolean): void {
  const tags = Object.keys(dataset)
  if (tags.some((tag, i) => i > 0 && tag < tags[i - 1]!)) tags.sort()
  for (const tag of tags) writeElement(out, tag, dataset[tag]!, encapsulated)
}

function writeElement(
  out: Output,
  tag: string,
  { vr, Value = [], InlineBinary }: DataSetToWrite[string],
  encapsulated: boolean,
): void {
  if (vr === 'SQ') {
    writeSequence(out, tag, Value as readonly DataSetToWrite[])
    return
  }
  const number = numberWriters[vr]
  if (number) {
    const [size, write] = number
    // Values of a VR with a 16 bit length that do not fit go out as UN (PS3.5 6.2.2 note 9).
    out.begin(tag, Value.length * size > maxShortLength && !longVrs.has(vr) ? 'UN' : vr, Value.length * size)
    for (const value of Value) write(out, Number(value))
    return
  }
  if (tag === '7FE00010' && encapsulated) {
    writeFrames(out, tag, Value as readonly ArrayBuffer[])
    return
  }
  if (InlineBinary !== undefined || types.isAnyArrayBuffer(Value[0])) {
    const bytes =
      InlineBinary === undefined ? new Uint8Array(Value[0] as ArrayBuffer) : Buffer.from(InlineBinary, 'base64')
    out.begin(tag, vr, bytes.length + (bytes.length & 1))
    out.copy(bytes)
    if (bytes.length & 1) out.byte(0)
    return
  }
  if (vr === 'AT') {
    out.begin(tag, vr, Value.length * 4)
    for (const value of Value) out.tag(String(value))
    return
  }
  const text = Value.length === 1 ? textOf(Value[0], vr) : Value.map(value => textOf(value, vr)).join('\\')
  const length = Buffer.byteLength(text)
  const even = length + (length & 1)
  out.begin(tag, even > maxShortLength && !longVrs.has(vr) ? 'UN' : vr, even)
  out.text(text)
  if (length & 1) out.byte(vr === 'UI' ? 0 : 0x20)
}

function textOf(value: unknown, vr: string): string {
  if (value === null || value === undefined) return ''
  if (vr === 'PN' && typeof value === 'object') {
    const { Alphabetic = '', Ideographic = '', Phonetic = '' } = value as PersonName
    return [Alphabetic, Ideographic, Phonetic].join('=').replace(/=+$/, '')
  }
  return typeof value === 'number' && vr === 'DS' ? decimalString(value) : String(value)
}

/** Sequence and items with their lengths (PS3.5 7.5.1). */
function writeSequence(out: Output, tag: string, items: readonly DataSetToWrite[]): void {
  const sequence = out.begin(tag, 'SQ', 0)
  for (const item of items) {
    out.tag('FFFEE000')
    out.uint32(0)
    const start = out.length
    writeDataSet(out, item, false)
    out.patchUint32(start - 4, out.length - start)
  }
  out.patchUint32(sequence - 4, out.length - sequence)
}

/** Encapsulated Pixel Data with a Basic Offset Table, each frame in one fragment (PS3.5 A.4). */
function writeFrames(out: Output, tag: string, frames: readonly ArrayBuffer[]): void {
  out.begin(tag, 'OB', undefinedLength)
  out.tag('FFFEE000')
  out.uint32(frames.length * 4)
  let offset = 0
  for (const frame of frames) {
    out.uint32(offset)
    offset += 8 + frame.byteLength + (frame.byteLength & 1)
  }
  for (const frame of frames) {
    out.tag('FFFEE000')
    out.uint32(frame.byteLength + (frame.byteLength & 1))
    out.copy(new Uint8Array(frame))
    if (frame.byteLength & 1) out.byte(0)
  }
  out.tag('FFFEE0DD')
  out.uint32(0)
}

const tagNumbers = new Map<string, number>()

function tagNumber(tag: string): number {
  const known = tagNumbers.get(tag)
  if (known !== undefined) return known
  const value = Number.parseInt(tag, 16)
  if (tagNumbers.size < 10_000) tagNumbers.set(tag, value) // our own tags are few; those that come from outside are not
  return value
}

/** Bytes in little endian, in memory that grows. */
class Output {
  private buffer: Buffer
  length = 0
  constructor(
    capacity: number,
    private readonly implicit = false,
  ) {
    this.buffer = Buffer.allocUnsafe(capacity)
  }

  private room(bytes: number): number {
    const at = this.length
    if (at + bytes > this.buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(at + bytes, this.buffer.length * 2))
      this.buffer.copy(larger, 0, 0, at)
      this.buffer = larger
    }
    this.length = at + bytes
    return at
  }

  /** Tag, VR, unless it is implicit, and length of an element. @returns where its value begins */
  begin(tag: string, vr: string, length: number): number {
    this.tag(tag)
    if (this.implicit) {
      this.uint32(length)
      return this.length
    }
    const long = longVrs.has(vr)
    const at = this.room(long ? 8 : 4)
    this.buffer[at] = vr.charCodeAt(0)
    this.buffer[at + 1] = vr.charCodeAt(1)
    if (long) {
      this.buffer.writeUInt16LE(0, at + 2)
      this.buffer.writeUInt32LE(length, at + 4)
    } else this.buffer.writeUInt16LE(length, at + 2)
    return this.length
  }

  tag(tag: string): void {
    const value = tagNumber(tag)
    const at = this.room(4)
    this.buffer.writeUInt16LE(value >>> 16, at)
    this.buffer.writeUInt16LE(value & 0xffff, at + 2)
  }

  skip(bytes: number): void {
    const at = this.room(bytes)
    this.buffer.fill(0, at, at + bytes)
  }

  text(text: string): void {
    const bytes = Buffer.byteLength(text)
    const at = this.room(bytes) // first: it may exchange the buffer
    this.buffer.write(text, at)
  }

  copy(bytes: Uint8Array): void {
    const at = this.room(bytes.length)
    this.buffer.set(bytes, at)
  }

  byte(value: number): void {
    const at = this.room(1)
    this.buffer[at] = value
  }

  uint16(value: number): void {
    const at = this.room(2)
    this.buffer.writeUInt16LE(value, at)
  }

  uint32(value: number): void {
    const at = this.room(4)
    this.buffer.writeUInt32LE(value, at)
  }

  uint64(value: bigint): void {
    const at = this.room(8)
    this.buffer.writeBigUInt64LE(value, at)
  }

  float32(value: number): void {
    const at = this.room(4)
    this.buffer.writeFloatLE(value, at)
  }

  float64(value: number): void {
    const at = this.room(8)
    this.buffer.writeDoubleLE(value, at)
  }

  patchUint32(at: number, value: number): void {
    this.buffer.writeUInt32LE(value, at)
  }

  bytes(): Buffer {
    return this.buffer.subarray(0, this.length)
  }
}
