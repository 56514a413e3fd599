import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { echo } from '../../src/dimse/echo.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

let service: TestService
let port: number
beforeAll(async () => {
  port = await freePort()
  service = await startTestService({ environment: { RADBRIDGE_DIMSE_PORT: String(port) } })
})
afterAll(() => service?.stop())

/** Values by metric and labels, as they stand in the text. */
async function read(): Promise<{ text: string; value(line: string): number }> {
  const { status, text, headers } = await http('GET', `${service.url}/metrics`)
  expect(status).toBe(200)
  expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
  return {
    text,
    value: line => Number(new RegExp(`^${line.replace(/[{}".]/g, '\\$&')} (.+)$`, 'm').exec(text)?.[1] ?? 0),
  }
}

test('what is received, stored, analysed and asked for is counted, and nothing names a patient or a study', async () => {
  const before = await read()
  const uids = freshUids()
  const bytes = instance({ ...uids, elements: { '00100010': element('00100010', 'PN', 'Metric^Patient') } })
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([bytes]))
  await http(
    'POST',
    `${service.url}/dicom-web/studies/${uids.study}`,
    { 'Content-Type': multipartType },
    multipart([bytes]),
  )
  await http('GET', `${service.url}/dicom-web/studies/${uids.study}/metadata`)
  await echo({ aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'METRICS', timeoutSeconds: 5 })
  await followStudy(service.url, uids.study)
  const { text, value } = await read()
  const grown = (line: string) => value(line) - before.value(line)
  expect(grown('radbridge_instances_received_total{source="none",outcome="stored"}')).toBe(1)
  expect(grown('radbridge_instances_received_total{source="none",outcome="already-stored"}')).toBe(1)
  expect(grown('radbridge_received_bytes_total{source="none"}')).toBe(bytes.length)
  expect(grown('radbridge_storing_seconds_count')).toBe(2)
  expect(grown('radbridge_associations_total{outcome="accepted"}')).toBe(1)
  expect(
    grown('radbridge_http_request_seconds_count{route="/dicom-web/studies/:study/metadata",method="GET",status="200"}'),
  ).toBe(1)
  expect(text).toMatch(/radbridge_analysis_seconds_count\{provider="reference",outcome="[a-z-]+"\} [1-9]/)
  expect(text).toMatch(/radbridge_storage_free_bytes \d+/)
  expect(text).toMatch(/radbridge_nodejs_eventloop_lag_p99_seconds/)
  expect(text).not.toContain(uids.study)
  expect(text).not.toMatch(/Metric\^Patient|T-1/)
})

test('with an administrator token they are the administrator’s', async () => {
  const guarded = await startTestService({ environment: { RADBRIDGE_ADMIN_TOKEN: 'a-token-of-an-administrator' } })
  expect((await http('GET', `${guarded.url}/metrics`)).status).toBe(401)
  const headers = { Authorization: 'Bearer a-token-of-an-administrator' }
  expect((await http('GET', `${guarded.url}/metrics`, headers)).status).toBe(200)
  await guarded.stop()
})

test('the dashboard and the alerts of deploy/ ask for metrics and labels that there are', async () => {
  const { text } = await read()
  const names = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  const dashboard = JSON.parse(readFileSync('deploy/monitoring/grafana-dashboard.json', 'utf8'))
  const alerts = parse(readFileSync('deploy/monitoring/prometheus-alerts.yaml', 'utf8'))
  const expressions: string[] = [
    ...dashboard.panels.flatMap(({ targets }: { targets: { expr: string }[] }) => targets.map(({ expr }) => expr)),
    ...alerts.groups[0].rules.map(({ expr }: { expr: string }) => expr),
  ]
  expect(expressions.length).toBeGreaterThan(20)
  for (const expression of expressions)
    for (const [, name] of expression.matchAll(/(radbridge_\w+?)(?:_bucket|_count|_sum)?\b/g))
      expect([expression, names.has(name!) || names.has(`${name}_total`)]).toEqual([expression, true])
})
