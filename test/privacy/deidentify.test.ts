import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { itemsOf, textOf, textsOf } from '../../src/dicom/dicomJson.js'
import { vrOf } from '../../src/dicom/dictionary.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { normalizeFile } from '../../src/pixels/normalizeFile.js'
import { characteristicTags, confidentialityActions } from '../../src/privacy/confidentialityProfile.js'
import { type Deidentification, pseudonymousUid } from '../../src/privacy/deidentify.js'
import { element, freshUids, instance } from '../fixtures/part10.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'radbridge-deidentify-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const options: Deidentification = { key: 'a key', patient: 'issuer P-1', retainLongitudinal: false }
let files = 0
async function deidentified(bytes: Buffer, deidentify = options, more = {}) {
  const input = join(folder, `${++files}.dcm`)
  const output = join(folder, `${files}.out.dcm`)
  writeFileSync(input, bytes)
  await normalizeFile(input, output, { utf8: true, deidentify, ...more })
  const written = readFileSync(output)
  const outcome = readPart10Header(written, true)
  if (outcome.outcome !== 'header') throw new Error('not readable')
  return { json: outcome.header.json, bytes: written }
}

function sequence(tag: string, ...items: Buffer[]): Buffer {
  const body = items.map(item => {
    const header = Buffer.alloc(8)
    header.writeUInt32LE(0xe000fffe, 0)
    header.writeUInt32LE(item.length, 4)
    return Buffer.concat([header, item])
  })
  return element(tag, 'SQ', Buffer.concat(body))
}

const canary = 'GEHEIM'
/** A value of each VR that can hold the canary. */
const values: Record<string, string> = {
  AE: canary,
  AS: '061Y',
  CS: canary,
  LO: canary,
  LT: canary,
  PN: `${canary}^${canary}`,
  SH: canary,
  ST: canary,
  UC: canary,
  UR: canary,
  UT: canary,
  OB: canary,
  UN: canary,
}
const pixelModule = /^(0002|0028|7FE0|0020000D|0020000E|0008001[68]|00080005|60|50)/

/** The bytes around a value that should not be there. */
function contextOf(bytes: Buffer, value: string): string | undefined {
  const at = bytes.indexOf(Buffer.from(value, 'latin1'))
  return at < 0 ? undefined : bytes.subarray(Math.max(0, at - 12), at + 20).toString('latin1')
}

test('nothing of the table that could name the patient is left, at the top or within sequences', async () => {
  const elements: Record<string, Buffer> = {}
  const nested: Buffer[] = []
  const tags = [...confidentialityActions.keys()]
    .filter(tag => !pixelModule.test(tag) && !characteristicTags.has(tag))
    .sort()
  for (const tag of tags) {
    const vr = vrOf(tag) ?? 'UN'
    const value = values[vr]
    if (value === undefined) continue
    elements[tag] = element(tag, vr, value)
    nested.push(elements[tag]!)
  }
  expect(Object.keys(elements).length).toBeGreaterThan(250)
  elements['00400275'] = sequence('00400275', Buffer.concat(nested)) // removed by the table
  elements['00081115'] = sequence('00081115', sequence('00081199', Buffer.concat(nested))) // kept, and gone through
  elements['60003000'] = element('60003000', 'OW', `${canary}${canary}`)
  elements['00290010'] = element('00290010', 'LO', 'VENDOR')
  elements['00291001'] = element('00291001', 'LO', canary)
  elements['00091001'] = element('00091001', 'UN', canary)
  elements['0032FFF1'] = element('0032FFF1', 'LO', canary) // no attribute of the dictionary
  const file = instance({ elements })
  file.write(canary, 10, 'latin1') // the preamble is anybody's
  const { bytes, json } = await deidentified(file)
  for (const form of [canary, 'Test^Patient', 'T-1\0', '20260101'])
    expect([form, contextOf(bytes, form)]).toEqual([form, undefined])
  expect(itemsOf(itemsOf(json, '00081115')[0]!, '00081199')).toHaveLength(1)
  expect(textOf(json, '00120062')).toBe('YES')
  expect(itemsOf(json, '00120064').map(item => textOf(item, '00080100'))).toEqual(['113100', '113108'])
  expect(textOf(json, '00280303')).toBe('REMOVED')
})

test('what an analysis needs stays: pixels, geometry, equipment, age and sex', async () => {
  const kept = {
    '00080070': element('00080070', 'LO', 'Maker'),
    '00100040': element('00100040', 'CS', 'F'),
    '00101010': element('00101010', 'AS', '061Y'),
    '00180050': element('00180050', 'DS', '1.25'),
    '00181210': element('00181210', 'SH', 'B70f'),
    '00200032': element('00200032', 'DS', '1\\2\\3'),
    '00281052': element('00281052', 'DS', '-1024'),
  }
  const { json, bytes } = await deidentified(instance({ elements: kept, pixels: Buffer.alloc(512, 9) }))
  expect([textOf(json, '00080070'), textOf(json, '00100040'), textOf(json, '00101010')]).toEqual(['Maker', 'F', '061Y'])
  expect([textOf(json, '00181210'), textsOf(json, '00200032')]).toEqual(['B70f', ['1', '2', '3']])
  expect(bytes.subarray(-512).equals(Buffer.alloc(512, 9))).toBe(true)
  const old = await deidentified(instance({ elements: { '00101010': element('00101010', 'AS', '097Y') } }))
  expect(textOf(old.json, '00101010')).toBe('090Y')
})

describe('UIDs', () => {
  test('become others that are the same in all objects, and the standard’s own stay', async () => {
    const uids = freshUids()
    const references = {
      '00081140': sequence(
        '00081140',
        Buffer.concat([
          element('00081150', 'UI', '1.2.840.10008.5.1.4.1.1.2'),
          element('00081155', 'UI', uids.instance),
        ]),
      ),
      '00200052': element('00200052', 'UI', '1.2.3.4.5'),
    }
    const { json, bytes } = await deidentified(instance({ ...uids, elements: references }))
    const mapped = (uid: string) => pseudonymousUid(options.key, uid)
    expect(textOf(json, '0020000D')).toBe(mapped(uids.study))
    expect(textOf(json, '00080018')).toBe(mapped(uids.instance))
    expect(textOf(json, '00200052')).toBe(mapped('1.2.3.4.5'))
    const [item] = itemsOf(json, '00081140')
    expect([textOf(item!, '00081150'), textOf(item!, '00081155')]).toEqual([
      '1.2.840.10008.5.1.4.1.1.2',
      mapped(uids.instance),
    ])
    for (const uid of Object.values(uids)) expect(bytes.includes(Buffer.from(uid))).toBe(false)
    expect(pseudonymousUid('another key', uids.study)).not.toBe(mapped(uids.study))
    expect(mapped(uids.study)).toMatch(/^2\.25\.\d+$/)
  })
})

test('dates move by the same number of days for all studies of a patient, if they may stay', async () => {
  const retain = { ...options, retainLongitudinal: true }
  const dated = (date: string) =>
    instance({
      elements: {
        '00080020': element('00080020', 'DA', date),
        '0008002A': element('0008002A', 'DT', `${date}101500.5`),
        '00080030': element('00080030', 'TM', '101500'),
        '00100030': element('00100030', 'DA', '19570321'),
      },
    })
  const [first, second] = [await deidentified(dated('20240228'), retain), await deidentified(dated('20250228'), retain)]
  const day = (json: typeof first.json) => {
    const [, y, m, d] = /^(\d{4})(\d\d)(\d\d)$/.exec(textOf(json, '00080020')!)!
    return Date.UTC(Number(y), Number(m) - 1, Number(d)) / 86_400_000
  }
  expect(day(second.json) - day(first.json)).toBe(366)
  expect(day(first.json)).toBeLessThan(Date.UTC(2024, 1, 28) / 86_400_000)
  expect(textOf(first.json, '00080030')).toBe('101500')
  expect(textOf(first.json, '0008002A')).toBe(`${textOf(first.json, '00080020')}101500.5`)
  expect(textOf(first.json, '00100030')).toBeUndefined() // a birth date is no date of an examination
  expect(textOf(first.json, '00280303')).toBe('MODIFIED')
  const other = await deidentified(dated('20240228'), { ...retain, patient: 'issuer P-2' })
  expect(day(other.json)).not.toBe(day(first.json))
})

test('private elements stay only if their creator is named', async () => {
  const elements = { '00290010': element('00290010', 'LO', 'SAFE'), '00291001': element('00291001', 'LO', 'kernel') }
  const { bytes } = await deidentified(instance({ elements }), options, { privateCreators: ['SAFE'] })
  expect(bytes.includes(Buffer.from('kernel'))).toBe(true)
  expect((await deidentified(instance({ elements }))).bytes.includes(Buffer.from('kernel'))).toBe(false)
})
