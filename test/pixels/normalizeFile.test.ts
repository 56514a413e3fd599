import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { normalizeFile } from '../../src/pixels/normalizeFile.js'
import { type PixelPool, secondsForFrame, startPixelPool } from '../../src/pixels/pool.js'
import { encapsulated, imageFile, picture } from '../fixtures/images.js'
import { element, freshUids, instance } from '../fixtures/part10.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-normalize-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))
const input = join(scratch, 'in.dcm')
const output = join(scratch, 'out.dcm')

async function normalized(bytes: Buffer, options = {}) {
  writeFileSync(input, bytes)
  const report = await normalizeFile(input, output, options)
  const header = readPart10Header(readFileSync(output), true, true)
  if (header.outcome !== 'header') throw new Error('the output cannot be read')
  return { report, json: header.header.json, bytes: readFileSync(output) }
}

async function samplesOf(path: string, keepPhotometric = true): Promise<number[]> {
  const source = await openFrames(path)
  try {
    const all: number[] = []
    for (let frame = 0; frame < source.image.frames; frame++)
      all.push(...(await decodeFrame(source, frame, { keepPhotometric })).samples)
    return all
  } finally {
    await source.close()
  }
}

describe('a normalized object', () => {
  test('an overlay in high bits becomes Overlay Data, and the samples are clean', async () => {
    const clean = picture({ rows: 4, columns: 5, bits: 12 })
    const pixels = Buffer.from(Uint16Array.from(clean, (v, i) => v | (i % 3 === 0 ? 0x2000 : 0)).buffer)
    const { report, json } = await normalized(
      instance({
        ...freshUids(),
        rows: 4,
        columns: 5,
        pixels,
        elements: {
          '60000040': element('60000040', 'CS', 'G'),
          '60000050': element('60000050', 'SS', 1),
          '60000100': element('60000100', 'US', 16),
          '60000102': element('60000102', 'US', 13),
        },
      }),
    )
    expect(await samplesOf(output)).toEqual([...clean])
    const overlay = Buffer.from(json['60003000']!.InlineBinary!, 'base64')
    expect(Array.from({ length: 20 }, (_, i) => (overlay[i >> 3]! >> (i & 7)) & 1)).toEqual(
      Array.from({ length: 20 }, (_, i) => (i % 3 === 0 ? 1 : 0)),
    )
    expect(json['60000100']!.Value).toEqual([1])
    expect(report.changes).toContain('the overlay in bit 13 of the samples to Overlay Data (6000,3000)')
  })

  test('an odd number of bytes is padded once, after all frames', async () => {
    const options = { rows: 3, columns: 3, bits: 8, frames: 3 } as const
    const { bytes } = await normalized(imageFile(options))
    expect(await samplesOf(output)).toEqual([...picture(options)])
    expect(bytes.length % 2).toBe(0)
  })

  test('lossy history is added where the transfer syntax says lossy and the attributes nothing', async () => {
    // A JPEG of one grey block, made by hand: baseline, 8 × 8, all coefficients zero.
    const jpeg = Buffer.from(
      'ffd8ffdb004300' +
        '01'.repeat(64) +
        'ffc0000b080008000801011100' +
        'ffc40014000100000000000000000000000000000000' +
        'ffc40014100100000000000000000000000000000000' +
        'ffda0008010100003f003fffd9',
      'hex',
    )
    const item = (body: Buffer) =>
      Buffer.concat([Buffer.from('feff00e0', 'hex'), Buffer.from(Uint32Array.of(body.length).buffer), body])
    const even = jpeg.length % 2 ? Buffer.concat([jpeg, Buffer.alloc(1)]) : jpeg
    const { json } = await normalized(
      instance({
        ...freshUids(),
        transferSyntax: '1.2.840.10008.1.2.4.50',
        rows: 8,
        columns: 8,
        elements: {
          '00280100': element('00280100', 'US', 8),
          '00280101': element('00280101', 'US', 8),
          '00280102': element('00280102', 'US', 7),
          '7FE00010': Buffer.concat([
            Buffer.from('e07f10004f420000ffffffff', 'hex'),
            item(Buffer.alloc(0)),
            item(even),
            Buffer.from('feffdde000000000', 'hex'),
          ]),
        },
      }),
    )
    expect(await samplesOf(output)).toEqual(Array(64).fill(128))
    expect([textOf(json, '00282110'), textOf(json, '00282114')]).toEqual(['01', 'ISO_10918_1'])
  })

  test('names become UTF-8, private elements go, except those of a creator that is kept', async () => {
    const latin = Buffer.from('Bj\xf6rk^\xc5sa', 'latin1')
    const { json, bytes } = await normalized(
      instance({
        ...freshUids(),
        elements: {
          '00100010': element('00100010', 'PN', latin),
          '00090010': element('00090010', 'LO', 'ACME 1.0'),
          '00091001': element('00091001', 'LO', 'secret'),
          '00110010': element('00110010', 'LO', 'GOOD'),
          '00111001': element('00111001', 'LO', 'kept'),
          '00111101': element('00111101', 'LO', 'nobody’s'),
        },
      }),
      { utf8: true, privateCreators: ['GOOD'] },
    )
    expect(textOf(json, '00080005')).toBe('ISO_IR 192')
    expect(bytes.includes(Buffer.from('Björk^Åsa', 'utf8'))).toBe(true)
    expect(textOf(json, '00111001')).toBe('kept')
    for (const tag of ['00090010', '00091001', '00111101']) expect(json).not.toHaveProperty([tag])
  })

  test('what follows Pixel Data stays, without padding and signatures', async () => {
    const file = Buffer.concat([
      instance(freshUids()),
      element('7FE10010', 'LO', 'AFTER'),
      element('FFFCFFFC', 'OB', Buffer.alloc(10)),
    ])
    const { bytes } = await normalized(file)
    expect(bytes.includes('AFTER')).toBe(true)
    expect(bytes.includes(Buffer.from('fcfffcff', 'hex'))).toBe(false)
  })

  test('float pixel data keep their values', async () => {
    const values = Buffer.from(Float32Array.of(0.5, -1.25, 1e-20, 3e30).buffer)
    await normalized(
      instance({
        ...freshUids(),
        rows: 2,
        columns: 2,
        elements: {
          '00280100': element('00280100', 'US', 32),
          '00280101': null,
          '00280102': null,
          '7FE00008': element('7FE00008', 'OF', values),
          '7FE00010': null,
        },
      }),
    )
    expect(await samplesOf(output)).toEqual([...new Float32Array(values.buffer, values.byteOffset, 4)])
  })

  test('nothing is left over when it cannot be made', async () => {
    writeFileSync(input, instance({ ...freshUids(), pixels: Buffer.alloc(10) }))
    const target = join(scratch, 'never.dcm')
    await expect(normalizeFile(input, target)).rejects.toThrow('Pixel Data holds 10 bytes')
    expect(existsSync(target)).toBe(false)
    expect(readdirSync(scratch).filter(name => name.startsWith('never'))).toEqual([])
  })
})

describe.each<[string, Record<string, Buffer | null>, string]>([
  ['Rows 0', { '00280010': element('00280010', 'US', 0) }, 'has no content'],
  ['Bits Stored above Bits Allocated', { '00280101': element('00280101', 'US', 17) }, 'Bits Stored 17 does not fit 16'],
  ['High Bit below the stored bits', { '00280102': element('00280102', 'US', 5) }, 'High Bit 5 does not fit 12'],
  ['frames that overflow', { '00280008': element('00280008', 'IS', '1000000000') }, 'not a sensible number'],
  ['a negative number of frames', { '00280008': element('00280008', 'IS', '-1') }, 'not a sensible number'],
  [
    'three samples of MONOCHROME2',
    { '00280002': element('00280002', 'US', 3) },
    'MONOCHROME2 does not go with 3 samples',
  ],
  [
    'a frame of 65535 × 65535',
    { '00280010': element('00280010', 'US', 65535), '00280011': element('00280011', 'US', 65535) },
    'needs more than the 1024 MiB',
  ],
  ['no pixels', { '7FE00010': null }, 'the object holds no Pixel Data'],
  [
    'CMYK',
    { '00280002': element('00280002', 'US', 4), '00280004': element('00280004', 'CS', 'CMYK') },
    'Samples per Pixel 4 is not supported',
  ],
])('%s', (_, elements, message) => {
  test('is told before anything is decoded', async () => {
    writeFileSync(input, instance({ ...freshUids(), elements }))
    await expect(normalizeFile(input, output)).rejects.toThrow(message)
  })
})

describe('the pool', () => {
  let pool: PixelPool
  const good = join(scratch, 'good.dcm')
  beforeAll(() => {
    pool = startPixelPool(2, { frameSeconds: 2 })
    writeFileSync(good, imageFile({ rows: 8, columns: 8, bits: 12 }))
  })
  afterAll(() => pool.close())

  test('hands frames over', async () => {
    const { samples } = await pool.frame(good, 0)
    expect([...samples]).toEqual([...picture({ rows: 8, columns: 8, bits: 12 })])
  })

  test('small frames, whose bytes Node keeps together in one piece of memory, do not take each other along', async () => {
    const deflated = join(scratch, 'deflated.dcm')
    const options = { rows: 6, columns: 6, bits: 12 } as const
    const native = Buffer.from(Uint16Array.from(picture(options)).buffer)
    writeFileSync(
      deflated,
      instance({
        ...freshUids(),
        transferSyntax: '1.2.840.10008.1.2.8.1',
        rows: 6,
        columns: 6,
        elements: { '7FE00010': encapsulated([deflateRawSync(native)]) },
      }),
    )
    for (let i = 0; i < 5; i++) expect([...(await pool.frame(deflated, 0)).samples]).toEqual([...picture(options)])
  })

  test('a frame that takes too long ends its thread, and the next one is decoded', async () => {
    const pipe = join(scratch, 'pipe')
    execFileSync('mkfifo', [pipe]) // nobody writes into it: opening it for reading never ends
    await expect(pool.frame(pipe, 0)).rejects.toThrow('decoding took longer than 2 s')
    expect((await pool.frame(good, 0)).rows).toBe(8)
    writeFileSync(pipe, '') // lets the thread's read go
  })

  test('a frame of a small file gets less time than one of a large one', () => {
    expect([secondsForFrame(60, 2000), secondsForFrame(60, 500_000), secondsForFrame(60, 10_000_000)]).toEqual([
      11, 20, 60,
    ])
    expect(secondsForFrame(2, 10_000_000)).toBe(2)
  })

  test('a thread that runs out of memory is replaced', async () => {
    const elements = Object.fromEntries(
      Array.from({ length: 250_000 }, (_, i) => {
        const tag = `${(0x1001 + (i >> 15) * 2).toString(16)}${(0x1000 + (i & 0x7fff)).toString(16)}`.toUpperCase()
        return [tag, element(tag, 'LO', 'some text that has to be held in memory')]
      }),
    )
    const huge = join(scratch, 'huge.dcm')
    writeFileSync(huge, instance({ ...freshUids(), elements }))
    const narrow = startPixelPool(1, { heapMegabytes: 64 })
    try {
      await expect(narrow.frame(huge, 0)).rejects.toThrow('needs more than the 64 MB of memory')
      expect((await narrow.frame(good, 0)).rows).toBe(8)
    } finally {
      await narrow.close()
    }
  })
})

test('a folder is normalized with a summary; what is no image is passed over, what fails is named', async () => {
  const [from, to] = [join(scratch, 'from'), join(scratch, 'to')]
  mkdirSync(join(from, 'deep'), { recursive: true })
  writeFileSync(join(from, 'deep', 'a.dcm'), imageFile({ rows: 8, columns: 8, bits: 12 }))
  writeFileSync(join(from, 'b.dcm'), instance({ ...freshUids(), elements: { '7FE00010': null } }))
  writeFileSync(join(from, 'c.dcm'), 'no DICOM at all')
  const run = () =>
    execFileSync(process.execPath, ['dist/cli/index.js', 'normalize', from, to], { encoding: 'utf8', stdio: 'pipe' })
  let outcome: { status?: number; stdout?: string; stderr?: string } = {}
  try {
    run()
  } catch (error) {
    outcome = error as typeof outcome
  }
  expect(outcome.status).toBe(1)
  expect(outcome.stdout).toMatch(/^1 normalized, 1 without pixels passed over, 1 failed/)
  expect(outcome.stderr).toContain('c.dcm: shorter than the 132 bytes')
  expect(existsSync(join(to, 'deep', 'a.dcm'))).toBe(true)
  rmSync(join(from, 'c.dcm'))
  expect(run()).toMatch(/^1 normalized/)
})
