import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { StudyDetail } from '../../src/admin/queries.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readFindings } from '../../src/results/readFindings.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let fake: FakeProvider
let service: TestService

beforeAll(async () => {
  fake = await startFakeProvider()
  process.env.FAKE_KEY = 'secret-of-the-provider'
  service = await startTestService({
    endpoints: `
providers:
  - name: remote
    kind: imaging-rest
    baseUrl: ${fake.url}/
    apiKey: env:FAKE_KEY
    model: lung-1
    timeoutSeconds: 2
    deadlineSeconds: 30
    maxRetries: 12
    chunk: 10
    labels: { nodule: { scheme: SCT, value: '27925004', meaning: Nodule } }
  - name: hasty
    kind: imaging-rest
    baseUrl: ${fake.url}
    timeoutSeconds: 2
    deadlineSeconds: 30
    maxRetries: 3
    labels: { nodule: { scheme: SCT, value: '27925004', meaning: Nodule } }
  - { name: objects, kind: imaging-rest, baseUrl: '${fake.url}', format: dicom, maxRetries: 1 }
routes:
  - { name: objects, match: { bodyPart: [OBJECTS] }, analysis: { primary: objects } }
  - name: hasty
    match: { bodyPart: [HASTY] }
    analysis: { primary: hasty }
  - name: all
    analysis: { primary: remote }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  fake?.stop()
})
beforeEach(async () => {
  await fake.behave({})
  await fake.log()
})

/** Of a study that goes to a provider that is asked again only a few times. */
const hasty = { '00180015': element('00180015', 'CS', 'HASTY') }
const patient = { name: 'Geheim^Hannelore', id: 'PID-4711-X', accession: 'ACC-0815-Y', birth: '19570321' }

/** A CT of so many slices, with identifying values in many places. */
function study(slices: number, over: Record<string, Buffer> = {}) {
  const uids = freshUids()
  const files = Array.from({ length: slices }, (_, i) =>
    instance({
      ...uids,
      instance: `${uids.instance.slice(0, 58)}.${i + 1}`,
      elements: {
        '00080050': element('00080050', 'SH', patient.accession),
        '00080080': element('00080080', 'LO', 'Klinikum Geheimstadt'),
        '00081030': element('00081030', 'LO', 'CT of Geheim Hannelore'),
        '00100010': element('00100010', 'PN', patient.name),
        '00100020': element('00100020', 'LO', patient.id),
        '00100030': element('00100030', 'DA', patient.birth),
        '00180050': element('00180050', 'DS', '2.5'),
        '00200032': element('00200032', 'DS', `0\\0\\${i * 2.5}`),
        '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
        '00280030': element('00280030', 'DS', '0.7\\0.7'),
        ...over,
      },
    }),
  )
  return { ...uids, files }
}

async function analysed(slices: number, over?: Record<string, Buffer>): Promise<StudyDetail & { uid: string }> {
  const { study: uid, files } = study(slices, over)
  const answer = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(files),
  )
  expect(answer.status).toBe(200)
  return { ...(await followStudy(service.url, uid, 60)), uid }
}

async function reportOf(uid: string) {
  const found = await http('GET', `${service.url}/dicom-web/studies/${uid}/instances?Modality=SR`)
  const { '0020000E': series, '00080018': object } = found.json[0]
  const address = `${service.url}/dicom-web/studies/${uid}/series/${series.Value[0]}/instances/${object.Value[0]}/metadata`
  const [dataset] = (await http('GET', address)).json
  return { dataset, findings: readFindings(dataset)! }
}

test('what the provider finds comes back as a report that names its model', async () => {
  await fake.behave({
    findings: {
      3: [
        {
          label: 'nodule',
          lesion: 'a',
          confidence: 0.8,
          box: [2, 3, 7, 8],
          measurements: [{ name: 'diameter', value: 4.5, unit: 'mm' }],
        },
      ],
      4: [
        {
          label: 'nodule',
          lesion: 'a',
          confidence: 0.9,
          outline: [
            [2, 3],
            [7, 3],
            [7, 8],
          ],
        },
      ],
      9: [
        {
          label: 'calcified granuloma',
          box: [0, 0, 16, 16],
          measurements: [{ name: 'agatston', value: 12, unit: '1' }],
        },
      ],
    },
  })
  const { uid, state } = await analysed(20)
  expect(state).toBe('completed')
  const { findings, dataset } = await reportOf(uid)
  expect(findings.algorithm).toEqual({ name: 'Fake Detector', version: '1.0.0', manufacturer: 'Fake Inc' })
  expect(textOf(dataset, '0040A493')).toBe('UNVERIFIED')
  expect(
    findings.items.map(({ trackingIdentifier, type, regions, probability }) => [
      trackingIdentifier,
      type.meaning,
      regions.length,
      probability,
    ]),
  ).toEqual([
    ['Nodule 1', 'Nodule', 2, 0.9],
    ['calcified granuloma 1', 'calcified granuloma', 1, undefined],
  ])
  expect(findings.items[0]!.measurements).toEqual([{ quantity: c.diameter, value: 4.5, unit: c.millimeter }])
  expect(findings.lookedFor).toEqual([c.nodule])
  const requests = await fake.log()
  expect(requests.flatMap(request => request.images!).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 20 }, (_, i) => i),
  )
  expect(requests[0]!.authorization).toBe('Bearer secret-of-the-provider')
})

test('no identifying value of the study is in any byte that is sent', async () => {
  await fake.behave({ keepBodies: true })
  const { uid } = await analysed(3)
  const { rows } = {
    rows: await service.query<{ uid: string }>(
      'select sop_instance_uid uid from instance where study_instance_uid = $1 union select series_instance_uid from series where study_instance_uid = $1',
      [uid],
    ),
  }
  const identifying = [
    uid,
    ...rows.map(row => row.uid),
    patient.id,
    patient.accession,
    patient.birth,
    'Geheim',
    'Hannelore',
    '20260101',
  ]
  const bodies = (await fake.log()).map(request => Buffer.from(request.body!, 'base64'))
  expect(bodies.length).toBeGreaterThan(0)
  for (const body of bodies)
    for (const value of identifying)
      for (const encoded of [
        Buffer.from(value, 'latin1'),
        Buffer.from(value, 'utf16le'),
        Buffer.from(Buffer.from(value).toString('base64').replace(/=+$/, '')),
      ])
        expect([value, body.includes(encoded)]).toEqual([value, false])
})

describe('a provider that misbehaves', () => {
  test('30 % silently dropped, 10 % errors, 10 % of the requests failing: every image has its result', async () => {
    await fake.behave({ drop: 0.3, failImages: 0.1, failRequests: 0.1 })
    const { uid, analyses } = await analysed(60)
    expect(analyses[0]).toMatchObject({ status: 'no-findings' })
    expect((await reportOf(uid)).findings.status).toBe('no-findings')
  })

  test('a rate limit is kept to, as the provider asks', async () => {
    await fake.behave({ limit: 2 })
    expect((await analysed(60)).analyses[0]).toMatchObject({ status: 'no-findings' })
    const limited = (await fake.log()).filter(request => request.limited).length
    expect(limited).toBeLessThan(20)
  })

  test('images that never get a result make the study incomplete, named with the reason, and nothing absent', async () => {
    await fake.behave({ outside: true })
    const { uid, analyses } = await analysed(4, hasty)
    expect(analyses[0]).toMatchObject({ status: 'incomplete' })
    // What was refused can be looked at.
    expect(analyses[0]!.rejected![0]).toMatchObject({
      reason: 'nodule lies outside of the 16 columns and 16 rows of its image',
      content: { findings: [{ box: [0, 0, 21, 3] }] },
    })
    const { findings } = await reportOf(uid)
    expect(findings.reason).toMatch(
      /4 of 4 images have no result: nodule lies outside of the 16 columns and 16 rows of its image \(1, 2, 3, 4\)/,
    )
    expect(JSON.stringify(findings)).not.toContain('Absent')
  })

  test.each([
    ['results about other images', { foreign: true }, 'incomplete', /left it out of its answer/],
    ['an answer that is no JSON', { json: '<html>' }, 'failed', /no JSON/],
    ['an answer without a model', { json: '{"results":[]}' }, 'failed', /not what was agreed: model/],
    ['a status that says no', { status: 401 }, 'failed', /refused the request with status 401/],
  ])(
    '%s',
    async (_, behaviour, status, reason) => {
      await fake.behave(behaviour)
      const { analyses, state, reason: why, uid } = await analysed(2, hasty)
      expect(analyses[0]).toMatchObject({ status })
      if (status === 'failed') expect([state, why]).toEqual(['failed', expect.stringMatching(reason)])
      else expect((await reportOf(uid)).findings.reason).toMatch(reason)
    },
    180_000,
  )

  test('connections that are cut, and requests that are too large', async () => {
    await fake.behave({ reset: 0.3, maxImages: 3 })
    expect((await analysed(12)).analyses[0]).toMatchObject({ status: 'no-findings' })
  })
})

test('images whose pixels may name the patient are not sent', async () => {
  const { analyses, uid } = await analysed(2, { '00280301': element('00280301', 'CS', 'YES') })
  expect(analyses[0]).toMatchObject({ status: 'not-applicable' })
  expect(await fake.log()).toEqual([])
  const { json } = await http('GET', `${service.url}/api/studies/${uid}`)
  expect(json.reason).toMatch(/not sent, since the pixels may name the patient: Burned In Annotation is YES/)
})

test('an image that cannot be decoded fails the study with the reason, and is not taken for a provider that is away', async () => {
  const { study: uid, files } = study(2)
  const elements = { '00100020': element('00100020', 'LO', patient.id) }
  const cut = instance({ ...freshUids(), study: uid, pixels: Buffer.alloc(10), elements })
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([...files, cut]))
  const detail = await followStudy(service.url, uid, 60)
  expect([detail.state, detail.reason]).toEqual(['failed', expect.stringMatching(/Pixel Data holds 10 bytes/)])
  expect((await fake.log()).length).toBeLessThanOrEqual(1)
})

test('images go out as DICOM objects, de-identified, where that is configured', async () => {
  await fake.behave({ keepBodies: true, findings: { 2: [{ label: 'nodule', box: [2, 3, 7, 8] }] } })
  const { uid, state } = await analysed(4, { '00180015': element('00180015', 'CS', 'OBJECTS') })
  expect(state).toBe('completed')
  expect((await reportOf(uid)).findings.items).toHaveLength(1)
  const { body = '' } = (await fake.log())[0]!
  const bytes = Buffer.from(body, 'base64')
  expect(bytes.includes(Buffer.from('application/dicom'))).toBe(true)
  expect(bytes.includes(Buffer.from('DICM'))).toBe(true)
  for (const secret of [...Object.values(patient), 'Geheimstadt', uid])
    expect([secret, bytes.includes(Buffer.from(secret, 'latin1'))]).toEqual([secret, false])
})

test('an analysis ends when a late image has opened the next revision: nobody waits for it', async () => {
  await fake.behave({ latency: 1900 })
  const { files, study: uid } = study(60)
  const type = { 'Content-Type': multipartType }
  const push = (part: readonly Buffer[]) => http('POST', `${service.url}/dicom-web/studies`, type, multipart(part))
  await push(files.slice(0, 59))
  await until('it is being analysed', async () => (await fake.log()).length > 0 || undefined)
  await fake.behave({})
  await push(files.slice(59))
  const ended = await until('the second revision', async () => {
    const { json } = await http('GET', `${service.url}/api/studies/${uid}`)
    return json.revision === 2 && json.state === 'completed' ? (json as StudyDetail) : undefined
  })
  expect(ended.revisions.map(revision => revision.state)).toEqual(['superseded', 'completed'])
  expect(ended.analyses.find(analysis => analysis.revision === 1)!.finishedAt).toBeNull()
})
