import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { z } from 'zod'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { phantomFiles, smallPhantom } from '../fixtures/phantom.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
let fake: FakeProvider
let study: string
beforeAll(async () => {
  fake = await startFakeProvider()
  service = await startTestService({
    endpoints: `
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}', price: { perMillionUnits: 10, currency: EUR }, budget: { perDay: 100 } }]
destinations: [{ name: nowhere, stow: { url: 'http://127.0.0.1:9/dicom-web' } }]
routes: [{ name: all, analysis: { primary: reference, shadow: [remote], canary: { provider: remote, percent: 0 } }, results: [sr, seg] }]
notifications: [{ name: chat, on: [study-failed], webhook: { url: 'http://127.0.0.1:9/none' } }]
`,
  })
  const files = await phantomFiles({ ...smallPhantom, study: 'openapi' })
  const { text } = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(files),
  )
  study = /studies\/([0-9.]+)/.exec(text)![1]!
  expect((await followStudy(service.url, study)).state).toBe('completed')
  await until(
    'the shadow',
    async () =>
      (await service.query(`select 1 from analysis where arm like 'shadow:%' and finished_at is not null`))[0],
  )
  const { json: findings } = await http('GET', `${service.url}/api/studies/${study}/findings`)
  const { trackingUid } = findings.items[0]
  const json = { 'Content-Type': 'application/json' }
  const verdict = JSON.stringify({ trackingUid, verdict: 'false-positive' })
  expect((await http('POST', `${service.url}/api/studies/${study}/verdicts`, json, verdict)).status).toBeLessThan(300)
}, 180_000)
afterAll(async () => {
  await service?.stop()
  fake?.stop()
})

test('what is read has the form that the document says, with nothing beside it', async () => {
  const { json: document } = await http('GET', `${service.url}/api/openapi.json`)
  const checked: string[] = []
  for (const [path, methods] of Object.entries<Record<string, { responses: Record<string, { content?: object }> }>>(
    document.paths,
  )) {
    const content = methods.get?.responses['200']?.content as Record<string, { schema?: object }> | undefined
    const schema = content?.['application/json']?.schema
    if (!schema || /\{(?!uid\})/.test(path)) continue
    const answer = await http('GET', service.url + path.replace('{uid}', study))
    if (answer.status !== 200) {
      expect([path, answer.status]).toEqual([path, 404]) // a thing of which there is none
      continue
    }
    const result = z.fromJSONSchema(schema as never).safeParse(answer.json)
    expect([path, result.error?.issues]).toEqual([path, undefined])
    checked.push(path)
  }
  expect(checked).toEqual(
    expect.arrayContaining([
      '/api/dashboard',
      '/api/quality',
      '/api/shadows',
      '/api/providers/report',
      '/api/studies/{uid}',
    ]),
  )
  expect(checked.length).toBeGreaterThan(15)
})
