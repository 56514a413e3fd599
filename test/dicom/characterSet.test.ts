import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { characterSet } from '../../src/dicom/characterSet.js'
import type { PersonName } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { hasSamples, samples, testWhere } from '../fixtures/peers.js'

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')

// Examples of PS3.5 annexes H, I, J, K, and of the character set repertoires.
test.each([
  [
    'Japanese, PS3.5 H.3.1',
    ['', 'ISO 2022 IR 87'],
    bytes(
      '59616d6164615e5461726f753d1b24423b3345441b28425e1b24424240 4f3a1b28423d1b2442246424 5e24401b28425e1b2442243f246d24261b2842',
    ),
    'Yamada^Tarou=山田^太郎=やまだ^たろう',
  ],
  [
    'Japanese with JIS X 0201, H.3.2',
    ['ISO 2022 IR 13', 'ISO 2022 IR 87'],
    bytes('d4cfc0de5ec0dbb33d1b24423b3345441b284a5e1b244242404f3a1b284a'),
    'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎',
  ],
  [
    'Korean, I.2',
    ['', 'ISO 2022 IR 149'],
    bytes('486f6e675e47696c646f6e673d1b242943fbf35e1b242943d1ced4d73d1b242943c8ab5e1b242943b1e6b5bf'),
    'Hong^Gildong=洪^吉洞=홍^길동',
  ],
  ['Chinese GB18030', ['GB18030'], bytes('57616e675e5869616f446f6e673dcdf55ed0a1b6ab'), 'Wang^XiaoDong=王^小东'],
  ['Russian', ['ISO_IR 144'], bytes('bbeeda'), 'Люк'],
  ['Arabic', ['ISO_IR 127'], bytes('e2c8c7e6ea'), 'قباني'],
  ['UTF-8', ['ISO_IR 192'], Buffer.from('Müller'), 'Müller'],
  ['undeclared UTF-8', [], Buffer.from('Müller'), 'Müller'],
  ['undeclared Latin-1', [], Buffer.from('Müller', 'latin1'), 'Müller'],
  ['a term as senders write it', ['ISO-IR 100'], Buffer.from('Müller', 'latin1'), 'Müller'],
] as [string, string[], Buffer, string][])('%s', (_name, terms, encoded, text) => {
  expect(characterSet(terms).decode(encoded, true)).toBe(text)
})

testWhere(hasSamples, 'sample files are absent').each([
  ['chrArab.dcm', 'قباني^لنزار'],
  ['chrFren.dcm', 'Buc^Jérôme'],
  ['chrGerm.dcm', 'Äneas^Rüdiger'],
  ['chrGreek.dcm', 'Διονυσιος'],
  ['chrH31.dcm', 'Yamada^Tarou|山田^太郎|やまだ^たろう'],
  ['chrH32.dcm', 'ﾔﾏﾀﾞ^ﾀﾛｳ|山田^太郎|やまだ^たろう'],
  ['chrHbrw.dcm', 'שרון^דבורה'],
  ['chrI2.dcm', 'Hong^Gildong|洪^吉洞|홍^길동'],
  ['chrRuss.dcm', 'Люкceмбypг'],
  ['chrX1.dcm', 'Wang^XiaoDong|王^小東'],
  ['chrX2.dcm', 'Wang^XiaoDong|王^小东'],
])('Patient Name of %s', (file, expected) => {
  const outcome = readPart10Header(readFileSync(join(samples, 'pydicom', 'charset_files', file)), true)
  if (outcome.outcome !== 'header') throw new Error(JSON.stringify(outcome))
  const name = outcome.header.json['00100010']!.Value![0] as PersonName
  expect([name.Alphabetic, name.Ideographic, name.Phonetic].filter(Boolean).join('|')).toBe(expected)
})

test('an escape sequence that is damaged, or that DICOM does not have, costs no text but itself', () => {
  const { decode } = characterSet(['ISO 2022 IR 13', 'ISO 2022 IR 87'])
  expect(decode(bytes('41 1b d4 42'), true)).toBe('A\ufffdﾔB')
  expect(decode(bytes('41 1b 28 7a 42 1b'), true)).toBe('A\ufffd(zB\ufffd')
  expect(decode(bytes('1b2442 3b33 1b 1b2842 42'), true)).toBe('山\ufffdB')
})

test('whatever bytes come under whatever terms, they are decoded to an end', () => {
  const terms = [
    '',
    'ISO_IR 100',
    'ISO_IR 192',
    'GB18030',
    'ISO 2022 IR 6',
    'ISO 2022 IR 13',
    'ISO 2022 IR 87',
    'ISO 2022 IR 149',
    'nonsense',
  ]
  const marks = fc.constantFrom(0x1b, 0x24, 0x28, 0x29, 0x42, 0x43, 0x44, 0x49, 0x4a, 0x5c, 0x5e, 0x3d)
  const byte = fc.oneof(marks, fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...terms), { maxLength: 3 }),
      fc.array(byte, { maxLength: 60 }),
      (set, codes) => {
        const text = characterSet(set).decode(Uint8Array.from(codes), true)
        expect(text.length).toBeLessThanOrEqual(codes.length)
      },
    ),
    { numRuns: 3000 },
  )
})
