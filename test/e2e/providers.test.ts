import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { ProviderReport } from '../../src/admin/providerReport.js'
import { type DicomJson, itemsOf, textOf } from '../../src/dicom/dicomJson.js'
import { sopClass } from '../../src/dicom/sopClasses.js'
import { writePart10 } from '../../src/dicom/writePart10.js'
import type { ShadowReport } from '../../src/pipeline/shadowReport.js'
import { readFindings } from '../../src/results/readFindings.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let delivering: FakeProvider
let shadowing: FakeProvider
let service: TestService
const latency = 1500

const nodule = (left: number, diameter: number) => ({
  label: 'nodule',
  box: [left, 4, left + 4, 8],
  measurements: [{ name: 'diameter', value: diameter, unit: 'mm' }],
})

beforeAll(async () => {
  delivering = await startFakeProvider()
  shadowing = await startFakeProvider()
  await delivering.behave({ findings: { 0: [nodule(1, 4)], 1: [nodule(10, 6)] } })
  await shadowing.behave({ latency, findings: { 0: [nodule(1, 5)] } })
  service = await startTestService({
    endpoints: `
providers:
  - { name: delivering, kind: imaging-rest, baseUrl: '${delivering.url}', maxRetries: 1, price: { perMillionUnits: 500000, currency: EUR } }
  - { name: shadowing, kind: imaging-rest, baseUrl: '${shadowing.url}', maxRetries: 1 }
  - { name: gone, kind: imaging-rest, baseUrl: 'http://127.0.0.1:1', maxRetries: 0, timeoutSeconds: 1, deadlineSeconds: 2 }
routes:
  - name: fallback
    match: { bodyPart: [FALLBACK] }
    analysis: { primary: gone, fallback: [shadowing, delivering] }
  - name: chest
    analysis: { primary: delivering, shadow: [shadowing] }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  delivering?.stop()
  shadowing?.stop()
})

const report = async () => ((await http('GET', `${service.url}/api/shadows`)).json as ShadowReport[])[0]!

async function push(elements: Record<string, Buffer> = {}) {
  const uids = freshUids()
  const files = [0, 1].map(i =>
    instance({
      ...uids,
      instance: `${uids.instance.slice(0, 60)}.${i + 1}`,
      elements: {
        '00200032': element('00200032', 'DS', `0\\0\\${i * 30}`),
        '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
        '00200052': element('00200052', 'UI', '1.2.3.4'),
        '00280030': element('00280030', 'DS', '1\\1'),
        ...elements,
      },
    }),
  )
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))
  return followStudy(service.url, uids.study, 60)
}

test('what is delivered does not wait for the shadow, and holds nothing of it; the two are compared', async () => {
  const study = await push()
  expect(study.state).toBe('completed')
  expect(study.analyses.map(({ arm, provider }) => [arm, provider])).toEqual([
    ['primary', 'delivering'],
    ['shadow:shadowing', 'shadowing'],
  ])
  expect(study.analyses[1]!.finishedAt).toBeNull() // the shadow is still at it
  const compared = await until('the comparison', async () => {
    const now = await report()
    return now.studies === 1 ? now : undefined
  })
  expect(compared).toMatchObject({
    route: 'chest',
    provider: 'shadowing',
    failed: 0,
    both: 1,
    onlyDelivered: 1,
    onlyShadow: 0,
    agreement: 0.5,
    differences: [{ quantity: 'Diameter', pairs: 1, meanRelative: 0.25 }],
  })
  expect(compared.secondsP50).toBeGreaterThanOrEqual(latency / 1000)
})

test('a shadow that fails costs the study nothing', async () => {
  await shadowing.behave({ status: 401 })
  expect((await push()).state).toBe('completed')
  await until('the failure', async () => ((await report()).failed === 1 ? true : undefined))
})

test('verdicts, latency and cost are told by provider and role', async () => {
  const study = await push()
  const found = await http('GET', `${service.url}/dicom-web/studies/${study.studyInstanceUid}/instances?Modality=SR`)
  const { '0020000E': series, '00080018': object } = found.json[0]
  const address = `${service.url}/dicom-web/studies/${study.studyInstanceUid}/series/${series.Value[0]}/instances/${object.Value[0]}/metadata`
  const { items } = readFindings((await http('GET', address)).json[0])!
  const judge = (body: object, uid = study.studyInstanceUid) =>
    http(
      'POST',
      `${service.url}/api/studies/${uid}/verdicts`,
      { 'Content-Type': 'application/json' },
      JSON.stringify(body),
    )
  expect((await judge({ trackingUid: items[0]!.trackingUid, verdict: 'false-positive' })).status).toBe(201)
  expect((await judge({ trackingUid: items[0]!.trackingUid, verdict: 'true-positive' })).status).toBe(201) // on second thought
  expect((await judge({ trackingUid: items[1]!.trackingUid, verdict: 'false-positive' })).status).toBe(201)
  expect((await judge({ verdict: 'missed' })).status).toBe(201)
  expect((await judge({ trackingUid: '1.2.3', verdict: 'true-positive' })).status).toBe(404)
  expect((await judge({ verdict: 'perhaps' })).status).toBe(400)

  const reports = (await http('GET', `${service.url}/api/providers/report`)).json as ProviderReport[]
  const [delivered, shadow] = ['delivering', 'shadowing'].map(
    name => reports.find(({ provider }) => provider === name)!,
  )
  expect(delivered).toMatchObject({
    arm: 'primary',
    analyses: 3,
    failed: 0,
    requests: 3,
    units: 6,
    cost: { amount: 3, currency: 'EUR' },
  })
  expect(delivered!.falsePositives).toMatchObject({ value: 0.5, of: 2 })
  expect(delivered!.sensitivity).toMatchObject({ value: 0.5, of: 2 })
  expect(delivered!.falsePositives!.low).toBeLessThan(0.1)
  expect(delivered!.p99).toBeGreaterThanOrEqual(delivered!.p50!)
  expect(shadow).toMatchObject({ arm: 'shadow' })
  const markdown = await http('GET', `${service.url}/api/providers/report?days=7&format=markdown`)
  expect(markdown.text).toMatch(/\| delivering \| primary \| 3 \| 0\.0 % \|.*3\.00 EUR.*50 % of 2/)
  expect((await http('GET', `${service.url}/api/providers/report?days=x`)).status).toBe(400)
})

test('a provider that is away or refuses is replaced by the next of the route', async () => {
  await shadowing.behave({ status: 401 })
  const study = await push({ '00180015': element('00180015', 'CS', 'FALLBACK') })
  expect(study).toMatchObject({ state: 'completed', analyses: [{ provider: 'delivering', status: 'findings' }] })
  const failed = study.timeline.filter(event => event.kind === 'provider failed').map(({ detail }) => detail)
  expect(failed).toEqual([
    expect.objectContaining({ provider: 'gone', nowAnalysedBy: 'shadowing' }),
    expect.objectContaining({ provider: 'shadowing', nowAnalysedBy: 'delivering' }),
  ])
})

test('an analysis that takes long is not taken for one of a dead node', async () => {
  await delivering.behave({ latency: 4000 })
  await delivering.log()
  const pushed = push()
  const locked = await until('it runs', async () => {
    // As if it had been running for a minute.
    const rows = await service.query(
      `update graphile_worker._private_jobs set locked_at = now() - interval '1 minute' where locked_by is not null returning id`,
    )
    return rows.length > 0 ? rows.length : undefined
  })
  expect(locked).toBeGreaterThan(0)
  expect((await pushed).state).toBe('completed')
  expect(await delivering.log()).toHaveLength(1)
  await delivering.behave({})
}, 180_000)

test('uptime is what was seen, not what a health check says; budgets and months are told', async () => {
  // A minute may end in between: then it is looked at once more.
  const watch = async (up: boolean) => {
    await service.query(`select graphile_worker.add_job('watchProviders', '{}')`)
    await until('it was looked at', async () => {
      const rows = await service.query(`select 1 from provider_health where provider = 'delivering' and up = $1`, [up])
      return rows.length > 0 || undefined
    })
  }
  await watch(true)
  await service.query(`update provider_gate set open_until = now() + interval '1 minute' where provider = 'delivering'`)
  await watch(false) // its health check still says that all is well
  await service.query(`update provider_gate set open_until = null where provider = 'delivering'`)
  const month = new Date().toISOString().slice(0, 7)
  const reports = (await http('GET', `${service.url}/api/providers/report?month=${month}`)).json as ProviderReport[]
  const { uptime } = reports.find(entry => entry.provider === 'delivering')!
  expect(uptime).toBeGreaterThan(0)
  expect(uptime).toBeLessThan(1)
  expect((await http('GET', `${service.url}/api/providers/report?month=2026-13`)).status).toBe(400)
  const changed = `${service.url}/api/providers/report?days=2&changedAt=${new Date().toISOString().slice(0, 10)}`
  const { before, after } = (await http('GET', changed)).json
  expect([before.length, after.length > 0]).toEqual([0, true])
  const budgets = (await http('GET', `${service.url}/api/providers/budgets`)).json
  expect(budgets).toMatchObject([{ provider: 'delivering', currency: 'EUR', perDay: null }])
  expect(budgets[0].month).toBeGreaterThan(0)
  expect((await http('GET', `${service.url}/api/quality`)).status).toBe(200)
  expect((await http('GET', `${service.url}/api/quality/alarms`)).json).toEqual([])
})

test('a report that a radiologist has corrected and verified is read as verdicts, and nothing is analysed again', async () => {
  await delivering.behave({ findings: { 0: [nodule(1, 4)], 1: [nodule(10, 6)] } })
  const study = await push()
  await delivering.log()
  const uid = study.studyInstanceUid
  const report = study.results.find(result => result.sopClassUid === sopClass.comprehensive3dSr)!
  const address = `${service.url}/dicom-web/studies/${uid}/series/${report.seriesInstanceUid}/instances/${report.sopInstanceUid}/metadata`
  const [json] = (await http('GET', address)).json as DicomJson[]
  const { items } = readFindings(json!)!
  // The radiologist takes one lesion out, and signs.
  const without = (dataset: DicomJson): DicomJson => ({
    ...dataset,
    ...(dataset['0040A730']
      ? {
          '0040A730': {
            vr: 'SQ',
            Value: itemsOf(dataset, '0040A730')
              .filter(
                item => !itemsOf(item, '0040A730').some(child => textOf(child, '0040A124') === items[1]!.trackingUid),
              )
              .map(without),
          },
        }
      : {}),
  })
  const corrected: DicomJson = {
    ...without(json!),
    '00080018': { vr: 'UI', Value: [`${uid}.77`.slice(-60).replace(/^\D*/, '1.')] },
    '0040A493': { vr: 'CS', Value: ['VERIFIED'] },
  }
  const sent = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart([writePart10(corrected)]),
  )
  expect(sent.status).toBe(200)
  const after = await until('the second revision', async () => {
    const { json: now } = await http('GET', `${service.url}/api/studies/${uid}`)
    return now.revision === 2 && now.state === 'completed' ? (now as typeof study) : undefined
  })
  expect(after.reason).toBe('no image is new')
  expect(await delivering.log()).toEqual([])
  const rows = await service.query<{ uid: string; verdict: string }>(
    'select tracking_uid uid, verdict from verdict where study_instance_uid = $1',
    [uid],
  )
  expect(Object.fromEntries(rows.map(row => [row.uid, row.verdict]))).toEqual({
    [items[0]!.trackingUid]: 'true-positive',
    [items[1]!.trackingUid]: 'false-positive',
  })
})
