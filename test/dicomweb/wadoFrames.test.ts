import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type DataSetToWrite, writePart10 } from '../../src/dicom/writePart10.js'
import { codecFor } from '../../src/pixels/codecs/index.js'
import type { ImageDescription } from '../../src/pixels/imageDescription.js'
import { resultObjects } from '../../src/results/index.js'
import { drawPicture } from '../../src/results/keyImage.js'
import { corpus } from '../fixtures/corpus.js'
import { imageFile, picture } from '../fixtures/images.js'
import { getParts } from '../fixtures/multipartAnswer.js'
import { freshUids, multipart, multipartType } from '../fixtures/part10.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({ endpoints: 'routes: []\n' })
})
afterAll(() => service?.stop())

const octets = 'multipart/related; type="application/octet-stream"'

async function store(bytes: Buffer): Promise<string> {
  const answer = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart([bytes]),
  )
  expect(answer.status).toBe(200)
  return answer.json['00081199'].Value[0]['00081190'].Value[0].replace(/^http:\/\/[^/]+/, service.url)
}

const get = getParts

test('frames of a multi-frame image are those that were asked for, in the order of the list', async () => {
  const options = { rows: 5, columns: 7, frames: 4, bits: 12 } as const
  const url = await store(imageFile(options))
  const samples = Uint16Array.from(picture(options))
  const frame = (n: number) => Buffer.from(samples.slice((n - 1) * 35, n * 35).buffer)
  const { status, parts, type } = await get(`${url}/frames/3,1`, octets)
  expect(status).toBe(200)
  expect(type).toMatch(/^multipart\/related; type="application\/octet-stream"; boundary=/)
  expect(parts.map(part => part.type)).toEqual(
    Array(2).fill('application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1'),
  )
  expect(parts.map(part => part.bytes.toString('hex'))).toEqual(
    [frame(3), frame(1)].map(bytes => bytes.toString('hex')),
  )
  const single = await get(`${url}/frames/2`, 'application/octet-stream')
  expect([single.type, single.parts[0]!.bytes.equals(frame(2))]).toEqual([
    'application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1',
    true,
  ])
  const { json } = await http('GET', `${url}/metadata`)
  const all = await get(json[0]['7FE00010'].BulkDataURI.replace(/^http:\/\/[^/]+/, service.url))
  expect(Buffer.concat(all.parts.map(part => part.bytes)).equals(Buffer.from(samples.buffer))).toBe(true)
})

test.each([
  ['/frames/0', 400],
  ['/frames/a', 400],
  ['/frames/1,', 400],
  ['/frames/1.5', 400],
  ['/frames/2', 404],
  ['/frames/1,999999999', 404],
])('%s of a single-frame image: %d', async (path, status) => {
  const url = await store(imageFile({ rows: 4, columns: 4, bits: 8 }))
  expect((await get(url + path)).status).toBe(status)
  expect((await get(url.replace(/instances\/.*/, 'instances/1.2.3') + path)).status).toBe(status === 400 ? 400 : 404)
})

test('frames come compressed without loss, where a media type asks for that', async () => {
  const options = { rows: 20, columns: 30, frames: 3, bits: 12 } as const
  const url = await store(imageFile(options))
  const types = { 'image/jls': '4.80', 'image/jp2': '4.90', 'image/jphc': '4.201', 'image/dicom-rle': '5' }
  for (const [type, end] of Object.entries(types)) {
    const syntax = `1.2.840.10008.1.2.${end}`
    const { status, parts } = await get(`${url}/frames/3,1`, `multipart/related; type="${type}"`)
    expect([status, ...parts.map(part => part.type)]).toEqual([
      200,
      ...Array(2).fill(`${type}; transfer-syntax=${syntax}`),
    ])
    const decoded = await Promise.all(parts.map(part => decodedStream(part.bytes, syntax, options)))
    const samples = picture(options)
    expect(decoded).toEqual([[...samples.slice(1200)], [...samples.slice(0, 600)]])
    const single = await get(`${url}/frames/3`, `${type}; transfer-syntax=${syntax}`)
    expect(single.parts[0]!.bytes.equals(parts[0]!.bytes)).toBe(true)
  }
  expect((await get(`${url}/frames/1`, 'image/jls; transfer-syntax=1.2.840.10008.1.2.4.81')).status).toBe(406)
  expect((await get(`${url}/frames/1`, 'multipart/related; type="constructor"')).status).toBe(406)
})

async function decodedStream(stream: Buffer, uid: string, options: { rows: number; columns: number; bits: number }) {
  const { rows, columns, bits } = options
  const image = { rows, columns, frames: 1, samplesPerPixel: 1, bitsAllocated: 16, bitsStored: bits, highBit: bits - 1 }
  const description = { ...image, signed: false, float: false, photometric: 'MONOCHROME2', planarConfiguration: 0 }
  const decode = codecFor({ uid, name: uid })
  return [...(await decode(stream, description as ImageDescription, { raw: true })).samples]
}

test('compressed frames come as they are stored, or decoded, as they are asked for', async () => {
  const { findings, context } = corpus().find(({ name }) => name === 'fractional mask in rle frames')!
  const [segmentation] = await resultObjects(findings, context, ['seg'], {
    imageOf: () => undefined,
    draw: drawPicture,
  })
  const url = await store(segmentation!.bytes)
  const expected = Uint8Array.from(findings.items[0]!.mask!.slices[1]!.runs.flatMap(run => run.fractions!))
  const decoded = await get(`${url}/frames/2`, octets)
  expect(decoded.parts[0]!.bytes.equals(expected)).toBe(true)
  for (const accept of [
    `${octets}; transfer-syntax=*`,
    'multipart/related; type="image/dicom-rle"',
    'image/dicom-rle',
  ]) {
    const stored = await get(`${url}/frames/2`, accept)
    expect(stored.parts[0]!.type).toBe('image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5')
    expect(stored.parts[0]!.bytes.readUInt32LE(0)).toBe(1) // the header of an RLE frame: one segment
  }
  for (const accept of ['image/jpeg', `${octets}; transfer-syntax=1.2.840.10008.1.2.4.50`, 'text/html'])
    expect((await get(`${url}/frames/1`, accept)).status).toBe(406)
})

test('one-bit frames that begin within a byte are given from their first bit on', async () => {
  const uids = freshUids()
  const bits = '101010101' + '111000111' + '010010011' // three frames of 3 × 3
  const packed = Uint8Array.from({ length: 4 }, (_, i) =>
    Number.parseInt([...bits.padEnd(32, '0').slice(i * 8, i * 8 + 8)].reverse().join(''), 2),
  )
  const dataset: DataSetToWrite = {
    '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.66.4'] },
    '00080018': { vr: 'UI', Value: [uids.instance] },
    '0020000D': { vr: 'UI', Value: [uids.study] },
    '0020000E': { vr: 'UI', Value: [uids.series] },
    '00280002': { vr: 'US', Value: [1] },
    '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
    '00280008': { vr: 'IS', Value: [3] },
    '00280010': { vr: 'US', Value: [3] },
    '00280011': { vr: 'US', Value: [3] },
    '00280100': { vr: 'US', Value: [1] },
    '00280101': { vr: 'US', Value: [1] },
    '00280102': { vr: 'US', Value: [0] },
    '00280103': { vr: 'US', Value: [0] },
    '7FE00010': { vr: 'OB', Value: [packed.buffer] },
  }
  const url = await store(writePart10(dataset))
  const { parts } = await get(`${url}/frames/1,2,3`, octets)
  const read = parts.map(({ bytes }) =>
    [...bytes]
      .flatMap(byte => [...byte.toString(2).padStart(8, '0')].reverse())
      .join('')
      .slice(0, 9),
  )
  expect(read).toEqual(['101010101', '111000111', '010010011'])
})
