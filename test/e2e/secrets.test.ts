import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { z } from 'zod'
import type { Log } from '../../src/platform/log.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { http, startTestService, type TestService, until } from '../fixtures/service.js'

const secrets = {
  SCAN_ADMIN: 'admin-token-2b7f61c9',
  SCAN_PACS: 'pacs-token-9a0c44d1',
  SCAN_KEY: 'provider-key-77e1b02f',
  SCAN_DESTINATION: 'destination-password-5d3e',
  SCAN_HOOK: 'webhook-secret-e8810b',
}
const password = 'a-password-81f0cc27'
/** Of the patient, in all the places where something could pick it up. */
const patient = { name: 'Zwiebelfisch^Xaver', id: 'PID-55120093', birth: '19610417', accession: 'ACC-8841702' }
const forbidden = [
  ...Object.values(secrets),
  password,
  'Zwiebelfisch',
  'Xaver',
  patient.id,
  patient.accession,
  patient.birth,
]

/** Everything that the service has said, by where it was said. */
const said: { where: string; text: string }[] = []
const recording = (context: object): Log => {
  const line =
    (level: string) =>
    (message: string, more: object = {}) =>
      void said.push({ where: `log ${level}`, text: JSON.stringify({ message, ...context, ...more }) })
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    child: more => recording({ ...context, ...more }),
  }
}
const listener = (where: string, status: number) =>
  createServer((req, res) => {
    let body = ''
    req.on('data', chunk => (body += chunk))
    req.on('end', () => {
      if (where) said.push({ where, text: body })
      res.writeHead(status, { 'Content-Type': 'application/json' }).end('{}')
    })
  })
const collector = listener('trace', 200)
const hook = listener('notification', 200)
const refusing = listener('', 400)
const portOf = (server: typeof collector) => (server.address() as AddressInfo).port
let service: TestService
let fake: FakeProvider

beforeAll(async () => {
  Object.assign(process.env, secrets)
  fake = await startFakeProvider()
  for (const server of [collector, hook, refusing])
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const configuration = join(mkdtempSync(join(tmpdir(), 'radbridge-secrets-')), 'radbridge.yaml')
  writeFileSync(configuration, `tracing: { url: 'http://127.0.0.1:${portOf(collector)}' }\n`)
  service = await startTestService({
    configuration,
    log: recording({}),
    environment: { RADBRIDGE_ADMIN_TOKEN: secrets.SCAN_ADMIN },
    endpoints: `
sources: [{ name: pacs, stow: { token: env:SCAN_PACS } }]
providers:
  - { name: remote, kind: imaging-rest, baseUrl: '${fake.url}', apiKey: env:SCAN_KEY }
  - { name: away, kind: imaging-rest, baseUrl: 'http://127.0.0.1:9', apiKey: env:SCAN_KEY, maxRetries: 0 }
destinations:
  - { name: refusing, stow: { url: 'http://127.0.0.1:${portOf(refusing)}/dicom-web', username: radbridge, password: env:SCAN_DESTINATION } }
routes:
  - { name: failing, match: { bodyPart: [FAILING] }, analysis: { primary: away } }
  - { name: all, analysis: { primary: remote, shadow: [reference] }, results: [sr], deliverTo: [refusing] }
notifications:
  - { name: hook, on: [dead-letter, study-failed], webhook: { url: 'http://127.0.0.1:${portOf(hook)}', secret: env:SCAN_HOOK } }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  fake?.stop()
  for (const server of [collector, hook, refusing]) server.close()
})

const bearer = { Authorization: `Bearer ${secrets.SCAN_ADMIN}` }
async function ask(
  method: Parameters<typeof http>[0],
  path: string,
  headers: Record<string, string> = {},
  body?: string,
) {
  const answer = await http(method, service.url + path, headers, body)
  said.push({ where: `answer ${method} ${path}`, text: JSON.stringify(answer.headers) + answer.text })
  return answer
}

interface Described {
  'x-permission'?: string
  responses?: Record<string, { content?: Record<string, { schema?: object }> }>
}

/** Where an answer is not as the OpenAPI document says. */
function differences(path: string, schema: object, answer: unknown): string[] {
  const { error } = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(answer)
  return (error?.issues ?? []).map(issue => `${path} ${issue.path.join('.')}: ${issue.message}`)
}

function ofPatient(more: Parameters<typeof instance>[0] = {}) {
  return instance({
    ...more,
    elements: {
      '00100010': element('00100010', 'PN', patient.name),
      '00100020': element('00100020', 'LO', patient.id),
      '00100030': element('00100030', 'DA', patient.birth),
      '00080050': element('00080050', 'SH', patient.accession),
      '00100040': element('00100040', 'CS', 'M'),
      ...more.elements,
    },
  })
}

test('no secret and nothing of a patient is in a log line, metric, trace, notification, error or answer of the API', async () => {
  const json = { 'Content-Type': 'application/json' }
  const push = (bytes: Buffer[], token = secrets.SCAN_PACS) =>
    http(
      'POST',
      `${service.url}/dicom-web/studies`,
      { 'Content-Type': multipartType, Authorization: `Bearer ${token}` },
      multipart(bytes),
    )
  const [good, failing] = [freshUids(), freshUids()]
  expect((await push([ofPatient(good)])).status).toBe(200)
  const other = {
    '00100020': element('00100020', 'LO', `${patient.id}-B`),
    '00180015': element('00180015', 'CS', 'FAILING'),
  }
  await push([ofPatient({ ...failing, elements: { '00180015': other['00180015'] } })])
  // What goes wrong says so, and must not say more.
  await push([ofPatient(good).subarray(0, 700)])
  await push([ofPatient({ ...freshUids(), study: good.study, elements: other })])
  await push([Buffer.from(`not DICOM ${patient.name}`)])
  await push([ofPatient()], 'a wrong token')
  await http('GET', `${service.url}/dicom-web/studies?PatientName=${encodeURIComponent(patient.name)}`, bearer)
  await http('GET', `${service.url}/dicom-web/studies?PatientName=${patient.name}&limit=x`, bearer)

  await ask(
    'POST',
    '/api/accounts',
    { ...bearer, ...json },
    JSON.stringify({ name: 'admin', role: 'administrator', password }),
  )
  await ask('POST', '/api/session', json, JSON.stringify({ name: 'admin', password }))
  await ask('POST', '/api/session', json, JSON.stringify({ name: 'admin', password: `${password}x` }))
  await ask('POST', '/api/session', json, JSON.stringify({ token: `${secrets.SCAN_ADMIN}x` }))
  await ask(
    'PUT',
    '/api/configuration',
    { ...bearer, 'Content-Type': 'application/yaml', 'If-Match': '"1"' },
    'sources: [{ name: x, stow: { token: pacs-tok } }]',
  )
  await ask('POST', '/api/studies/search', { ...bearer, ...json }, JSON.stringify({ text: 'nobody of this name' }))

  const authorized = async (uid: string) => (await http('GET', `${service.url}/api/studies/${uid}`, bearer)).json?.state
  await until('the study has come to its end', async () =>
    ['completed', 'failed'].includes(await authorized(good.study)) ? true : undefined,
  )
  await service.query(`select graphile_worker.add_job('observe')`)
  await service.query(`select graphile_worker.add_job('watchProviders')`)

  const { json: document } = await ask('GET', '/api/openapi.json')
  const paths = Object.entries<Record<string, Described>>(document.paths)
  let asked = 0
  const notAsDescribed: string[] = []
  for (const [path, { get }] of paths) {
    // Patient data is what those with images:read ask for; events do not end.
    if (!get || get['x-permission'] === 'images:read' || path === '/api/events') continue
    const url = path
      .replace('{uid}', good.study)
      .replace('{version}', '1')
      .replace('{route}', 'all')
      .replace('{provider}', 'reference')
    const answer = await ask('GET', url, bearer)
    const schema = get.responses?.['200']?.content?.['application/json']?.schema
    if (schema && answer.status === 200) notAsDescribed.push(...differences(path, schema, answer.json))
    asked++
  }
  expect(asked).toBeGreaterThan(20)
  expect(notAsDescribed).toEqual([])
  await ask('GET', `/api/studies/${failing.study}`, bearer)
  await ask('GET', '/metrics', bearer)
  await ask('GET', '/readyz')
  await ask('POST', '/api/notifications/hook/test', bearer)
  await until('traces have come', async () => (said.some(({ where }) => where === 'trace') ? true : undefined))

  // They are there to be found: those who may see patients see them.
  const allowed = await http('GET', `${service.url}/dicom-web/studies/${good.study}/metadata`, bearer)
  expect(allowed.text).toContain(patient.name)
  const places = new Set(said.map(({ where }) => where.split(' ')[0]))
  expect([...places].sort()).toEqual(['answer', 'log', 'notification', 'trace'])
  const found = said.flatMap(({ where, text }) =>
    forbidden.filter(word => text.includes(word)).map(word => `${where}: ${word}`),
  )
  expect(found).toEqual([])
}, 180_000)
