import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { studyTrace } from '../../src/platform/tracing.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

interface Told {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  startTimeUnixNano: string
  endTimeUnixNano: string
}
const spans: Told[] = []
let sent = ''
const collector = createServer((req, res) => {
  let body = ''
  req.on('data', chunk => (body += chunk))
  req.on('end', () => {
    sent += body
    for (const resource of JSON.parse(body).resourceSpans)
      for (const scope of resource.scopeSpans) spans.push(...scope.spans)
    res.setHeader('Content-Type', 'application/json')
    res.end('{}')
  })
})
let service: TestService
let provider: FakeProvider

beforeAll(async () => {
  provider = await startFakeProvider()
  await new Promise<void>(resolve => collector.listen(0, '127.0.0.1', resolve))
  const folder = mkdtempSync(join(tmpdir(), 'radbridge-tracing-'))
  const configuration = join(folder, 'radbridge.yaml')
  writeFileSync(configuration, `tracing: { url: 'http://127.0.0.1:${(collector.address() as AddressInfo).port}' }\n`)
  service = await startTestService({
    configuration,
    endpoints: `
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${provider.url}' }]
destinations: [{ name: files, folder: '${folder}/results' }]
routes: [{ name: all, analysis: { primary: remote }, results: [sr], deliverTo: [files] }]
`,
  })
})
afterAll(async () => {
  await service?.stop()
  await provider?.stop()
  collector.close()
})

test('a study is one trace, from its first instance to its delivery, and names no patient', async () => {
  const uids = freshUids()
  const bytes = instance({ ...uids, elements: { '00100010': element('00100010', 'PN', 'Traced^Patient') } })
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([bytes]))
  await followStudy(service.url, uids.study)
  const { traceId, spanId } = studyTrace(uids.study, 1)
  const of = () => spans.filter(span => span.traceId === traceId)
  const root = await until('the root is told', async () => of().find(({ name }) => name === 'study'))
  await until('all is told', async () => (of().some(({ name }) => name === 'deliver') ? true : undefined))
  expect(root).toMatchObject({ spanId })
  expect(root.parentSpanId ?? '').toBe('')
  const names = of().map(({ name }) => name)
  expect(names).toEqual(
    expect.arrayContaining(['study', 'wait until quiet', 'analyze', 'provider request', 'report', 'deliver']),
  )
  const analyze = of().find(({ name }) => name === 'analyze')!
  expect(analyze.parentSpanId).toBe(spanId)
  expect(of().find(({ name }) => name === 'provider request')!.parentSpanId).toBe(analyze.spanId)
  expect(BigInt(analyze.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(root.startTimeUnixNano))
  expect(BigInt(analyze.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(root.endTimeUnixNano))
  expect(spans.map(({ name }) => name)).toContain('POST /dicom-web/studies')
  expect(sent).not.toMatch(/Traced|Patient\b/)
})
