import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { afterAll, describe, expect, test } from '@jest/globals'
import { decodeFrame, type NormalizedFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { encapsulated, picture } from '../fixtures/images.js'
import { element, freshUids, instance } from '../fixtures/part10.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-codecs-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const t = '1.2.840.10008.1.2'

interface Stored {
  syntax: string
  rows: number
  columns: number
  pixelData: Buffer
  bits?: number
  elements?: Record<string, Buffer | null>
}

async function decode({
  syntax,
  rows,
  columns,
  pixelData,
  bits = 16,
  elements = {},
}: Stored): Promise<NormalizedFrame[]> {
  const path = join(scratch, 'image.dcm')
  const bytes = instance({
    ...freshUids(),
    transferSyntax: syntax,
    rows,
    columns,
    elements: {
      '00280100': element('00280100', 'US', bits <= 8 ? 8 : 16),
      '00280101': element('00280101', 'US', bits),
      '00280102': element('00280102', 'US', bits - 1),
      '7FE00010': pixelData,
      ...elements,
    },
  })
  writeFileSync(path, bytes)
  const source = await openFrames(path)
  try {
    return await Promise.all(Array.from({ length: source.image.frames }, (_, frame) => decodeFrame(source, frame)))
  } finally {
    await source.close()
  }
}

describe('JPEG XL', () => {
  // 12 × 10 pixels, made by libjxl without loss: grey of 12 bits, grey of 16 bits in a container, RGB.
  const grey12 =
    '/wpIIBgULQIIBAEAeAFLOGmYyoP3SSiYBCNujTEYjW0UelKMwT2IMVghBrM6XyNwH5bKsuq+LMuyDPMvyxIAAAAAAAAEAPLJAAAAAAAAAAAAAPAcAABWX8FhMAAAgChKAACARQgAsgAA8NwS'
  const grey16 =
    'AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAACJanhsY/8KSCD8AMWFCAIBAMwBSzhpmMqD90somAQjjo4xWDkKPcdgB4gxeEMM5mk+GBE0QBGKKDL8o4giiiiiaPaHIoooyuVyuVwul8vlcjkMMlsEL5fL5XK5XC6Xo0gul8vlcrlcLpfL5XK5XC6Xy8G05XK5XC6Xy+VyuVwul8vlcnmDBw=='
  const rgb =
    '/wpIIBBQXAgIAgEAIAFLGJOOg4MpMKJ2jI2OjER6DFaOMRiOwQMPID5gCgDcVvB9jeN2fOsz9HP2Hf+4//+7u+v/u7uzQ/ivVb1j2dPD/T+K8v8g//4='
  const each = <T>(value: (x: number, y: number) => T) =>
    Array.from({ length: 120 }, (_, i) => value(i % 12, Math.floor(i / 12)))

  test.each([
    ['12 bits', grey12, 12, each((x, y) => (x * 331 + y * 97) % 4096)],
    ['16 bits, in a container', grey16, 16, each((x, y) => (x * 5200 + y * 997) % 65536)],
  ])('%s', async (_, stream, bits, expected) => {
    const pixelData = encapsulated([Buffer.from(stream, 'base64')])
    const [frame] = await decode({ syntax: `${t}.4.110`, rows: 10, columns: 12, bits, pixelData })
    expect([...frame!.samples]).toEqual(expected)
    expect(frame!.bitsStored).toBe(bits)
  })

  test('RGB', async () => {
    const [frame] = await decode({
      syntax: `${t}.4.112`,
      rows: 10,
      columns: 12,
      bits: 8,
      pixelData: encapsulated([Buffer.from(rgb, 'base64')]),
      elements: { '00280002': element('00280002', 'US', 3), '00280004': element('00280004', 'CS', 'RGB') },
    })
    const expected = each((x, y) => [
      (x * 20 + y * 7) % 256,
      (x * 5 + y * 11 + 40) % 256,
      (x * 5 + y * 11 + 80) % 256,
    ]).flat()
    expect([...frame!.samples]).toEqual(expected)
  })

  test('a cut stream is told', async () => {
    const stream = Buffer.from(grey12, 'base64').subarray(0, 40)
    await expect(
      decode({ syntax: `${t}.4.110`, rows: 10, columns: 12, bits: 12, pixelData: encapsulated([stream]) }),
    ).rejects.toThrow(/JPEG XL code stream is (cut|corrupt)/)
  })
})

interface Encoder {
  getDecodedBuffer(info: object): Uint8Array
  getEncodedBuffer(): Uint8Array
  setQuality(reversible: boolean, quantization: number): void
  encode(): void
  delete(): void
}

async function encodeHtj2k(options: Parameters<typeof picture>[0]): Promise<Buffer> {
  const require = createRequire(import.meta.url)
  const { HTJ2KEncoder } = (await require('@cornerstonejs/codec-openjph/wasmjs')({ print() {} })) as {
    HTJ2KEncoder: new () => Encoder
  }
  const encoder = new HTJ2KEncoder()
  const samples = picture(options)
  const bytes = options.bits === 8 ? Uint8Array.from(samples) : new Uint8Array(Int16Array.from(samples).buffer)
  encoder
    .getDecodedBuffer({
      width: options.columns,
      height: options.rows,
      bitsPerSample: options.bits,
      componentCount: options.colour ? 3 : 1,
      isSigned: options.signed ?? false,
      isUsingColorTransform: options.colour ?? false,
    })
    .set(bytes)
  encoder.setQuality(true, 0)
  encoder.encode()
  const stream = Buffer.from(encoder.getEncodedBuffer())
  encoder.delete()
  return stream
}

describe('HTJ2K', () => {
  test.each([
    ['8 bits', { rows: 33, columns: 40, bits: 8 } as const],
    ['12 bits', { rows: 33, columns: 40, bits: 12 } as const],
    ['16 bits', { rows: 33, columns: 40, bits: 16 } as const],
    ['16 bits, signed', { rows: 33, columns: 40, bits: 16, signed: true } as const],
    ['RGB', { rows: 33, columns: 40, bits: 8, colour: true } as const],
  ])('%s', async (_, options) => {
    const signed = 'signed' in options
    const colour = 'colour' in options
    const [frame] = await decode({
      syntax: `${t}.4.201`,
      ...options,
      pixelData: encapsulated([await encodeHtj2k(options)]),
      elements: {
        '00280103': element('00280103', 'US', signed ? 1 : 0),
        ...(colour
          ? { '00280002': element('00280002', 'US', 3), '00280004': element('00280004', 'CS', 'YBR_RCT') }
          : {}),
      },
    })
    expect([...frame!.samples]).toEqual([...picture(options)])
    expect(frame!.photometric).toBe(colour ? 'RGB' : 'MONOCHROME2')
  })
})

describe('where frames begin', () => {
  const options = { rows: 16, columns: 20, bits: 12 as const }
  const streams = () => Promise.all([1, 2, 3].map(() => encodeHtj2k(options)))
  const frames3 = { '00280008': element('00280008', 'IS', '3') }
  const expected = [...picture(options)]
  const offsets = (fragments: Buffer[], starts: number[]) => {
    let at = 0
    const positions = fragments.map(fragment => {
      const here = at
      at += 8 + fragment.length + (fragment.length % 2)
      return here
    })
    return starts.map(start => positions[start]!)
  }
  const split = (stream: Buffer) => [stream.subarray(0, 40), stream.subarray(40, 90), stream.subarray(90)]

  test.each([
    ['a fragment a frame, no offset table', (s: Buffer[]) => encapsulated(s)],
    [
      'a sound offset table over split frames',
      (s: Buffer[]) => encapsulated(s.flatMap(split), offsets(s.flatMap(split), [0, 3, 6])),
    ],
    ['split frames without a table', (s: Buffer[]) => encapsulated(s.flatMap(split))],
    ['split frames with a table that points anywhere', (s: Buffer[]) => encapsulated(s.flatMap(split), [0, 17, 99999])],
    ['a table with the wrong number of entries', (s: Buffer[]) => encapsulated(s, [0])],
  ])('%s', async (_, build) => {
    const decoded = await decode({
      syntax: `${t}.4.201`,
      ...options,
      elements: frames3,
      pixelData: build(await streams()),
    })
    expect(decoded.map(frame => [...frame.samples])).toEqual([expected, expected, expected])
  })

  test('an Extended Offset Table', async () => {
    const fragments = (await streams()).flatMap(split)
    const table = Buffer.from(BigUint64Array.from(offsets(fragments, [0, 3, 6]), BigInt).buffer)
    const decoded = await decode({
      syntax: `${t}.4.201`,
      ...options,
      elements: { ...frames3, '7FE00001': element('7FE00001', 'OV', table) },
      pixelData: encapsulated(fragments),
    })
    expect(decoded.map(frame => [...frame.samples])).toEqual([expected, expected, expected])
  })

  test('too few fragments are told', async () => {
    const pixelData = encapsulated((await streams()).slice(0, 2))
    await expect(decode({ syntax: `${t}.4.201`, ...options, elements: frames3, pixelData })).rejects.toThrow(
      'Pixel Data holds 2 fragments, too few for 3 frames',
    )
  })

  test('a single frame in fragments cut anywhere is put together', async () => {
    const [stream] = await streams()
    const pieces = Array.from({ length: Math.ceil(stream!.length / 6) }, (_, i) => stream!.subarray(i * 6, i * 6 + 6))
    const [frame] = await decode({ syntax: `${t}.4.201`, ...options, pixelData: encapsulated(pieces) })
    expect([...frame!.samples]).toEqual(expected)
  })
})

describe('native samples in a capsule', () => {
  const values = [...picture({ rows: 6, columns: 5, bits: 16 })]
  const native = Buffer.from(Uint16Array.from(values).buffer)
  test.each([
    ['Encapsulated Uncompressed', `${t}.1.98`, native],
    ['Deflated Image Frame', `${t}.8.1`, deflateRawSync(native)],
  ])('%s', async (_, syntax, stream) => {
    const [frame] = await decode({ syntax, rows: 6, columns: 5, pixelData: encapsulated([stream]) })
    expect([...frame!.samples]).toEqual(values)
  })
  test('a deflated frame that expands beyond its size is refused', async () => {
    const bomb = deflateRawSync(Buffer.alloc(50_000_000))
    await expect(decode({ syntax: `${t}.8.1`, rows: 6, columns: 5, pixelData: encapsulated([bomb]) })).rejects.toThrow(
      'larger than Rows and Columns allow',
    )
  })
})

describe('a code stream that is not what the attributes promise', () => {
  test('another size is refused before it is decoded', async () => {
    const stream = await encodeHtj2k({ rows: 16, columns: 20, bits: 12 })
    stream.writeUInt32BE(60_000, 8) // Xsiz of 60000
    await expect(
      decode({ syntax: `${t}.4.201`, rows: 16, columns: 20, bits: 12, pixelData: encapsulated([stream]) }),
    ).rejects.toThrow('the code stream is 60000 × 16 pixels, Columns and Rows say 20 × 16')
  })
  test.each([0.3, 0.7, 0.98])('an HTJ2K stream of which %d is there is cut', async share => {
    const stream = await encodeHtj2k({ rows: 64, columns: 64, bits: 12 })
    const pixelData = encapsulated([stream.subarray(0, Math.floor(stream.length * share))])
    await expect(decode({ syntax: `${t}.4.201`, rows: 64, columns: 64, bits: 12, pixelData })).rejects.toThrow(
      'the JPEG 2000 code stream is cut',
    )
  })
  test('video is named', async () => {
    await expect(
      decode({ syntax: `${t}.4.102`, rows: 16, columns: 20, pixelData: encapsulated([Buffer.alloc(100)]) }),
    ).rejects.toThrow('MPEG-4 AVC/H.264 High Profile / Level 4.1 is not decoded')
  })
})

describe('PALETTE COLOR', () => {
  const palette = (descriptor: number[], data: (colour: number) => Buffer, segmented = false) =>
    Object.fromEntries([
      ['00280004', element('00280004', 'CS', 'PALETTE COLOR')],
      ...[1, 2, 3].flatMap(colour => [
        [`0028110${colour}`, element(`0028110${colour}`, 'US', Buffer.from(Uint16Array.from(descriptor).buffer))],
        [
          `002812${segmented ? '2' : '0'}${colour}`,
          element(`002812${segmented ? '2' : '0'}${colour}`, 'OW', data(colour)),
        ],
      ]),
    ])
  const words = (...values: number[]) => Buffer.from(Uint16Array.from(values).buffer)
  const image = (values: number[], elements: Record<string, Buffer>) =>
    decode({
      syntax: `${t}.1`,
      rows: 1,
      columns: values.length,
      bits: 8,
      pixelData: element('7FE00010', 'OB', Buffer.from(values)),
      elements,
    })

  test('entries of 16 bits give their high bytes; values outside get the first or last', async () => {
    const [frame] = await image(
      [9, 10, 11, 12, 200],
      palette([3, 10, 16], c => words(0x1000 * c, 0x2000 * c, 0x3000 * c)),
    )
    expect([...frame!.samples]).toEqual([16, 32, 48, 16, 32, 48, 32, 64, 96, 48, 96, 144, 48, 96, 144])
    expect(frame).toMatchObject({ photometric: 'RGB', samplesPerPixel: 3, bitsStored: 8 })
  })
  test('entries of 8 bits, two to a word', async () => {
    const [frame] = await image(
      [0, 1, 2],
      palette([3, 0, 8], c => Buffer.from([c, 10 * c, 20 * c, 0])),
    )
    expect([...frame!.samples]).toEqual([1, 2, 3, 10, 20, 30, 20, 40, 60])
  })
  test('16 bits by the descriptor, 8 in the entries', async () => {
    const [frame] = await image(
      [0, 1],
      palette([2, 0, 16], c => words(c, 100 + c)),
    )
    expect([...frame!.samples]).toEqual([1, 2, 3, 101, 102, 103])
  })
  test('segments: discrete, linear, indirect', async () => {
    // Two entries; a line of four up to 0x6000; then both again.
    const data = words(0, 2, 0x1000, 0x2000, 1, 4, 0x6000, 2, 2, 0, 0)
    const [frame] = await image(
      [0, 1, 2, 3, 4, 5, 6, 7],
      palette([12, 0, 16], () => data, true),
    )
    expect([...frame!.samples].filter((_, i) => i % 3 === 0)).toEqual([16, 32, 48, 64, 80, 96, 16, 32])
  })
  test.each([
    [
      'no descriptor',
      { '00280004': element('00280004', 'CS', 'PALETTE COLOR') },
      'without Red Palette Color Lookup Table Descriptor',
    ],
    ['too few entries', palette([256, 0, 16], () => words(1, 2)), 'too few for 256 entries'],
    ['an unknown segment', palette([4, 0, 16], () => words(7, 1, 1), true), 'segmented Red palette is corrupt'],
  ])('%s is told', async (_, elements, message) => {
    await expect(image([0, 1], elements)).rejects.toThrow(message)
  })
})

describe('JPEG streams made to cost', () => {
  const frame = (scans: string, rows = 8, columns = 8) =>
    Buffer.from(
      'ffd8ffdb004300' +
        '01'.repeat(64) +
        `ffc1000b0c${rows.toString(16).padStart(4, '0')}${columns.toString(16).padStart(4, '0')}01011100` +
        'ffc40014000100000000000000000000000000000000' +
        'ffc40014100100000000000000000000000000000000' +
        scans +
        'ffd9',
      'hex',
    )
  const scan = 'ffda0008010100003f003f'
  const of12Bits = (stream: Buffer, rows = 8, columns = 8) =>
    decode({ syntax: `${t}.4.51`, rows, columns, bits: 12, pixelData: encapsulated([stream]) })

  test('one scan is decoded, more than there are components are refused', async () => {
    const [decoded] = await of12Bits(frame(scan))
    expect([...decoded!.samples]).toEqual(Array(64).fill(2048))
    await expect(of12Bits(frame(scan.repeat(3)))).rejects.toThrow('more scans than components')
  })

  test('200,000 restart markers are gone through once', async () => {
    // A restart after each block; the blocks are empty.
    const marked = frame(
      `ffdd00040001${scan}00${Array.from({ length: 200_000 }, (_, i) => `ffd${i % 8}00`).join('')}`,
      2048,
      2048,
    )
    const began = performance.now()
    const [decoded] = await of12Bits(marked, 2048, 2048)
    expect(decoded!.samples.length).toBe(2048 * 2048)
    expect(performance.now() - began).toBeLessThan(60_000) // copying what is left at each marker took many minutes
  })
})
