import { expect, test } from '@jest/globals'
import {
  expand422,
  invertMonochrome,
  keepStoredBits,
  ybrFullToRgb,
  ybrPartialToRgb,
} from '../../src/pixels/photometric.js'

test.each([
  [8, false, [0, 1, 255], [255, 254, 0]],
  [12, false, [0, 4095, 7], [4095, 0, 4088]],
  [12, true, [-2048, 2047, 0], [2047, -2048, -1]],
  [16, true, [-32768, 32767], [32767, -32768]],
])('MONOCHROME1 of %d bits, signed %s, is mirrored in the stored range', (bits, signed, stored, expected) => {
  const samples = bits === 8 ? Uint8Array.from(stored) : signed ? Int16Array.from(stored) : Uint16Array.from(stored)
  expect([...invertMonochrome(samples, bits, signed)]).toEqual(expected)
})

const colours: [number, number, number][] = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [128, 128, 128],
  [12, 200, 99],
]

test.each(colours)(
  'YBR_FULL to RGB is within one of the equations of PS3.3 C.7.6.3.1.2, backwards: %d %d %d',
  (r, g, b) => {
    const samples = Uint8Array.from([
      Math.round(0.299 * r + 0.587 * g + 0.114 * b),
      Math.min(255, Math.round(-0.168736 * r - 0.331264 * g + 0.5 * b + 128)),
      Math.min(255, Math.round(0.5 * r - 0.418688 * g - 0.081312 * b + 128)),
    ])
    ybrFullToRgb(samples, 8)
    for (const [i, value] of [r, g, b].entries()) expect(Math.abs(samples[i]! - value)).toBeLessThanOrEqual(1)
  },
)

test.each(colours)('YBR_PARTIAL to RGB is within two of its equations, backwards: %d %d %d', (r, g, b) => {
  const samples = Uint8Array.from([
    Math.round(0.2568 * r + 0.5041 * g + 0.0979 * b + 16),
    Math.round(-0.1482 * r - 0.291 * g + 0.4392 * b + 128),
    Math.round(0.4392 * r - 0.3678 * g - 0.0714 * b + 128),
  ])
  ybrPartialToRgb(samples, 8)
  for (const [i, value] of [r, g, b].entries()) expect(Math.abs(samples[i]! - value)).toBeLessThanOrEqual(2)
})

test('4:2:2 gives both pixels of a pair their common chrominance', () => {
  expect([...expand422(Uint8Array.from([1, 2, 30, 40, 5, 6, 70, 80]), 4)]).toEqual([
    ...[1, 30, 40, 2, 30, 40],
    ...[5, 70, 80, 6, 70, 80],
  ])
})

test.each([
  ['overlay bits above', Uint16Array.of(0xf123), 12, 0, [0x123]],
  ['stored bits that end in the highest', Uint16Array.of(0x1230), 12, 4, [0x123]],
  ['the sign of 12 bits', Int16Array.of(0x0800, 0x07ff), 12, 0, [-2048, 2047]],
  ['32 bits', Uint32Array.of(0xffffffff), 32, 0, [0xffffffff]],
  ['31 of 32 bits, signed', Int32Array.of(0x7fffffff), 31, 0, [-1]],
])('stored bits: %s', (_, samples, bitsStored, shift, expected) => {
  keepStoredBits(samples, bitsStored, shift)
  expect([...samples]).toEqual(expected)
})
