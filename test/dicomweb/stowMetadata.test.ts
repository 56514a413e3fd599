import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { DicomJson } from '../../src/dicom/dicomJson.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { fromNativeXml, toNativeXml, XmlProblem } from '../../src/dicom/nativeXml.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { getParts } from '../fixtures/multipartAnswer.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { type Answer, http, startTestService, type TestService } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({
    endpoints: 'routes: []\n',
    environment: { RADBRIDGE_MAX_REQUEST_BYTES: '8000000' },
  })
})
afterAll(() => service?.stop())

const studies = () => `${service.url}/dicom-web/studies`

interface BulkPart {
  type: string
  location: string
  bytes: Buffer
}
function body(form: 'json' | 'xml', metadata: readonly string[], bulk: readonly BulkPart[]): Buffer {
  const part = (head: string, bytes: Buffer | string) => [
    Buffer.from(`--B\r\n${head}\r\n\r\n`),
    Buffer.from(bytes),
    Buffer.from('\r\n'),
  ]
  return Buffer.concat([
    ...metadata.flatMap(text => part(`Content-Type: application/dicom+${form}`, text)),
    ...bulk.flatMap(({ type, location, bytes }) =>
      part(`Content-Type: ${type}\r\nContent-Location: ${location}`, bytes),
    ),
    Buffer.from('--B--\r\n'),
  ])
}
const post = (form: 'json' | 'xml', metadata: readonly string[], bulk: readonly BulkPart[], headers = {}) =>
  http(
    'POST',
    studies(),
    { 'Content-Type': `multipart/related; type="application/dicom+${form}"; boundary=B`, ...headers },
    body(form, metadata, bulk),
  )
const failures = (answer: Answer) => answer.json['00081198']?.Value ?? answer.json['0008119A']?.Value ?? []

function dataset(more: DicomJson = {}): { uids: ReturnType<typeof freshUids>; json: DicomJson } {
  const uids = freshUids()
  return {
    uids,
    json: {
      '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
      '00080018': { vr: 'UI', Value: [uids.instance] },
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Jörg', Ideographic: '山田^太郎' }] },
      '00100020': { vr: 'LO', Value: ['META-1'] },
      '0020000D': { vr: 'UI', Value: [uids.study] },
      '0020000E': { vr: 'UI', Value: [uids.series] },
      '00280002': { vr: 'US', Value: [1] },
      '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
      '00280010': { vr: 'US', Value: [4] },
      '00280011': { vr: 'US', Value: [4] },
      '00280030': { vr: 'DS', Value: [0.5, '0.50'] },
      '00280100': { vr: 'US', Value: [16] },
      '00280101': { vr: 'US', Value: [12] },
      '00280102': { vr: 'US', Value: [11] },
      '00280103': { vr: 'US', Value: [0] },
      '7FE00010': { vr: 'OW', BulkDataURI: 'pixels/1' },
      ...more,
    },
  }
}
const pixels = Buffer.from(Uint16Array.from({ length: 16 }, (_, i) => i * 100).buffer)
const octets = (location = 'pixels/1', bytes = pixels): BulkPart => ({
  type: 'application/octet-stream',
  location,
  bytes,
})

async function storedFile({ study, series, instance: uid }: ReturnType<typeof freshUids>) {
  const { parts, status } = await getParts(
    `${studies()}/${study}/series/${series}/instances/${uid}`,
    'application/dicom; transfer-syntax=*',
  )
  expect(status).toBe(200)
  const outcome = readPart10Header(parts[0]!.bytes, true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return { bytes: parts[0]!.bytes, header: outcome.header }
}

describe('metadata and bulk data', () => {
  test('JSON metadata with pixel data as octets becomes an instance', async () => {
    const { uids, json } = dataset()
    const answer = await post('json', [JSON.stringify([json])], [octets()])
    expect(answer.status).toBe(200)
    const { bytes, header } = await storedFile(uids)
    expect(header.transferSyntax.uid).toBe('1.2.840.10008.1.2.1')
    expect(bytes.subarray(header.pixelData!.offset, header.pixelData!.offset + 32).equals(pixels)).toBe(true)
    expect(header.json['00100010']!.Value).toEqual(json['00100010']!.Value)
    expect(header.json['00280030']!.Value).toEqual([0.5, 0.5])
    expect(header.json['00080005']!.Value).toEqual(['ISO_IR 192'])
  })
  test('two instances, with sequences, inline binary and bulk data within a sequence', async () => {
    const sequence = {
      '00081140': {
        vr: 'SQ',
        Value: [{ '00081155': { vr: 'UI', Value: ['1.2.3'] }, '00282000': { vr: 'OB', BulkDataURI: 'icc' } }],
      },
      '00091002': { vr: 'OB', InlineBinary: Buffer.from([1, 2, 3, 4]).toString('base64') },
    }
    const [first, second] = [dataset(sequence), dataset({ '7FE00010': { vr: 'OW', BulkDataURI: 'pixels/2' } })]
    const answer = await post(
      'json',
      [JSON.stringify([first.json, second.json])],
      [
        octets('pixels/2'),
        octets(),
        { type: 'application/octet-stream', location: 'icc', bytes: Buffer.from('PROFILE!') },
      ],
    )
    expect(answer.status).toBe(200)
    const { header } = await storedFile(first.uids)
    expect(header.json['00081140']!.Value).toEqual([
      {
        '00081155': { vr: 'UI', Value: ['1.2.3'] },
        '00282000': { vr: 'OB', InlineBinary: Buffer.from('PROFILE!').toString('base64') },
      },
    ])
    await storedFile(second.uids)
  })
  test('a compressed frame becomes encapsulated pixel data of its transfer syntax', async () => {
    const { uids, json } = dataset()
    const frame: BulkPart = {
      type: 'image/jls; transfer-syntax=1.2.840.10008.1.2.4.80',
      location: 'pixels/1',
      bytes: Buffer.from('ffd8fff7000b0c000400040101110000ffd9', 'hex'),
    }
    expect((await post('json', [JSON.stringify([json])], [frame])).status).toBe(200)
    const { bytes, header } = await storedFile(uids)
    expect(header.transferSyntax.uid).toBe('1.2.840.10008.1.2.4.80')
    expect(bytes.includes(frame.bytes)).toBe(true)
  })
  test('XML metadata, and an answer in XML', async () => {
    const { uids, json } = dataset()
    const answer = await post('xml', [toNativeXml(json)], [octets()], { Accept: 'application/dicom+xml' })
    expect(answer.status).toBe(200)
    const told = fromNativeXml(answer.text)
    expect(textOf((told['00081199']!.Value as DicomJson[])[0]!, '00081155')).toBe(uids.instance)
    expect((await storedFile(uids)).header.json['00100010']!.Value).toEqual(json['00100010']!.Value)
  })
  test('an instance whose bulk data was not sent is refused, and its neighbour stored', async () => {
    const [lost, fine] = [dataset({ '7FE00010': { vr: 'OW', BulkDataURI: 'nowhere' } }), dataset()]
    const answer = await post('json', [JSON.stringify([lost.json, fine.json])], [octets()])
    expect(answer.status).toBe(202)
    expect(failures(answer)).toHaveLength(1)
    expect(failures(answer)[0]['00081197'].Value).toEqual([0xc000])
    expect(failures(answer)[0]['00081155'].Value).toEqual([lost.uids.instance])
    await storedFile(fine.uids)
  })
  test.each([
    ['no JSON', ['{'], 400],
    ['a data set that is none', ['[1, null]'], 409],
    ['attributes without vr', ['[{"00080018": {}}]'], 409],
  ])('metadata that is %s is refused', async (_, metadata, status) => {
    const answer = await post('json', metadata as string[], [])
    expect(answer.status).toBe(status)
  })
  test('XML with a document type is refused', async () => {
    const bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><NativeDicomModel>&a;</NativeDicomModel>'
    expect((await post('xml', [bomb], [])).status).toBe(400)
  })
  test('a disk that takes no bulk data is told as such, and nothing is lost by it', async () => {
    const scratch = join(service.dataDirectory, 'scratch')
    rmSync(scratch, { recursive: true })
    writeFileSync(scratch, 'no folder')
    const { uids, json } = dataset()
    const answer = await post('json', [JSON.stringify([json])], [octets()])
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBeDefined()
    rmSync(scratch)
    mkdirSync(scratch)
    expect((await post('json', [JSON.stringify([json])], [octets()])).status).toBe(200)
    await storedFile(uids)
  })
  test('nothing is left in the scratch folder', () => {
    expect(readdirSync(join(service.dataDirectory, 'scratch'))).toEqual([])
  })
})

test('the Native DICOM Model comes back as what went into it', () => {
  const { json } = dataset({
    '00081140': { vr: 'SQ', Value: [{ '00081155': { vr: 'UI', Value: ['1.2.3'] } }, {}] },
    '00080008': { vr: 'CS', Value: ['ORIGINAL', null, 'AXIAL'] },
    '00104000': { vr: 'LT', Value: ['a < b & "c" > d'] },
    '00280106': { vr: 'US' },
  })
  expect(fromNativeXml(toNativeXml(json))).toEqual(json)
  expect(() => fromNativeXml('<a/>')).toThrow(XmlProblem)
  expect(() => fromNativeXml('<NativeDicomModel>')).toThrow(XmlProblem)
})

describe('Content-Encoding', () => {
  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ])('%s is expanded', async (encoding, pack) => {
    const uids = freshUids()
    const packed = pack(multipart([instance(uids)]))
    const headers = { 'Content-Type': multipartType, 'Content-Encoding': encoding }
    expect((await http('POST', studies(), headers, packed)).status).toBe(200)
    await storedFile(uids)
  })
  test('what expands beyond the limit is refused, and what is cut short as well', async () => {
    const headers = { 'Content-Type': multipartType, 'Content-Encoding': 'gzip' }
    const bomb = gzipSync(multipart([Buffer.alloc(100_000_000)]))
    expect((await http('POST', studies(), headers, bomb)).status).toBe(413)
    const uids = freshUids()
    const whole = gzipSync(multipart([instance(uids)]))
    expect((await http('POST', studies(), headers, whole.subarray(0, whole.length - 40))).status).toBe(400)
    expect((await http('GET', `${studies()}/${uids.study}`)).status).toBe(404)
  })
})
