import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let fake: FakeProvider
let service: TestService
beforeAll(async () => {
  fake = await startFakeProvider()
  service = await startTestService({
    // Time is compressed: what is 30 s between two looks at a provider that is away is half a second here, and an hour is a minute.
    endpoints: `
providers:
  - name: remote
    kind: imaging-rest
    baseUrl: ${fake.url}
    timeoutSeconds: 2
    maxRetries: 2
    concurrency: 4
    breaker: { failures: 5, openSeconds: 0.5 }
  - name: dear
    kind: imaging-rest
    baseUrl: ${fake.url}
    price: { perMillionUnits: 1000000, currency: EUR }
    budget: { perDay: 3 }
routes:
  - name: dear
    match: { bodyPart: [DEAR] }
    analysis: { primary: dear }
  - name: spare
    match: { bodyPart: [SPARE] }
    analysis: { primary: dear, fallback: [remote] }
  - name: all
    analysis: { primary: remote }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  fake?.stop()
})

async function push(bodyPart?: string): Promise<string> {
  const uids = freshUids()
  const elements: Record<string, Buffer> = bodyPart ? { '00180015': element('00180015', 'CS', bodyPart) } : {}
  const files = [0, 1].map(i => instance({ ...uids, instance: `${uids.instance.slice(0, 60)}.${i + 1}`, elements }))
  const type = { 'Content-Type': multipartType }
  const { status } = await http('POST', `${service.url}/dicom-web/studies`, type, multipart(files))
  expect(status).toBe(200)
  return uids.study
}

test('a provider is away: nothing is lost, it is left alone, and it is not overrun when it is back', async () => {
  await fake.behave({ status: 503 })
  const studies = await Promise.all(Array.from({ length: 30 }, () => push()))
  await until('all wait', async () => {
    const [row] = await service.query<{ n: number }>(
      `select count(*)::int n from analysis where waiting_since is not null`,
    )
    return row!.n === 30 || undefined
  })
  await fake.log()
  const began = Date.now()
  await sleep(10_000)
  const probes = await fake.log()
  // One probe in half a second, not thirty studies again and again.
  expect(probes.length).toBeLessThanOrEqual(((Date.now() - began) / 500) * 1.2 + 2)
  expect(probes.length).toBeGreaterThan(3)
  const waiting = await http('GET', `${service.url}/api/studies/${studies[0]}`)
  expect(waiting.json.state).toBe('analyzing')
  expect(waiting.json.timeline.map((entry: { kind: string }) => entry.kind)).toContain('waiting for the provider')

  await fake.behave({})
  const ended = await Promise.all(studies.map(uid => followStudy(service.url, uid, 60)))
  expect(ended.map(study => study.state)).toEqual(studies.map(() => 'completed'))
  const recovery = await fake.log()
  expect(new Set(recovery.filter(entry => entry.answered).map(entry => entry.study)).size).toBe(30)
  const perSecond = new Map<number, number>()
  for (const { at } of recovery) perSecond.set(Math.floor(at / 1000), (perSecond.get(Math.floor(at / 1000)) ?? 0) + 1)
  process.stderr.write(`requests a second after the provider came back: ${[...perSecond.values()].join(', ')}\n`)
  expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(30)
}, 180_000)

test('a budget that is spent stops a provider, and the next of the route takes over', async () => {
  for (const _ of [1, 2]) expect((await followStudy(service.url, await push('DEAR'))).state).toBe('completed')
  const stopped = await followStudy(service.url, await push('DEAR'))
  expect([stopped.state, stopped.reason]).toEqual(['failed', 'the budget of 3 EUR for today is spent'])
  const spared = await followStudy(service.url, await push('SPARE'))
  expect([spared.state, spared.analyses[0]!.provider]).toEqual(['completed', 'remote'])
}, 180_000)
