import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type DicomJson, itemsOf, numberOf, textOf } from '../../src/dicom/dicomJson.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { normalizeFile } from '../../src/pixels/normalizeFile.js'
import { displayed } from '../fixtures/display.js'
import { element, freshUids, instance } from '../fixtures/part10.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-mono-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const voiKinds = ['LINEAR', 'LINEAR_EXACT', 'SIGMOID', 'VOI LUT'] as const
const modalityKinds = ['none', 'rescale', 'Modality LUT'] as const
const matrix = [8, 10, 12, 16].flatMap(bits =>
  [false, true].flatMap(signed =>
    ['MONOCHROME1', 'MONOCHROME2'].flatMap(photometric =>
      voiKinds.flatMap(voi => modalityKinds.map(modality => ({ bits, signed, photometric, voi, modality }))),
    ),
  ),
)

describe('each pixel is displayed after normalization as it was before', () => {
  test.each(matrix)('$bits bits, signed $signed, $photometric, $voi, $modality', async variant => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async seed => {
        const random = generator(seed)
        const before = await read(write(`${seed}.dcm`, makeImage(variant, random)))
        const output = join(scratch, 'out.dcm')
        await normalizeFile(before.path, output)
        const after = await read(output)
        expect(textOf(after.header, '00280004')).toBe('MONOCHROME2')
        for (const [i, value] of before.stored.entries()) {
          const difference = displayed(after.header, after.stored[i]!) - displayed(before.header, value)
          expect(Math.abs(difference)).toBeLessThan(1e-6)
          expect(realWorld(after.header, after.stored[i]!)).toBeCloseTo(realWorld(before.header, value), 6)
        }
        // Padding stays on the pixels that were padding.
        const isPadding = (image: typeof before, i: number) => image.stored[i] === signedOf(image.header, '00280120')
        for (const i of before.stored.keys()) expect(isPadding(after, i)).toBe(isPadding(before, i))
      }),
      { numRuns: 4 },
    )
  })
})

test('windows of an enhanced image are mirrored with the rescale of each frame', async () => {
  const seq = (tag: string, ...items: Buffer[]) =>
    element(tag, 'SQ', Buffer.concat(items.map(body => Buffer.concat([itemHeader(body.length), body]))))
  const group = (slope: string, center: string) =>
    Buffer.concat([
      seq('00289132', Buffer.concat([element('00281050', 'DS', center), element('00281051', 'DS', '100')])),
      seq('00289145', Buffer.concat([element('00281052', 'DS', '10'), element('00281053', 'DS', slope)])),
    ])
  const bytes = instance({
    ...freshUids(),
    rows: 1,
    columns: 2,
    pixels: Buffer.from(Uint16Array.of(100, 200, 300, 400).buffer),
    elements: {
      '00280004': element('00280004', 'CS', 'MONOCHROME1'),
      '00280008': element('00280008', 'IS', '2'),
      '52009230': seq('52009230', group('1', '150'), group('2', '700')),
    },
  })
  const output = join(scratch, 'enhanced.dcm')
  await normalizeFile(write('in.dcm', bytes), output)
  const { header } = await read(output)
  const centers = itemsOf(header, '52009230').map(item => numberOf(itemsOf(item, '00289132')[0]!, '00281050'))
  expect(centers).toEqual([1 * 4095 + 20 - 150 + 1, 2 * 4095 + 20 - 700 + 1])
})

function makeImage(
  { bits, signed, photometric, voi, modality }: (typeof matrix)[number],
  random: (below: number) => number,
): Buffer {
  const allocated = bits === 8 ? 8 : 16
  const lowest = signed ? -(2 ** (bits - 1)) : 0
  const range = 2 ** bits
  const padding = lowest + random(range)
  const stored = Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? padding : lowest + random(range)))
  const pixels =
    allocated === 8
      ? Buffer.from(stored.map(v => v & 0xff))
      : Buffer.from(Uint16Array.from(stored, v => v & 0xffff).buffer)
  const number = (tag: string, value: number) => element(tag, signed ? 'SS' : 'US', value)
  const slope = 0.5 + random(8) / 2
  const intercept = random(4096) - 1024
  const lutBits = 12
  const about = modality === 'rescale' ? { slope: Math.round(slope), intercept } : { slope: 1, intercept: 0 }
  const center =
    modality === 'Modality LUT' ? random(4096) : Math.round((lowest + random(range)) * about.slope + about.intercept)
  return instance({
    ...freshUids(),
    rows: 8,
    columns: 8,
    pixels,
    elements: {
      '00280004': element('00280004', 'CS', photometric),
      '00280100': element('00280100', 'US', allocated),
      '00280101': element('00280101', 'US', bits),
      '00280102': element('00280102', 'US', bits - 1),
      '00280103': element('00280103', 'US', signed ? 1 : 0),
      '00280106': number('00280106', Math.min(...stored)),
      '00280107': number('00280107', Math.max(...stored)),
      '00280120': number('00280120', padding),
      ...(voi === 'VOI LUT'
        ? {
            '00283010': lutSequence('00283010', {
              first:
                modality === 'Modality LUT' ? random(1000) : Math.max(-32768, Math.min(signed ? 30000 : 60000, center)),
              // The range of modality values; a Modality LUT has none below zero.
              signed: signed || center < 0,
              bits: lutBits,
              random,
            }),
          }
        : {
            '00281050': element('00281050', 'DS', String(center)),
            '00281051': element('00281051', 'DS', String(2 + random(range))),
            '00281056': element('00281056', 'LO', voi),
          }),
      ...(modality === 'rescale'
        ? {
            '00281052': element('00281052', 'DS', String(about.intercept)),
            '00281053': element('00281053', 'DS', String(about.slope)),
          }
        : {}),
      ...(modality === 'Modality LUT'
        ? { '00283000': lutSequence('00283000', { first: lowest + random(range), signed, bits: lutBits, random }) }
        : {}),
      '00409096': element(
        '00409096',
        'SQ',
        item([element('00409224', 'FD', double(random(100))), element('00409225', 'FD', double(1 + random(5)))]),
      ),
      '7FE00010': element('7FE00010', allocated === 8 ? 'OB' : 'OW', pixels),
    },
  })
}

function lutSequence(
  tag: string,
  { first, signed, bits, random }: { first: number; signed: boolean; bits: number; random(below: number): number },
): Buffer {
  const entries = Uint16Array.from({ length: 200 }, () => random(2 ** bits))
  const descriptor = Buffer.from(Uint16Array.of(200, first & 0xffff, bits).buffer)
  return element(
    tag,
    'SQ',
    item([
      element('00283002', signed ? 'SS' : 'US', descriptor),
      element('00283006', 'OW', Buffer.from(entries.buffer)),
    ]),
  )
}

function item(elements: Buffer[]): Buffer {
  const body = Buffer.concat(elements)
  return Buffer.concat([itemHeader(body.length), body])
}

function itemHeader(length: number): Buffer {
  const header = Buffer.from('feff00e000000000', 'hex')
  header.writeUInt32LE(length, 4)
  return header
}

function double(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}

/** Real World Value Mapping (PS3.3 C.7.6.16.2.11). */
function realWorld(header: DicomJson, stored: number): number {
  const mapping = itemsOf(header, '00409096')[0]!
  return stored * numberOf(mapping, '00409225')! + numberOf(mapping, '00409224')!
}

function signedOf(header: DicomJson, tag: string): number {
  return numberOf(header, tag)!
}

function write(name: string, bytes: Buffer): string {
  const path = join(scratch, name)
  writeFileSync(path, bytes)
  return path
}

/** Stored values as they are, read without changing them. */
async function read(path: string): Promise<{ path: string; header: DicomJson; stored: number[] }> {
  const source = await openFrames(path)
  const { samples } = await decodeFrame(source, 0, { keepPhotometric: true })
  await source.close()
  return { path, header: source.header.json, stored: [...samples] }
}

/** Mulberry32: the same numbers for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
