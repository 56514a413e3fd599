import type { DataSet } from 'dicom-parser'

/**
 * Text of a data set, from its Specific Character Set (0008,0005), PS3.3 C.12.1.1.2 and PS3.5 6.1.
 * Undecodable bytes become U+FFFD; the stored bytes stay as they are.
 */
export interface CharacterSet {
  /** @param nameLike true for PN, where `^` and `=` also end a code extension */
  decode(bytes: Uint8Array, nameLike?: boolean): string
}

/** Character sets without code extensions: defined term → label of the WHATWG Encoding Standard. */
const singleEncodings: Readonly<Record<string, string>> = {
  'ISO_IR 6': 'windows-1252',
  'ISO_IR 100': 'windows-1252',
  'ISO_IR 101': 'iso-8859-2',
  'ISO_IR 109': 'iso-8859-3',
  'ISO_IR 110': 'iso-8859-4',
  'ISO_IR 144': 'iso-8859-5',
  'ISO_IR 127': 'iso-8859-6',
  'ISO_IR 126': 'iso-8859-7',
  'ISO_IR 138': 'iso-8859-8-i',
  'ISO_IR 148': 'windows-1254',
  'ISO_IR 203': 'iso-8859-15',
  'ISO_IR 166': 'windows-874',
  'ISO_IR 13': 'shift_jis',
  'ISO_IR 192': 'utf-8',
  GB18030: 'gb18030',
  GBK: 'gbk',
}

/** Escape sequences of PS3.3 tables C.12-3 and C.12-4: what they designate, to which half of the code table. */
const escapes: Readonly<Record<string, { half: 'G0' | 'G1'; encoding: Encoding }>> = {
  '(B': { half: 'G0', encoding: 'ascii' },
  '(J': { half: 'G0', encoding: 'jis-x-0201-roman' },
  ')I': { half: 'G1', encoding: 'shift_jis' },
  $B: { half: 'G0', encoding: 'jis-x-0208' },
  '$@': { half: 'G0', encoding: 'jis-x-0208' },
  '$(D': { half: 'G0', encoding: 'jis-x-0212' },
  '$)C': { half: 'G1', encoding: 'euc-kr' },
  '$)A': { half: 'G1', encoding: 'gbk' },
  '-A': { half: 'G1', encoding: 'windows-1252' },
  '-B': { half: 'G1', encoding: 'iso-8859-2' },
  '-C': { half: 'G1', encoding: 'iso-8859-3' },
  '-D': { half: 'G1', encoding: 'iso-8859-4' },
  '-L': { half: 'G1', encoding: 'iso-8859-5' },
  '-G': { half: 'G1', encoding: 'iso-8859-6' },
  '-F': { half: 'G1', encoding: 'iso-8859-7' },
  '-H': { half: 'G1', encoding: 'iso-8859-8-i' },
  '-M': { half: 'G1', encoding: 'windows-1254' },
  '-T': { half: 'G1', encoding: 'windows-874' },
  '-b': { half: 'G1', encoding: 'iso-8859-15' },
}
type Encoding = string

/** Code extensions whose initial G1 half is that of the first value of Specific Character Set. */
const initialG1: Readonly<Record<string, Encoding>> = {
  'ISO 2022 IR 13': 'shift_jis',
  'ISO 2022 IR 100': 'windows-1252',
  'ISO 2022 IR 101': 'iso-8859-2',
  'ISO 2022 IR 109': 'iso-8859-3',
  'ISO 2022 IR 110': 'iso-8859-4',
  'ISO 2022 IR 144': 'iso-8859-5',
  'ISO 2022 IR 127': 'iso-8859-6',
  'ISO 2022 IR 126': 'iso-8859-7',
  'ISO 2022 IR 138': 'iso-8859-8-i',
  'ISO 2022 IR 148': 'windows-1254',
  'ISO 2022 IR 166': 'windows-874',
  'ISO 2022 IR 203': 'iso-8859-15',
  'ISO 2022 IR 149': 'euc-kr', // written without escape by some senders
}

/** Defined terms of Specific Character Set that are decoded, without and with code extensions. */
export const characterSetTerms: readonly string[] = [
  ...Object.keys(singleEncodings),
  ...Object.keys(initialG1),
  'ISO 2022 IR 6',
  'ISO 2022 IR 58',
  'ISO 2022 IR 87',
  'ISO 2022 IR 159',
]

/** The character set that a parsed data set declares, or, within a sequence, that of the data set around it. */
export function characterSetOf(dataSet: DataSet, inherited?: CharacterSet): CharacterSet {
  const declared = dataSet.elements.x00080005
  if (!declared && inherited) return inherited
  if (!declared || declared.length === 0) return characterSet([])
  const bytes = dataSet.byteArray.subarray(declared.dataOffset, declared.dataOffset + declared.length)
  const terms = Buffer.from(bytes).toString('latin1').split('\\')
  return characterSet(terms.map(term => term.trim()))
}

/** @param terms the values of Specific Character Set; none means the default repertoire */
export function characterSet(terms: readonly string[]): CharacterSet {
  const { decode } = characterSetBeyondAscii(terms)
  return { decode: (bytes, nameLike) => asciiText(bytes) ?? decode(bytes, nameLike) }
}

/** What is ASCII and holds no escape sequence, as most text of most headers, is the same in all of them. A TextDecoder takes twenty times as long for it. */
function asciiText(bytes: Uint8Array): string | undefined {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! >= 0x80 || bytes[i] === 0x1b) return undefined
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function characterSetBeyondAscii(terms: readonly string[]): CharacterSet {
  const first = normalizeTerm(terms[0] ?? '')
  if (terms.length <= 1 && !first.startsWith('ISO 2022')) {
    if (first === '' || first === 'ISO_IR 6') return { decode: decodeUndeclared }
    let decoder: InstanceType<typeof TextDecoder> | undefined
    const label = singleEncodings[first] ?? 'utf-8' // unknown term: UTF-8 is the best guess
    return {
      decode(bytes) {
        decoder ??= new TextDecoder(label)
        return decoder.decode(bytes)
      },
    }
  }
  const initial = initialG1[first.replace('ISO_IR', 'ISO 2022 IR')] ?? singleEncodings[first] ?? 'windows-1252'
  return { decode: (bytes, nameLike = false) => decodeCodeExtensions(bytes, initial, nameLike) }
}

/** Senders write "ISO-IR 100", "ISO IR 100", "iso_ir 100" for ISO_IR 100. */
function normalizeTerm(term: string): string {
  const trimmed = term.trim().toUpperCase()
  return trimmed
    .replace(/^ISO[ _-]IR[ _-]?(\d+)$/, 'ISO_IR $1')
    .replace(/^ISO[ _-]2022[ _-]IR[ _-]?(\d+)$/, 'ISO 2022 IR $1')
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })
const latin1 = new TextDecoder('windows-1252')

/** Without a declared character set only ASCII is legal; what is not ASCII is most often UTF-8, else Latin-1. */
function decodeUndeclared(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return latin1.decode(bytes)
  }
}

function decodeCodeExtensions(bytes: Uint8Array, initial: Encoding, nameLike: boolean): string {
  let g0: Encoding = 'ascii'
  let g1: Encoding = initial
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const byte = bytes[at]!
    if (byte === 0x1b) {
      const designation = readEscape(bytes, at + 1)
      if (designation) {
        if (designation.half === 'G0') g0 = designation.encoding
        else g1 = designation.encoding
        at += 1 + designation.length
        continue
      }
      // Damaged, or a set that DICOM does not have: what stands behind it is read in the sets that are in force.
      text += '\ufffd'
      at++
      continue
    }
    const wideG0 = g0 === 'jis-x-0208' || g0 === 'jis-x-0212'
    if (byte < 0x80 && isDelimiter(byte, nameLike, wideG0)) {
      g0 = 'ascii' // PS3.5 6.1.2.5.3: the initial sets are in force again
      g1 = initial
      text += String.fromCharCode(byte)
      at++
      continue
    }
    const end = runEnd(bytes, at, nameLike, wideG0)
    text += decodeRun(bytes.subarray(at, end), byte < 0x80 ? g0 : g1)
    at = end
  }
  return text
}

function readEscape(bytes: Uint8Array, at: number) {
  for (const length of [3, 2]) {
    const found = escapes[String.fromCharCode(...bytes.subarray(at, at + length))]
    if (found) return { ...found, length }
  }
  return undefined
}

function isDelimiter(byte: number, nameLike: boolean, wideG0: boolean): boolean {
  if (byte === 0x0a || byte === 0x0c || byte === 0x0d || byte === 0x09) return true
  if (wideG0) return false // these codes are halves of a two-byte character
  return byte === 0x5c || (nameLike && (byte === 0x5e || byte === 0x3d))
}

/** End of the run of bytes from the same half of the code table. */
function runEnd(bytes: Uint8Array, start: number, nameLike: boolean, wideG0: boolean): number {
  const high = bytes[start]! >= 0x80
  let at = start
  while (at < bytes.length && bytes[at]! >= 0x80 === high && bytes[at] !== 0x1b) {
    if (!high && isDelimiter(bytes[at]!, nameLike, wideG0)) break
    at++
  }
  return at
}

function decodeRun(run: Uint8Array, encoding: Encoding): string {
  switch (encoding) {
    case 'ascii':
      return latin1.decode(run)
    case 'jis-x-0201-roman':
      return latin1.decode(run).replaceAll('\\', '¥').replaceAll('~', '‾')
    case 'jis-x-0208':
      return new TextDecoder('euc-jp').decode(run.map(byte => byte | 0x80))
    case 'jis-x-0212': {
      const shifted: number[] = []
      for (let i = 0; i + 1 < run.length; i += 2) shifted.push(0x8f, run[i]! | 0x80, run[i + 1]! | 0x80)
      return new TextDecoder('euc-jp').decode(Uint8Array.from(shifted))
    }
    default:
      return new TextDecoder(encoding).decode(run)
  }
}
