import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePort } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const tls = (name: string) => readFileSync(fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url)))
let peer: TestService
let service: TestService
let closed: number
const secure = createServer({ key: tls('server.key'), cert: tls('server.pem') }, (_req, res) => void res.end('[]'))

beforeAll(async () => {
  const dimse = await freePort()
  closed = await freePort()
  await new Promise<void>(resolve => secure.listen(0, '127.0.0.1', resolve))
  peer = await startTestService({ environment: { RADBRIDGE_DIMSE_PORT: String(dimse) } })
  service = await startTestService({
    endpoints: `
providers:
  - { name: away, kind: imaging-rest, baseUrl: 'http://127.0.0.1:${closed}' }
destinations:
  - { name: web, stow: { url: '${peer.url}/dicom-web' } }
  - { name: wrong-path, stow: { url: '${peer.url}/dicom' } }
  - { name: closed, stow: { url: 'http://127.0.0.1:${closed}/dicom-web' } }
  - { name: unknown-host, stow: { url: 'http://no-such-host.invalid/dicom-web' } }
  - { name: untrusted, stow: { url: 'https://127.0.0.1:${(secure.address() as AddressInfo).port}' } }
  - { name: modality, dimse: { aeTitle: RADBRIDGE, host: 127.0.0.1, port: ${dimse} } }
  - { name: misnamed, dimse: { aeTitle: OTHER, host: 127.0.0.1, port: ${dimse} } }
  - { name: folder, folder: /dev/null/results }
routes: []
`,
  })
})
afterAll(async () => {
  secure.close()
  await service?.stop()
  await peer?.stop()
})

test.each([
  [
    'web',
    [
      ['connection', true],
      ['QIDO-RS', true],
    ],
    /answers a search/,
  ],
  [
    'wrong-path',
    [
      ['connection', true],
      ['QIDO-RS', false],
    ],
    /answers 404/,
  ],
  ['closed', [['connection', false]], /nothing listens on this port/],
  ['unknown-host', [['connection', false]], /name/],
  [
    'untrusted',
    [
      ['connection', true],
      ['TLS', false],
    ],
    /certificate is not trusted/,
  ],
  [
    'modality',
    [
      ['connection', true],
      ['C-ECHO', true],
    ],
    /answers C-ECHO/,
  ],
  [
    'misnamed',
    [
      ['connection', true],
      ['C-ECHO', false],
    ],
    /another AE title/,
  ],
  ['folder', [['folder', false]], /cannot be written/],
  ['away', [['connection', false]], /nothing listens/],
] as [string, [string, boolean][], RegExp][])('%s is tested step by step', async (name, steps, words) => {
  const { status, json } = await http('POST', `${service.url}/api/endpoints/${name}/test`)
  expect(status).toBe(200)
  expect(json.steps.map(({ step, ok }: { step: string; ok: boolean }) => [step, ok])).toEqual(steps)
  expect(json.ok).toBe(steps.every(([, ok]) => ok))
  expect(json.steps.at(-1).detail).toMatch(words)
  if (!json.ok) expect(json.steps.at(-1).fix).toMatch(/\w/)
})

test('a name that nothing bears', async () => {
  expect((await http('POST', `${service.url}/api/endpoints/nobody/test`)).status).toBe(404)
})
