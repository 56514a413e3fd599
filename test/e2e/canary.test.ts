import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { startService } from '../../src/main.js'
import type { CanaryReport } from '../../src/pipeline/canary.js'
import { silentLog } from '../../src/platform/log.js'
import { loadSettings } from '../../src/platform/settings.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let old: FakeProvider
let next: FakeProvider
let service: TestService

beforeAll(async () => {
  old = await startFakeProvider()
  next = await startFakeProvider()
  await next.behave({ version: '2.0.0' })
  service = await startTestService({
    endpoints: `
providers:
  - { name: old, kind: imaging-rest, baseUrl: '${old.url}', maxRetries: 1 }
  - { name: next, kind: imaging-rest, baseUrl: '${next.url}', maxRetries: 1 }
routes:
  - name: slow
    match: { bodyPart: [SLOW] }
    analysis:
      primary: old
      canary: { provider: next, percent: 100, minimumSample: 4, maxP95Seconds: 0.2 }
  - name: differing
    match: { bodyPart: [DIFFERING] }
    analysis:
      primary: old
      shadow: [old]
      canary: { provider: next, percent: 100, minimumSample: 4, maxDisagreement: 0.4 }
  - name: chest
    analysis:
      primary: old
      canary: { provider: next, percent: 50, minimumSample: 8 }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  old?.stop()
  next?.stop()
})

let patients = 0

/** Studies of new patients, one image each; each is followed to its end. */
async function push(count: number, patientId?: string, bodyPart = 'CHEST') {
  const studies = Array.from({ length: count }, () => freshUids())
  await Promise.all(
    studies.map(uids =>
      http(
        'POST',
        `${service.url}/dicom-web/studies`,
        { 'Content-Type': multipartType },
        multipart([
          instance({
            ...uids,
            elements: {
              '00100020': element('00100020', 'LO', patientId ?? `CANARY-${patients++}`),
              '00180015': element('00180015', 'CS', bodyPart),
            },
          }),
        ]),
      ),
    ),
  )
  return Promise.all(studies.map(({ study }) => followStudy(service.url, study, 60)))
}
const canary = async (route = 'chest') =>
  ((await http('GET', `${service.url}/api/canaries`)).json as CanaryReport[]).find(entry => entry.route === route)!
const steer = (body: object) =>
  http('POST', `${service.url}/api/canaries/chest`, { 'Content-Type': 'application/json' }, JSON.stringify(body))
const shareOfNext = (studies: Awaited<ReturnType<typeof push>>) =>
  studies.filter(({ analyses }) => analyses[0]!.provider === 'next').length / studies.length

test('about the share that was set goes to the new provider, a patient always to the same, and it steps up when nothing fails', async () => {
  const studies = await push(40)
  expect(studies.every(({ state }) => state === 'completed')).toBe(true)
  expect(Math.abs(shareOfNext(studies) - 0.5)).toBeLessThan(0.3)
  const again = await push(6, 'CANARY-SAME')
  expect(new Set(again.map(({ analyses }) => analyses[0]!.provider)).size).toBe(1)
  const { percent, decisions } = await canary()
  expect(percent).toBeGreaterThanOrEqual(60)
  expect(decisions[0]).toMatchObject({ reason: expect.stringMatching(/^up: 0 of \d+ analyses failed$/), failures: 0 })
})

test('a provider that begins to fail is stepped down within a window, and no study is lost', async () => {
  await steer({ action: 'set', percent: 60 })
  await next.behave({ status: 401 })
  const studies = await push(30)
  expect(studies.map(({ state }) => state)).toEqual(Array(30).fill('completed'))
  expect(shareOfNext(studies)).toBe(0) // the old one has done what the new one could not
  const failed = studies.filter(({ timeline }) => timeline.some(event => event.kind === 'canary failed'))
  expect(failed.length).toBeGreaterThanOrEqual(8)
  const { percent, decisions } = await canary()
  expect(percent).toBeLessThanOrEqual(40)
  expect(decisions[0]!.reason).toMatch(/^down: \d+ of \d+ analyses failed$/)
  expect(decisions[0]!.from - decisions[0]!.to).toBe(20)
})

test('an administrator freezes it, sets it, and rolls it back', async () => {
  await next.behave({})
  expect((await steer({ action: 'set', percent: 100 })).json).toEqual({ percent: 100 })
  expect(shareOfNext(await push(5))).toBe(1)
  expect((await steer({ action: 'freeze' })).status).toBe(200)
  await push(10)
  expect(await canary()).toMatchObject({ percent: 100, frozen: true })
  expect((await steer({ action: 'rollback' })).json).toEqual({ percent: 0 })
  expect(shareOfNext(await push(5))).toBe(0)
  expect((await canary()).decisions.slice(0, 3).map(({ reason }) => reason)).toEqual([
    'rolled back by an administrator',
    'freeze by an administrator',
    'set by an administrator',
  ])
  expect((await steer({ action: 'set', percent: 101 })).status).toBe(400)
  expect(
    (
      await http(
        'POST',
        `${service.url}/api/canaries/none`,
        { 'Content-Type': 'application/json' },
        '{"action":"freeze"}',
      )
    ).status,
  ).toBe(404)
})

test('a provider that has become slow, or finds something else than the primary one, is stepped down', async () => {
  await next.behave({ latency: 300 })
  await push(4, undefined, 'SLOW')
  expect((await canary('slow')).decisions[0]).toMatchObject({
    from: 100,
    to: 80,
    reason: expect.stringMatching(/^down: 95 % of the analyses took up to 0\.[3-9] s, more than 0\.2 s$/),
  })

  await next.behave({ findings: [{ label: 'nodule', box: [1, 1, 4, 4] }] })
  await push(3, undefined, 'DIFFERING')
  const shadows = () =>
    service.query<{ n: number }>(
      `select count(*)::int n from analysis where arm = 'shadow:old' and finished_at is not null`,
    )
  await until('the shadows have analysed', async () => (await shadows())[0]!.n >= 3 || undefined)
  await push(1, undefined, 'DIFFERING')
  expect((await canary('differing')).decisions[0]).toMatchObject({
    from: 100,
    to: 80,
    reason: 'down: 100 % of the lesions were found by one provider alone, more than 40 %',
  })
})

test('a ramp goes on where it was after a restart', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'radbridge-ramp-'))
  writeFileSync(
    join(scratch, 'endpoints.yaml'),
    `
providers:
  - { name: old, kind: imaging-rest, baseUrl: '${old.url}' }
  - { name: next, kind: imaging-rest, baseUrl: '${next.url}' }
routes:
  - name: r
    analysis:
      primary: old
      canary: { provider: next, percent: 0, automatic: false, ramp: [{ day: 1, percent: 0 }, { day: 4, percent: 100 }, { day: 9, percent: 50 }] }
`,
  )
  const settings = loadSettings({
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
    RADBRIDGE_HTTP_PORT: '0',
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_QUIET_SECONDS: '0.2',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
  })
  const analysedBy = async (url: string) => {
    const uids = freshUids()
    await http('POST', `${url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([instance(uids)]))
    return (await followStudy(url, uids.study)).analyses[0]!.provider
  }
  let running = await startService(settings, silentLog)
  expect(await analysedBy(running.url)).toBe('old') // the first day
  const socket = new pg.Client({
    host: join(scratch, 'data', 'postgres-socket'),
    user: 'radbridge',
    database: 'radbridge',
  })
  await socket.connect()
  await socket.query(`update radbridge.canary set started_at = now() - interval '3 days'`)
  await socket.end()
  await running.stop()
  running = await startService(settings, silentLog)
  expect((await http('GET', `${running.url}/api/canaries`)).json[0]).toMatchObject({ route: 'r', percent: 100 })
  expect(await analysedBy(running.url)).toBe('next')
  await running.stop()
  rmSync(scratch, { recursive: true, force: true })
}, 180_000)
