import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { invertMonochrome, ybrFullToRgb } from '../../src/pixels/photometric.js'
import { hasSamples, samples, testWhere } from '../fixtures/peers.js'

/** The syntaxes that this version decodes losslessly. */
const lossless = new Set(
  ['', '.1', '.1.99', '.2', '.5', '.4.57', '.4.70', '.4.80', '.4.90'].map(s => `1.2.840.10008.1.2${s}`),
)
/** Their hash in the manifest is of the bytes as they stand in the file: big endian, or with padding behind the last pixel. */
const asStored = new Set(
  [
    ...['ExplVR_BigEnd', 'MR_small_bigendian', 'MR_small_expb', 'MR_small_padded'],
    ...['SC_rgb_small_odd', 'SC_rgb_small_odd_big_endian', 'MR_truncated'],
  ].map(name => `pydicom/test_files/${name}.dcm`),
)
const rows = hasSamples
  ? readFileSync(join(samples, 'MANIFEST.tsv'), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map(line => line.split('\t'))
      .map(f => ({
        path: f[0]!,
        syntax: f[2]!,
        bits: Number(f[9]),
        hash: f[14]!,
        decoders: f[15] ?? '',
        samplesPerPixel: f[8],
      }))
  : []
const comparable = rows.filter(
  row =>
    lossless.has(row.syntax) &&
    (row.bits === 8 || row.bits === 16) &&
    row.hash.length === 64 &&
    (row.decoders === 'native' || row.decoders.includes('+')) &&
    !row.decoders.includes('disagree') &&
    !asStored.has(row.path),
)

describe('samples decode to the hash of the manifest', () => {
  testWhere(hasSamples, 'sample files are absent')('there are such files', () =>
    expect(comparable.length).toBeGreaterThan(60),
  )
  for (const { path, hash } of comparable) {
    test(path, async () => expect(await pixelHash(path)).toBe(hash))
  }

  const twins = [
    'MR_small_bigendian',
    'MR_small_expb',
    'MR_small_padded',
    'MR_small_implicit',
    'MR_small_RLE',
    'MR_small_jp2klossless',
  ]
  testWhere(hasSamples, 'sample files are absent').each(twins)('%s is its little endian twin', async name => {
    const file = (n: string) => `pydicom/test_files/${n}.dcm`
    expect(await pixelHash(file(name))).toBe(await pixelHash(file('MR_small')))
  })

  testWhere(hasSamples, 'sample files are absent')('a truncated file is told', async () => {
    await expect(pixelHash('pydicom/test_files/MR_truncated.dcm')).rejects.toThrow('the file ends inside Pixel Data')
  })
})

async function pixelHash(path: string): Promise<string> {
  const source = await openFrames(join(samples, path))
  try {
    const digest = createHash('sha256')
    for (let frame = 0; frame < source.image.frames; frame++) {
      const { samples: pixels } = await decodeFrame(source, frame, true)
      digest.update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength))
    }
    return digest.digest('hex')
  } finally {
    await source.close()
  }
}

test.each([
  [8, false, [0, 1, 255], [255, 254, 0]],
  [12, false, [0, 4095, 7], [4095, 0, 4088]],
  [12, true, [-2048, 2047, 0], [2047, -2048, -1]],
  [16, true, [-32768, 32767], [32767, -32768]],
])('MONOCHROME1 of %d bits, signed %s, is mirrored in the stored range', (bits, signed, stored, expected) => {
  const samples = bits === 8 ? Uint8Array.from(stored) : signed ? Int16Array.from(stored) : Uint16Array.from(stored)
  expect([...invertMonochrome(samples, bits, signed)]).toEqual(expected)
})

test('YBR_FULL to RGB is within one of the equations of PS3.3 C.7.6.3.1.2, backwards', () => {
  for (const rgb of [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [128, 128, 128],
    [12, 200, 99],
  ] as [number, number, number][]) {
    const [r, g, b] = rgb
    const samples = Uint8Array.from([
      Math.round(0.299 * r + 0.587 * g + 0.114 * b),
      Math.min(255, Math.round(-0.168736 * r - 0.331264 * g + 0.5 * b + 128)),
      Math.min(255, Math.round(0.5 * r - 0.418688 * g - 0.081312 * b + 128)),
    ])
    ybrFullToRgb(samples, 8)
    for (const [i, value] of rgb.entries()) expect(Math.abs(samples[i]! - value)).toBeLessThanOrEqual(1)
  }
})
