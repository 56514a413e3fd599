import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { InstanceHeader } from '../../src/dicom/part10.js'
import { PixelDataCheck } from '../../src/dicom/pixelDataCheck.js'
import { findTransferSyntax } from '../../src/dicom/transferSyntaxes.js'

const before = 300
const header = {
  transferSyntax: findTransferSyntax('1.2.840.10008.1.2.4.90'),
  pixelData: { tag: '7FE00010', vr: 'OB', offset: before, length: 0, undefinedLength: true },
} as unknown as InstanceHeader

const item = (bytes: Buffer, tag = 0xe000fffe, length = bytes.length) => {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(tag, 0)
  head.writeUInt32LE(length, 4)
  return Buffer.concat([head, bytes])
}
const delimiter = item(Buffer.alloc(0), 0xe0ddfffe)
const offsetTable = item(Buffer.alloc(0))
const fragment = item(Buffer.alloc(1000, 1))
const file = (...items: Buffer[]) => Buffer.concat([Buffer.alloc(before), ...items])

function judge(bytes: Buffer, cuts: readonly number[] = []): string {
  const check = new PixelDataCheck(header)
  const borders = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (let i = 1; i < borders.length; i++) check.next(bytes.subarray(borders[i - 1], borders[i]))
  return check.end(bytes.length).outcome
}

const cases: [string, Buffer, string][] = [
  ['a fragment and its end', file(offsetTable, fragment, delimiter), 'whole'],
  ['something behind the end', file(offsetTable, fragment, delimiter, Buffer.alloc(500)), 'whole'],
  ['no fragment', file(offsetTable, delimiter), 'odd'],
  ['no item at all', file(), 'odd'],
  ['no end', file(offsetTable, fragment, fragment), 'odd'],
  ['half an item header at the end', file(offsetTable, fragment, delimiter.subarray(0, 5)), 'odd'],
  ['something that is no item', file(offsetTable, item(Buffer.alloc(4), 0x12345678), delimiter), 'odd'],
  [
    'a fragment of undefined length',
    file(offsetTable, item(Buffer.alloc(4), 0xe000fffe, 0xffffffff), delimiter),
    'odd',
  ],
  ['a fragment that is cut', file(offsetTable, fragment.subarray(0, 900)), 'cut'],
]

test.each(cases)('%s', (_name, bytes, outcome) => {
  expect(judge(bytes)).toBe(outcome)
  fc.assert(
    fc.property(fc.array(fc.nat(5000), { maxLength: 30 }), cuts => {
      expect(judge(bytes, cuts)).toBe(outcome) // wherever the chunks end
    }),
  )
})
