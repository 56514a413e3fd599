import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Findings } from '../../src/analysis/findings.js'
import { withHeaders } from '../../src/archive/index.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

/** The AI product is another Radbridge: it takes studies by STOW-RS, has a fake provider find things, and sends SR and SEG back. */
let fake: FakeProvider
let box: TestService
let service: TestService
const tokens = { PACS_TOKEN: 'token-of-the-pacs', BOX_TOKEN: 'token-of-the-box' }
const authorized = { Authorization: `Bearer ${tokens.PACS_TOKEN}`, 'Content-Type': multipartType }

beforeAll(async () => {
  Object.assign(process.env, tokens)
  fake = await startFakeProvider()
  // Each needs the other's address: the box comes first, and sends to a port that is free now.
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  const [boxDimse, ownDimse] = [await freePort(), await freePort()]
  box = await startTestService({
    environment: { RADBRIDGE_QUIET_SECONDS: '0.3', RADBRIDGE_DIMSE_PORT: String(boxDimse), RADBRIDGE_AE_TITLE: 'BOX' },
    endpoints: `
providers: [{ name: finder, kind: imaging-rest, baseUrl: '${fake.url}', maxRetries: 1 }]
destinations:
  - { name: back, stow: { url: 'http://127.0.0.1:${port}/dicom-web', token: env:BOX_TOKEN } }
  - { name: back-by-dimse, dimse: { aeTitle: RADBRIDGE, host: 127.0.0.1, port: ${ownDimse}, callingAeTitle: BOXAI } }
routes:
  - name: silent
    match: { bodyPart: [SILENT] }
    analysis: { primary: finder }
  - name: dimse
    match: { bodyPart: [DIMSE] }
    analysis: { primary: finder }
    results: [sr, seg]
    deliverTo: [back-by-dimse]
  - name: all
    analysis: { primary: finder }
    results: [sr, seg]
    deliverTo: [back]
`,
  })
  const provider = (name: string, more: string) =>
    `  - { name: ${name}, kind: dicom, stow: { url: '${box.url}/dicom-web' }, answersFrom: box, quietSeconds: 0.5, ${more} }`
  service = await startTestService({
    environment: { RADBRIDGE_HTTP_PORT: String(port), RADBRIDGE_DIMSE_PORT: String(ownDimse) },
    endpoints: `
sources:
  - { name: pacs, stow: { token: env:PACS_TOKEN } }
  - { name: box, stow: { token: env:BOX_TOKEN } }
  - { name: box-dimse, dimse: { aeTitle: BOXAI } }
providers:
${provider('product', 'deidentify: basic, deadlineSeconds: 30')}
${provider('hasty', 'deadlineSeconds: 4')}
  - { name: by-dimse, kind: dicom, dimse: { aeTitle: BOX, host: 127.0.0.1, port: ${boxDimse} }, answersFrom: box-dimse, quietSeconds: 0.5, deadlineSeconds: 30 }
routes:
  - name: silent
    match: { bodyPart: [SILENT] }
    analysis: { primary: hasty }
  - name: dimse
    match: { bodyPart: [DIMSE] }
    analysis: { primary: by-dimse }
    results: [sr, seg]
  - name: all
    analysis: { primary: product }
    results: [sr, seg]
`,
  })
}, 180_000)
afterAll(async () => {
  await service?.stop()
  await box?.stop()
  fake?.stop()
})

async function push(bodyPart = 'CHEST', burnedIn = 'NO') {
  const uids = freshUids()
  const files = [0, 1, 2].map(i =>
    instance({
      ...uids,
      instance: `${uids.instance.slice(0, 60)}.${i + 1}`,
      elements: {
        '00100010': element('00100010', 'PN', 'Geheim^Hannelore'),
        '00100020': element('00100020', 'LO', 'PID-4711'),
        '00180015': element('00180015', 'CS', bodyPart),
        '00200032': element('00200032', 'DS', `0\\0\\${i * 5}`),
        '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
        '00200052': element('00200052', 'UI', '1.2.3.4'),
        '00280030': element('00280030', 'DS', '1\\1'),
        '00280301': element('00280301', 'CS', burnedIn),
      },
    }),
  )
  const { status } = await http('POST', `${service.url}/dicom-web/studies`, authorized, multipart(files))
  expect(status).toBe(200)
  return { ...uids, images: [1, 2, 3].map(n => `${uids.instance.slice(0, 60)}.${n}`) }
}

test('a study goes out without the patient, and what comes back is reported on our own images', async () => {
  await fake.behave({
    findings: {
      1: [{ label: 'nodule', confidence: 0.8, box: [2, 3, 8, 9], mask: [{ row: 4, column: 3, length: 5 }] }],
    },
  })
  const { study: uid, images } = await push()
  const study = await followStudy(service.url, uid, 40)
  expect([study.state, study.reason]).toEqual(['completed', 'results are in the archive'])
  const [analysis] = await service.query<{ findings: Findings }>(
    'select findings from analysis where study_instance_uid = $1',
    [uid],
  )
  const [item] = analysis!.findings.items
  expect(analysis!.findings.algorithm.name).toBe('Fake Detector')
  expect(item).toMatchObject({ type: { value: '27925004' } })
  expect(images).toContain(item!.regions[0]!.sopInstanceUid)
  expect(item!.mask!.slices[0]).toMatchObject({
    sopInstanceUid: item!.regions[0]!.sopInstanceUid,
    runs: [{ row: 4, column: 3, length: 5 }],
  })
  expect(study.results).toHaveLength(2)
  expect(study.instances).toBe(3) // answers are no part of the study, and open no revision
  expect(study.revision).toBe(1)

  // What the product has seen of it.
  const seen = await box.query<{ study: string; patient: string; header: Buffer }>(
    `select s.study_instance_uid study, s.patient_id patient, i.header from study s join instance i using (study_instance_uid) where i.origin = 'received'`,
  )
  expect(seen).toHaveLength(3)
  const text = JSON.stringify(await withHeaders(seen))
  expect(text).toContain('"00080018"')
  for (const secret of ['Geheim', 'PID-4711', uid, ...images])
    expect([secret, text.includes(secret)]).toEqual([secret, false])
}, 180_000)

test('the same by C-STORE, both ways', async () => {
  const { study: uid, images } = await push('DIMSE')
  const study = await followStudy(service.url, uid, 40)
  expect([study.state, study.reason]).toEqual(['completed', 'results are in the archive'])
  const [analysis] = await service.query<{ findings: Findings }>(
    'select findings from analysis where study_instance_uid = $1',
    [uid],
  )
  expect(images).toContain(analysis!.findings.items[0]!.regions[0]!.sopInstanceUid)
  const [row] = await service.query<{ n: number }>(`select count(*)::int n from answer where source = 'box-dimse'`)
  expect(row!.n).toBe(2)
}, 180_000)

test('a product that does not answer fails the study when its time is over; one whose pixels may name the patient is not sent', async () => {
  const burned = await followStudy(service.url, (await push('CHEST', 'YES')).study, 40)
  expect(burned.state).toBe('completed')
  expect(burned.reason).toContain('not sent, since the pixels of images may name the patient')
  const silent = await followStudy(service.url, (await push('SILENT')).study, 60)
  expect([silent.state, silent.reason]).toEqual(['failed', 'there was no complete answer within 4 s'])
}, 180_000)
