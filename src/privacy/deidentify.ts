import { createHmac } from 'node:crypto'
import { vrOf } from '../dicom/dictionary.js'
import type { ElementToWrite, Replacement } from '../dicom/rewrite.js'
import { characteristicTags, confidentialityActions, temporalTags } from './confidentialityProfile.js'
import { pseudonym } from './pseudonyms.js'

/** How objects are de-identified: plain data, so that it can be done in another thread. */
export interface Deidentification {
  /** Of this installation and of who gets the objects: another key gives other names. */
  key: string
  /** The patient, by issuer and Patient ID: dates of all his studies move by the same number of days. */
  patient: string
  /** Dates and times stay, moved; otherwise they are dropped. */
  retainLongitudinal: boolean
}

/** UIDs of the standard itself: SOP classes, transfer syntaxes, frames of reference of atlases. */
const standardRoot = '1.2.840.10008.'

/** Another UID for a UID, always the same one under one key; the standard's own stay. */
export function pseudonymousUid(key: string, uid: string): string {
  if (uid === '' || uid.startsWith(standardRoot)) return uid
  const digest = createHmac('sha256', key).update(`uid\0${uid}`).digest()
  digest[6] = (digest[6]! & 0x0f) | 0x80
  digest[8] = (digest[8]! & 0x3f) | 0x80
  return `2.25.${BigInt(`0x${digest.subarray(0, 16).toString('hex')}`)}`
}

const longestShift = 3650

/** Days by which dates of a patient move into the past, 1 to 3650. */
function daysMoved({ key, patient }: Deidentification): number {
  return 1 + (createHmac('sha256', key).update(`days\0${patient}`).digest().readUInt32BE(0) % longestShift)
}

/** In their place stands something that is valid and says nothing. */
const dummies: Readonly<Record<string, string>> = {
  DA: '19000101',
  DT: '19000101000000',
  TM: '000000',
  AS: '000D',
  DS: '0',
  IS: '0',
  PN: 'ANONYMOUS',
}
const textVrs = new Set(['AE', 'CS', 'LO', 'LT', 'SH', 'ST', 'UC', 'UR', 'UT'])
/** Of attributes that the table does not name: text without bounds, and what nobody knows. */
const freeTextVrs = new Set(['LT', 'ST', 'UC', 'UR', 'UT', 'UN'])
const dateVrs = new Set(['DA', 'DT', 'TM'])
const patientName = '00100010'
const patientId = '00100020'
const patientAge = '00101010'
const oldestAge = 89

/**
 * Decides for each element of a data set what becomes of it: Basic Application Level Confidentiality Profile with Retain Patient Characteristics and, if wished,
 * Retain Longitudinal Temporal Information with Modified Dates. Beyond the table, free text, person names and attributes that are not in the dictionary go.
 * Private elements are not looked at: which of them stay is decided by their creators.
 */
export function deidentifier(options: Deidentification): (element: ElementToWrite) => 'keep' | Replacement {
  const { key, patient, retainLongitudinal } = options
  const days = daysMoved(options)
  const known = pseudonym(key, 'patient', patient)
  return ({ tag, vr, bytes }) => {
    const group = Number.parseInt(tag.slice(0, 4), 16)
    if (group % 2 === 1) return 'keep'
    if (tag === patientName || tag === patientId) return asText(vr, known)
    if ((group >= 0x6000 && group <= 0x60ff) || (group >= 0x5000 && group <= 0x50ff)) return undefined
    if (tag === patientAge) return cappedAge(bytes)
    if (characteristicTags.has(tag)) return 'keep'
    const action = confidentialityActions.get(tag)
    if (dateVrs.has(vr) && retainLongitudinal && (!action || temporalTags.has(tag))) return moved(vr, bytes, days)
    switch (action) {
      case 'X':
        return undefined
      case 'Z':
        return asText(vr, '')
      case 'U':
        return vr === 'UI' ? asText(vr, mapUids(bytes, key)) : 'keep'
      case 'D':
        return vr === 'SQ' ? 'keep' : dummy(vr, bytes, key)
      case undefined:
        return unnamed(tag, vr, bytes, key)
    }
  }
}

/** Of an attribute that the table does not name. */
function unnamed(tag: string, vr: string, bytes: Buffer | undefined, key: string): 'keep' | Replacement {
  if (vr === 'UI') return asText(vr, mapUids(bytes, key))
  if (vr === 'PN') return asText(vr, '')
  if (dateVrs.has(vr) || freeTextVrs.has(vr) || vrOf(tag) === undefined) return undefined
  return 'keep'
}

function asText(vr: string, value: string): Replacement {
  return { vr, bytes: Buffer.from(value, 'utf8') }
}

function dummy(vr: string, bytes: Buffer | undefined, key: string): Replacement {
  if (vr === 'UI') return asText(vr, mapUids(bytes, key))
  return asText(vr, dummies[vr] ?? (textVrs.has(vr) ? 'ANONYMIZED' : ''))
}

function mapUids(bytes: Buffer | undefined, key: string): string {
  return textOf(bytes)
    .split('\\')
    .map(uid => pseudonymousUid(key, uid))
    .join('\\')
}

function textOf(bytes: Buffer | undefined): string {
  return (bytes ?? Buffer.alloc(0))
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trim()
}

/** Ages above 89 years are rare enough to tell who somebody is: they become 90. */
function cappedAge(bytes: Buffer | undefined): 'keep' | Replacement {
  const years = /^(\d{3})Y$/.exec(textOf(bytes))
  return years && Number(years[1]) > oldestAge ? asText('AS', '090Y') : 'keep'
}

/** Dates move by days, so that intervals stay; times of the day stay. What is no date goes. */
function moved(vr: string, bytes: Buffer | undefined, days: number): 'keep' | Replacement {
  if (vr === 'TM') return 'keep'
  const values = textOf(bytes).split('\\')
  const shifted = values.map(value => {
    const parts = /^(\d{4})(\d\d)(\d\d)(.*)$/.exec(value)
    if (!parts) return ''
    const date = new Date(Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) - days))
    if (Number.isNaN(date.getTime())) return ''
    return date.toISOString().slice(0, 10).replaceAll('-', '') + (vr === 'DT' ? parts[4] : '')
  })
  return asText(vr, shifted.join('\\'))
}

const codes = {
  basic: ['113100', 'Basic Application Confidentiality Profile'],
  modifiedDates: ['113107', 'Retain Longitudinal Temporal Information Modified Dates Option'],
  characteristics: ['113108', 'Retain Patient Characteristics Option'],
} as const

/** What says in an object that, and how, it was de-identified (PS3.15 E.1.1, PS3.3 C.7.1.1). */
export function deidentificationAttributes({ retainLongitudinal }: Deidentification): Map<string, Replacement> {
  const used = [codes.basic, ...(retainLongitudinal ? [codes.modifiedDates] : []), codes.characteristics]
  return new Map([
    ['00120062', asText('CS', 'YES')],
    ['00120063', asText('LO', 'DICOM PS3.15 annex E')],
    ['00120064', { vr: 'SQ', bytes: Buffer.concat(used.map(([value, meaning]) => codeItem(value, meaning))) }],
    ['00280303', asText('CS', retainLongitudinal ? 'MODIFIED' : 'REMOVED')],
  ])
}

function codeItem(value: string, meaning: string): Buffer {
  const body = Buffer.concat([
    shortElement(0x0100, 'SH', value),
    shortElement(0x0102, 'SH', 'DCM'),
    shortElement(0x0104, 'LO', meaning),
  ])
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0xe000fffe, 0)
  header.writeUInt32LE(body.length, 4)
  return Buffer.concat([header, body])
}

function shortElement(element: number, vr: string, value: string): Buffer {
  const text = value.length % 2 === 0 ? value : `${value} `
  const header = Buffer.alloc(8)
  header.writeUInt16LE(0x0008, 0)
  header.writeUInt16LE(element, 2)
  header.write(vr, 4, 'latin1')
  header.writeUInt16LE(text.length, 6)
  return Buffer.concat([header, Buffer.from(text, 'latin1')])
}
