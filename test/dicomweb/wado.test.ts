import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { DicomJson } from '../../src/dicom/dicomJson.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { fromNativeXml } from '../../src/dicom/nativeXml.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { imageFile, picture } from '../fixtures/images.js'
import { getParts } from '../fixtures/multipartAnswer.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const folder = mkdtempSync(join(tmpdir(), 'radbridge-wado-'))
const testWithDcmtk = testWhere(hasProgram('dcmcjpls'), 'dcmtk is not installed')
const testWithUnzip = testWhere(hasProgram('python3'), 'python3, which unpacks the archive, is not installed')
let service: TestService
beforeAll(async () => {
  service = await startTestService({
    endpoints: 'routes: []\n',
    configuration: writeConfiguration("http: { corsOrigins: ['https://viewer.example.org'] }\n"),
  })
})
afterAll(async () => {
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
})

function writeConfiguration(text: string): string {
  const path = join(folder, 'radbridge.yaml')
  writeFileSync(path, text)
  return path
}
const web = () => `${service.url}/dicom-web`
const addressOf = ({ study, series, instance: uid }: ReturnType<typeof freshUids>) =>
  `${web()}/studies/${study}/series/${series}/instances/${uid}`

async function store(...files: Buffer[]): Promise<void> {
  const answer = await http('POST', `${web()}/studies`, { 'Content-Type': multipartType }, multipart(files))
  expect(answer.status).toBe(200)
}
function headerOf(bytes: Buffer) {
  const outcome = readPart10Header(bytes, true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return outcome.header
}
/** JPEG-LS by dcmtk. */
function compressed(bytes: Buffer): Buffer {
  const [plain, packed] = [join(folder, 'plain.dcm'), join(folder, 'packed.dcm')]
  writeFileSync(plain, bytes)
  execFileSync('dcmcjpls', [plain, packed])
  return readFileSync(packed)
}

describe('transfer syntaxes', () => {
  testWithDcmtk('a compressed study comes decoded by default, and as it is stored on demand', async () => {
    const options = { rows: 32, columns: 48, bits: 12 } as const
    const original = imageFile(options)
    const { studyInstanceUid: study, ...uids } = headerOf(original)
    const packed = compressed(original)
    await store(packed)
    const decoded = await getParts(`${web()}/studies/${study}`, 'multipart/related; type="application/dicom"')
    expect(decoded.parts[0]!.type).toBe('application/dicom; transfer-syntax=1.2.840.10008.1.2.1')
    const { pixelData } = headerOf(decoded.parts[0]!.bytes)
    const expected = Buffer.from(Uint16Array.from(picture(options)).buffer)
    expect(
      decoded.parts[0]!.bytes.subarray(pixelData!.offset, pixelData!.offset + expected.length).equals(expected),
    ).toBe(true)
    const stored = await getParts(
      `${web()}/studies/${study}`,
      'multipart/related; type="application/dicom"; transfer-syntax=*',
    )
    expect(stored.parts[0]!.bytes.equals(packed)).toBe(true)
    const address = addressOf({ study, series: uids.seriesInstanceUid, instance: uids.sopInstanceUid })
    const single = await getParts(address, 'application/dicom')
    expect(single.type).toBe('application/dicom; transfer-syntax=1.2.840.10008.1.2.1')
    expect(single.parts[0]!.bytes.equals(decoded.parts[0]!.bytes)).toBe(true)
    const other = await getParts(address, 'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50')
    expect(other.status).toBe(406)
  })
  test('a study comes compressed without loss, where that is asked for; what has no pixels as it is stored', async () => {
    const options = { rows: 32, columns: 48, bits: 12 } as const
    const image = imageFile(options)
    const { studyInstanceUid: study, seriesInstanceUid: series, sopInstanceUid } = headerOf(image)
    const note = implicit({ ...freshUids(), study })
    await store(image, note)
    for (const syntax of ['5', '4.80', '4.90', '4.201'].map(end => `1.2.840.10008.1.2.${end}`)) {
      const accept = `application/dicom"; transfer-syntax=${syntax}`
      const { parts, status } = await getParts(`${web()}/studies/${study}`, `multipart/related; type="${accept}`)
      expect([status, parts.length]).toEqual([200, 2])
      const packed = parts.find(part => part.type === `application/dicom; transfer-syntax=${syntax}`)!
      const path = join(folder, 'one.dcm')
      writeFileSync(path, packed.bytes)
      const source = await openFrames(path)
      const { samples } = await decodeFrame(source, 0)
      await source.close()
      expect([headerOf(packed.bytes).sopInstanceUid, ...samples]).toEqual([sopInstanceUid, ...picture(options)])
      expect(parts.find(part => part !== packed)!.bytes.equals(note)).toBe(true)
      const single = await getParts(
        addressOf({ study, series, instance: sopInstanceUid }),
        `application/dicom; transfer-syntax=${syntax}`,
      )
      expect(single.parts[0]!.bytes.equals(packed.bytes)).toBe(true)
    }
    const { seriesInstanceUid, sopInstanceUid: uid } = headerOf(note)
    const refused = await getParts(
      addressOf({ study, series: seriesInstanceUid, instance: uid }),
      'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80',
    )
    expect([refused.status, refused.parts[0]!.bytes.toString()]).toEqual([
      406,
      expect.stringContaining('transfer-syntax=*'),
    ])
  })
  test('Implicit VR is given as Explicit VR', async () => {
    const uids = freshUids()
    await store(implicit(uids))
    const { parts, status } = await getParts(addressOf(uids), 'application/dicom')
    expect(status).toBe(200)
    expect(headerOf(parts[0]!.bytes).transferSyntax.uid).toBe('1.2.840.10008.1.2.1')
  })
})

/** A CT without pixels in Implicit VR Little Endian. */
function implicit(uids: ReturnType<typeof freshUids>): Buffer {
  const value = (tag: string, text: string) => {
    const bytes = Buffer.from(text.length % 2 ? `${text}\0` : text, 'latin1')
    const header = Buffer.alloc(8)
    header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
    header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
    header.writeUInt32LE(bytes.length, 4)
    return Buffer.concat([header, bytes])
  }
  const meta = instance({ ...uids, transferSyntax: '1.2.840.10008.1.2' })
  const start = 132 + 12 + meta.readUInt32LE(140)
  return Buffer.concat([
    meta.subarray(0, start),
    value('00080016', '1.2.840.10008.5.1.4.1.1.2'),
    value('00080018', uids.instance),
    value('00080060', 'CT'),
    value('00100020', 'I-1'),
    value('0020000D', uids.study),
    value('0020000E', uids.series),
  ])
}

describe('other forms', () => {
  testWithUnzip('a study as ZIP', async () => {
    const study = freshUids().study
    const files = [1, 2, 3].map(() => instance({ ...freshUids(), study }))
    await store(...files)
    const { status, type, parts } = await getParts(`${web()}/studies/${study}`, 'application/zip')
    expect(status).toBe(200)
    expect(type).toBe('application/zip')
    const path = join(folder, 'study.zip')
    writeFileSync(path, parts[0]!.bytes)
    const script =
      'import zipfile,sys,hashlib\nz=zipfile.ZipFile(sys.argv[1])\nprint(z.testzip())\nfor n in z.namelist(): print(hashlib.md5(z.read(n)).hexdigest())'
    const [broken, ...sums] = execFileSync('python3', ['-c', script, path], { encoding: 'utf8' }).trim().split('\n')
    expect(broken).toBe('None')
    const { createHash } = await import('node:crypto')
    expect(sums.toSorted()).toEqual(files.map(file => createHash('md5').update(file).digest('hex')).toSorted())
  })
  test('metadata in XML, with the same content as in JSON', async () => {
    const uids = freshUids()
    await store(instance(uids))
    const json = await http('GET', `${addressOf(uids)}/metadata`)
    const xml = await getParts(`${addressOf(uids)}/metadata`, 'multipart/related; type="application/dicom+xml"')
    expect(xml.parts[0]!.type).toBe('application/dicom+xml')
    expect(fromNativeXml(xml.parts[0]!.bytes.toString())).toEqual(json.json[0])
  })
  test('search results in XML, and 204 for none', async () => {
    const uids = freshUids()
    await store(instance(uids))
    const accept = 'multipart/related; type="application/dicom+xml"'
    const found = await getParts(`${web()}/studies?StudyInstanceUID=${uids.study}`, accept)
    expect(textOf(fromNativeXml(found.parts[0]!.bytes.toString()), '0020000D')).toBe(uids.study)
    expect((await getParts(`${web()}/studies?StudyInstanceUID=1.2.3`, accept)).status).toBe(204)
  })
})

describe('bulk data', () => {
  test('long binary values stand in the metadata by address, also within sequences, and come from there', async () => {
    const uids = freshUids()
    const [table, nested] = [Buffer.alloc(10_000, 3), Buffer.alloc(5000, 9)]
    const inner = element('54001010', 'OW', nested)
    const itemHeader = Buffer.from('feff00e000000000', 'hex')
    itemHeader.writeUInt32LE(inner.length, 4)
    await store(
      instance({
        ...uids,
        elements: {
          '00091010': element('00091010', 'OB', table),
          '54000100': element('54000100', 'SQ', Buffer.concat([itemHeader, inner])),
        },
      }),
    )
    const { json } = await http('GET', `${addressOf(uids)}/metadata`)
    const [header] = json as [DicomJson]
    const addresses = [
      [header['00091010']!.BulkDataURI!, table],
      [(header['54000100']!.Value![0] as DicomJson)['54001010']!.BulkDataURI!, nested],
    ] as const
    for (const [address, bytes] of addresses) {
      expect(address.startsWith(`${addressOf(uids)}/bulkdata/`)).toBe(true)
      expect((await getParts(address, 'application/octet-stream')).parts[0]!.bytes.equals(bytes)).toBe(true)
      const multi = await getParts(address, 'multipart/related; type="application/octet-stream"')
      expect(multi.parts[0]!.bytes.equals(bytes)).toBe(true)
    }
    expect((await getParts(`${addressOf(uids)}/bulkdata/00420011`)).status).toBe(404)
    expect((await getParts(`${addressOf(uids)}/bulkdata/..%2f..`)).status).toBe(404)
  })
})

test('pixel data in metadata is that of the object, whatever stands in its sequences', async () => {
  const inner = Buffer.concat([element('00280010', 'US', 4), element('00280100', 'US', 8)])
  const item = Buffer.from('feff00e000000000', 'hex')
  item.writeUInt32LE(inner.length, 4)
  const sequence = element('00081140', 'SQ', Buffer.concat([item, inner]))
  const [image, report] = [freshUids(), freshUids()]
  await store(
    instance({ ...image, elements: { '00081140': sequence } }),
    instance({ ...report, elements: { '00081140': sequence, '00280010': null, '00280100': null, '7FE00010': null } }),
  )
  const pixelsOf = async (uids: typeof image) => (await http('GET', `${addressOf(uids)}/metadata`)).json[0]['7FE00010']
  expect(await pixelsOf(image)).toEqual({ vr: 'OW', BulkDataURI: `${addressOf(image)}/bulkdata/7FE00010` })
  expect(await pixelsOf(report)).toBeUndefined()
})

describe('conditional requests and ranges', () => {
  test('an entity tag saves what has not changed, until something is added', async () => {
    const uids = freshUids()
    await store(instance(uids))
    for (const [path, accept] of [
      [`${web()}/studies/${uids.study}`, 'multipart/related; type="application/dicom"; transfer-syntax=*'],
      [`${web()}/studies/${uids.study}/metadata`, 'application/dicom+json'],
    ] as const) {
      const first = await getParts(path, accept)
      const tag = String(first.headers.etag)
      expect((await getParts(path, accept, { 'If-None-Match': tag })).status).toBe(304)
      await store(instance({ ...freshUids(), study: uids.study }))
      expect((await getParts(path, accept, { 'If-None-Match': tag })).status).toBe(200)
    }
  })
  test('a part of an instance', async () => {
    const uids = freshUids()
    const bytes = instance(uids)
    await store(bytes)
    const accept = 'application/dicom; transfer-syntax=*'
    const range = async (value: string) => getParts(addressOf(uids), accept, { Range: value })
    const middle = await range('bytes=100-199')
    expect(middle.status).toBe(206)
    expect(middle.headers['content-range']).toBe(`bytes 100-199/${bytes.length}`)
    expect(middle.parts[0]!.bytes.equals(bytes.subarray(100, 200))).toBe(true)
    expect((await range('bytes=-10')).parts[0]!.bytes.equals(bytes.subarray(-10))).toBe(true)
    expect((await range(`bytes=${bytes.length}-`)).status).toBe(416)
    expect((await range('bytes=x-y')).status).toBe(200)
  })
})

describe('capabilities and other origins', () => {
  test('OPTIONS of the service describes its resources', async () => {
    const { status, text, headers } = await http('OPTIONS', `${web()}/studies`)
    expect(status).toBe(200)
    expect(headers['content-type']).toMatch(/^application\/vnd\.sun\.wadl\+xml/)
    expect(headers.allow).toBe('OPTIONS, GET, HEAD, POST')
    expect(text).toContain('<resource path="studies/{study}/series/{series}/instances/{instance}/frames/{frames}">')
    const json = await http('OPTIONS', `${web()}/`, { Accept: 'application/json' })
    expect(json.json.resources).toContainEqual({ path: '/studies/{study}', methods: ['GET', 'POST'] })
  })
  test('pages of configured origins may ask, others not', async () => {
    const preflight = (origin: string) =>
      http('OPTIONS', `${web()}/studies`, {
        Origin: origin,
        'Access-Control-Request-Method': 'GET',
        'Access-Control-Request-Headers': 'authorization',
      })
    const allowed = await preflight('https://viewer.example.org')
    expect(allowed.status).toBe(204)
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': 'https://viewer.example.org',
      'access-control-allow-headers': 'authorization',
    })
    expect((await preflight('https://other.example.org')).headers).not.toHaveProperty('access-control-allow-origin')
    const answer = await http('GET', `${web()}/studies`, { Origin: 'https://viewer.example.org' })
    expect(answer.headers['access-control-expose-headers']).toContain('Warning')
  })
})

test('fuzzy matching finds names by the beginnings of their words, whatever their order, case and accents', async () => {
  const named = async (name: string) => {
    const uids = freshUids()
    await store(
      instance({
        ...uids,
        elements: {
          '00080005': element('00080005', 'CS', 'ISO_IR 192'),
          '00100010': element('00100010', 'PN', Buffer.from(name.length % 2 ? `${name} ` : name)),
        },
      }),
    )
    return uids.study
  }
  const [muller, smith] = [await named('Müller^Jörg Ärmin'), await named('Smith-Jones^Mary')]
  const search = async (name: string, fuzzy = true) => {
    const query = new URLSearchParams({ PatientName: name, fuzzymatching: String(fuzzy) })
    const { json } = await http('GET', `${web()}/studies?${query}`)
    return (json as DicomJson[]).map(found => textOf(found, '0020000D'))
  }
  expect(await search('muller')).toEqual([muller])
  expect(await search('jorg^MÜL')).toEqual([muller])
  expect(await search('jones mar')).toEqual([smith])
  expect(await search('ones')).toEqual([])
  expect(await search('.*')).toEqual([])
  expect(await search('muller', false)).toEqual([])
})
