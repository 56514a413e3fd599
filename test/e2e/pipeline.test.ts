import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Phantom, type PhantomOptions } from '../../src/cli/phantom.js'
import { itemsOf, textOf } from '../../src/dicom/dicomJson.js'
import { sopClass } from '../../src/dicom/sopClasses.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { reportTree } from '../../src/results/reportTree.js'
import { encapsulated } from '../fixtures/images.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let pacs: TestService
let broken: Server
let brokenAnswers: () => { status: number; headers?: Record<string, string> }
let service: TestService
const folder = mkdtempSync(join(tmpdir(), 'radbridge-delivered-'))

beforeAll(async () => {
  brokenAnswers = () => ({ status: 503, headers: { 'Retry-After': '1' } })
  broken = createServer((req, res) => {
    req.resume()
    const { status, headers } = brokenAnswers()
    req.on('end', () => res.writeHead(status, headers ?? {}).end())
  })
  await new Promise<void>(resolve => broken.listen(0, '127.0.0.1', resolve))
  pacs = await startTestService({ endpoints: 'routes: []\n' })
  service = await startTestService({
    endpoints: `
destinations:
  - name: pacs
    stow: { url: '${pacs.url}/dicom-web', confirm: true }
  - name: broken
    stow: { url: 'http://127.0.0.1:${(broken.address() as AddressInfo).port}/dicom-web' }
  - name: folder
    folder: ${folder}
routes:
  - name: both
    match: { bodyPart: [BROKENTEST] }
    analysis: { primary: reference }
    deliverTo: [broken, pacs]
  - name: images
    match: { modality: [CT, CR, DX, US] }
    analysis: { primary: reference }
    results: [sr, seg, sc]
    deliverTo: [pacs, folder]
`,
  })
})
afterAll(async () => {
  await service?.stop()
  await pacs?.stop()
  broken?.close()
})

const small: PhantomOptions = {
  size: 128,
  slices: 60,
  pixelSpacing: 2.6,
  sliceSpacing: 4,
  nodules: [{ center: [-85, 10, 40], diameter: 20 }],
  vessels: false,
  noise: 10,
  seed: 3,
  study: 'pipeline',
}
const push = (parts: readonly Buffer[]) =>
  http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(parts))
const fetchSr = async (url: string, uid: string) => {
  const found = await http('GET', `${url}/dicom-web/studies/${uid}/series?Modality=SR`)
  const series = found.json[0]['0020000E'].Value[0]
  const metadata = await http('GET', `${url}/dicom-web/studies/${uid}/series/${series}/metadata`)
  return metadata.json as Record<string, never>[]
}

describe('a chest CT pushed by STOW-RS', () => {
  const phantom = new Phantom(small)
  const study = textUid(phantom)

  test('comes back as one Structured Report at every destination', async () => {
    const answer = await push(await phantomFiles(small))
    expect(answer.status).toBe(200)
    const detail = await followStudy(service.url, study)
    expect(detail).toMatchObject({ state: 'completed', revision: 1, instances: 60 })
    expect(detail.evidence).toEqual([expect.objectContaining({ kind: 'presumed' })])
    expect(detail.timeline.map(event => event.kind)).toEqual([
      'settled',
      'analyzing',
      'reporting',
      'delivering',
      ...Array(detail.results.length * 2).fill('delivered'), // each to two destinations
      'completed',
    ])
    expect(detail.deliveries.map(d => d.state)).toEqual(Array(detail.results.length * 2).fill('delivered'))

    const [report] = await fetchSr(pacs.url, study)
    const tree = reportTree(report!).join('\n')
    expect(tree).toMatch(/Finding: Nodule/)
    expect(tree).toMatch(/CAD Processing and Findings Summary: All algorithms succeeded; with findings/)
    expect(textOf(report!, '0040A493')).toBe('UNVERIFIED')
    expect(textOf(report!, '0040A496')).toBe('PRELIMINARY')
    expect(tree).toMatch(/not for diagnosis/)
    const written = readdirSync(join(folder, study))
    expect(written).toHaveLength(detail.results.length)
    const pictures = detail.results.filter(result => result.sopClassUid === sopClass.secondaryCapture)
    expect(pictures.length).toBeGreaterThan(0)
    for (const { sopInstanceUid } of pictures) {
      const source = await openFrames(join(folder, study, `${sopInstanceUid}.dcm`))
      const { photometric, samples } = await decodeFrame(source, 0)
      await source.close()
      expect(photometric).toBe('RGB')
      expect(samples.some(value => value > 0)).toBe(true)
    }
    expect(
      readFileSync(join(folder, study, written[0]!))
        .subarray(128, 132)
        .toString(),
    ).toBe('DICM')
  })

  test('a late instance opens a revision whose report supersedes the first', async () => {
    const late = new Phantom({ ...small, slices: 61 })
    const bytes = late.file(60)
    expect((await push([bytes])).status).toBe(200)
    await until('revision 2', async () => {
      const { json } = await http('GET', `${service.url}/api/studies/${study}`)
      return json.revision === 2 && json.state === 'completed' ? true : undefined
    })
    const reports = await fetchSr(pacs.url, study)
    expect(reports).toHaveLength(2)
    const second = reports.find(r => textOf(r, '00200013') === '2')!
    const first = reports.find(r => textOf(r, '00200013') === '1')!
    const predecessor = itemsOf(itemsOf(itemsOf(second, '0040A360')[0]!, '00081115')[0]!, '00081199')[0]!
    expect(textOf(predecessor, '00081155')).toBe(textOf(first, '00080018'))
    expect(textOf(second, '0020000E')).toBe(textOf(first, '0020000E'))
  })

  test('the same study again starts nothing', async () => {
    expect((await push(await phantomFiles(small))).status).toBe(200)
    await sleep(1500)
    const { json } = await http('GET', `${service.url}/api/studies/${study}`)
    expect(json).toMatchObject({ revision: 2, state: 'completed' })
  })
})

test('a radiograph gets image-quality measurements, MONOCHROME1 judged as it is displayed', async () => {
  const uids = freshUids()
  const pixels = Buffer.alloc(64 * 64 * 2)
  for (let y = 0; y < 64; y++) {
    for (let x = 0; x < 64; x++)
      pixels.writeUInt16LE(Math.abs(x - 32) < 20 && Math.abs(y - 32) < 20 ? 500 : 3500, (y * 64 + x) * 2)
  }
  // Stored as MONOCHROME1: the dark frame has the high values; displayed right it does not look inverted.
  const bytes = instance({
    ...uids,
    rows: 64,
    columns: 64,
    pixels,
    elements: {
      '00080016': element('00080016', 'UI', '1.2.840.10008.5.1.4.1.1.1.1'),
      '00080060': element('00080060', 'CS', 'DX'),
      '00280004': element('00280004', 'CS', 'MONOCHROME1'),
    },
  })
  const answer = await push([withDxMeta(bytes)])
  expect(answer.status).toBe(200)
  const detail = await followStudy(service.url, uids.study)
  expect(detail.state).toBe('completed')
  const tree = reportTree((await fetchSr(pacs.url, uids.study))[0]!).join('\n')
  expect(tree).toMatch(/Fraction of pixels at the ends of the range: 0 %/)
  expect(tree).toMatch(/Image looks inverted: Absent/)
})

test('what the analyser does not know is completed without a report, and says why', async () => {
  const uids = freshUids()
  await push([instance({ ...uids, elements: { '00180015': element('00180015', 'CS', 'HEAD') } })])
  const detail = await followStudy(service.url, uids.study)
  expect(detail).toMatchObject({ state: 'completed', results: [] })
  expect(detail.reason).toMatch(/not applicable: .*not of the chest/)
})

test('a study that no route matches is ignored, with the rule that decided', async () => {
  const uids = freshUids()
  await push([instance({ ...uids, elements: { '00080060': element('00080060', 'CS', 'MR') } })])
  const detail = await followStudy(service.url, uids.study)
  expect(detail.state).toBe('ignored')
  expect(detail.reason).toMatch(/images: modality is MR, not CT or CR or DX or US/)
})

test('a study of two patients is not analysed', async () => {
  const uids = freshUids()
  await push([
    instance(uids),
    instance({ ...uids, instance: freshUids().instance, elements: { '00100020': element('00100020', 'LO', 'OTHER') } }),
  ])
  const detail = await followStudy(service.url, uids.study)
  expect(detail).toMatchObject({ state: 'failed', reason: 'instances of two patients (Patient ID differs)' })
})

test('undecodable pixels fail the study with the reason, not the store', async () => {
  const phantom = new Phantom({ ...small, study: 'corrupt', slices: 25 })
  const files = await phantomFiles(phantom.options)
  const cut = files.map((bytes, i) => (i === 3 ? shortenPixels(bytes) : bytes))
  expect((await push(cut)).status).toBe(200)
  const detail = await followStudy(service.url, textUid(phantom))
  expect(detail.state).toBe('failed')
  expect(detail.reason).toMatch(/Pixel Data holds \d+ bytes/)
})

test('video beside a chest CT is named in the state of the study, and the CT is analysed', async () => {
  const phantom = new Phantom({ ...small, study: 'with video' })
  const video = instance({
    ...freshUids(),
    study: textUid(phantom),
    transferSyntax: '1.2.840.10008.1.2.4.102',
    elements: {
      '00080060': element('00080060', 'CS', 'XC'),
      '00100010': element('00100010', 'PN', 'Phantom^Thorax'),
      '00100020': element('00100020', 'LO', 'PHANTOM-with video'),
      '7FE00010': encapsulated([Buffer.alloc(64, 1)]),
    },
  })
  expect((await push([...(await phantomFiles(phantom.options)), video])).status).toBe(200)
  const detail = await followStudy(service.url, textUid(phantom))
  expect(detail.state).toBe('completed')
  expect(detail.evidence).toContainEqual(
    expect.objectContaining({
      kind: 'undecodable',
      reason: 'not decoded, and not analysed: 1 in MPEG-4 AVC/H.264 High Profile / Level 4.1',
    }),
  )
  expect(detail.analyses).toEqual([expect.objectContaining({ status: 'findings' })])
})

test('a destination that refuses holds up no other; its dead letter is seen and can be retried', async () => {
  const uids = freshUids()
  const dx = withDxMeta(
    instance({
      ...uids,
      elements: {
        '00080016': element('00080016', 'UI', '1.2.840.10008.5.1.4.1.1.1.1'),
        '00080060': element('00080060', 'CS', 'DX'),
        '00180015': element('00180015', 'CS', 'BROKENTEST'),
      },
    }),
  )
  await push([dx])
  const state = async () => (await http('GET', `${service.url}/api/studies/${uids.study}`)).json
  await until('delivery to the PACS', async () => {
    const deliveries = (await state()).deliveries as { destination: string; state: string; attempts: number }[]
    const good = deliveries?.find(d => d.destination === 'pacs')
    const bad = deliveries?.find(d => d.destination === 'broken')
    return good?.state === 'delivered' && bad?.state === 'pending' && bad.attempts >= 1 ? true : undefined
  })
  brokenAnswers = () => ({ status: 400 })
  const dead = await until('dead letter', async () => {
    const { json } = await http('GET', `${service.url}/api/deliveries?state=dead`)
    return json.length > 0 ? json[0] : undefined
  })
  expect(dead).toMatchObject({ destination: 'broken', lastError: 'the destination answered 400' })
  expect(await state()).toMatchObject({ state: 'failed', reason: 'not delivered to broken' })

  // It says "stored" and keeps nothing: not believed.
  brokenAnswers = () => ({ status: 200 })
  expect((await http('POST', `${service.url}/api/deliveries/${dead.id}/retry`)).status).toBe(202)
  await until('an attempt that is not believed', async () => {
    const { json } = await http('GET', `${service.url}/api/deliveries?state=pending`)
    return json.find(
      (d: { id: number; lastError: string }) => d.id === dead.id && /200 without listing/.test(d.lastError ?? ''),
    )
      ? true
      : undefined
  })
  expect((await http('POST', `${service.url}/api/deliveries/${dead.id}/retry`)).status).toBe(409)
})

function textUid(phantom: Phantom): string {
  const bytes = phantom.file(0)
  const at = bytes.indexOf(Buffer.from('20000d005549', 'hex'))
  return bytes.toString('latin1', at + 8, at + 8 + bytes.readUInt16LE(at + 6)).replace(/\0$/, '')
}

/** Media Storage SOP Class UID has to be that of the data set. */
function withDxMeta(bytes: Buffer): Buffer {
  const ct = element('00020002', 'UI', '1.2.840.10008.5.1.4.1.1.2')
  const dx = element('00020002', 'UI', '1.2.840.10008.5.1.4.1.1.1.1')
  const at = bytes.indexOf(ct)
  return Buffer.concat([bytes.subarray(0, at), dx, bytes.subarray(at + ct.length)])
}

/** A consistent file whose Pixel Data is half as long as Rows × Columns ask for. */
function shortenPixels(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from('e07f10004f57', 'hex'))
  const length = bytes.readUInt32LE(at + 8)
  const shorter = Buffer.from(bytes.subarray(0, at + 12 + length / 2))
  shorter.writeUInt32LE(length / 2, at + 8)
  return shorter
}
