import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect } from '@jest/globals'
import { Agent, request } from 'undici'
import { followTls } from '../../src/main/tlsFiles.js'
import { silentLog } from '../../src/platform/log.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'
import { startTestService, type TestService, until } from '../fixtures/service.js'

const present = hasProgram('openssl')
const withOpenssl = testWhere(present, 'openssl is absent')
const folder = mkdtempSync(join(tmpdir(), 'radbridge-tls-'))
const at = (name: string) => join(folder, name)
let service: TestService

/** A certificate of an authority that was made for this test. */
function certificate(name: string, commonName: string, ca = 'ca'): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' })
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    at(`${name}.key`),
    '-out',
    at(`${name}.csr`),
    '-subj',
    `/CN=${commonName}`,
  )
  writeFileSync(at('san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost')
  openssl(
    'x509',
    '-req',
    '-in',
    at(`${name}.csr`),
    '-CA',
    at(`${ca}.pem`),
    '-CAkey',
    at(`${ca}.key`),
    '-CAcreateserial',
    '-out',
    at(`${name}.pem`),
    '-days',
    '2',
    '-extfile',
    at('san'),
  )
}
function authority(name: string): void {
  const subject = `/CN=${name}`
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.pem`),
      '-days',
      '2',
      '-subj',
      subject,
    ],
    { stdio: 'ignore' },
  )
}

beforeAll(async () => {
  if (!present) return
  authority('ca')
  authority('other')
  certificate('server', 'server')
  certificate('pacs', 'pacs.hospital')
  certificate('stranger', 'stranger.hospital')
  certificate('forged', 'pacs.hospital', 'other')
  writeFileSync(
    at('radbridge.yaml'),
    `http: { tls: { cert: ${at('server.pem')}, key: 'file:${at('server.key')}', ca: ${at('ca.pem')} } }\n`,
  )
  service = await startTestService({
    configuration: at('radbridge.yaml'),
    endpoints: 'sources: [{ name: pacs, stow: { certificate: pacs.hospital } }]\nroutes: []\n',
  })
})
afterAll(() => service?.stop())

async function push(client?: string): Promise<number> {
  const keys = client ? { cert: readFileSync(at(`${client}.pem`)), key: readFileSync(at(`${client}.key`)) } : {}
  const dispatcher = new Agent({ connect: { ca: readFileSync(at('ca.pem')), ...keys } })
  const { statusCode, body } = await request(`${service.url}/dicom-web/studies`, {
    method: 'POST',
    headers: { 'Content-Type': multipartType },
    body: multipart([instance(freshUids())]),
    dispatcher,
  })
  await body.dump()
  await dispatcher.close()
  return statusCode
}

withOpenssl('a source is known by its certificate; another one, or one of another authority, is not', async () => {
  expect(service.url).toMatch(/^https:/)
  expect(await push('pacs')).toBe(200)
  expect(await push('stranger')).toBe(401)
  expect(await push('forged')).toBe(401)
  expect(await push()).toBe(401)
})

withOpenssl('over TLS the browser is told to stay with it', async () => {
  const dispatcher = new Agent({ connect: { ca: readFileSync(at('ca.pem')) } })
  const { headers, body } = await request(`${service.url}/api/session`, { dispatcher })
  await body.dump()
  await dispatcher.close()
  expect(headers['strict-transport-security']).toBe('max-age=31536000')
})

withOpenssl(
  'a certificate that is renewed is used without a restart, and one that cannot be used is not',
  async () => {
    const { port } = new URL(service.url)
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: Number(port), ca: readFileSync(at('ca.pem')) }, () => {
          resolve(socket.getPeerCertificate().serialNumber)
          socket.destroy()
        })
        socket.on('error', reject)
      })
    const before = await serial()
    certificate('renewed', 'server')
    copyFileSync(at('renewed.key'), at('server.key'))
    copyFileSync(at('renewed.pem'), at('server.pem'))
    await until('the new certificate is shown', async () => ((await serial()) !== before ? true : undefined), 30)
  },
  180_000,
)

withOpenssl('a certificate file that is half written is left alone', async () => {
  certificate('watched', 'server')
  const files = { cert: at('watched.pem'), key: `file:${at('watched.key')}` }
  let used = 0
  const stop = followTls(files, () => used++, silentLog, 20)
  await new Promise(resolve => setTimeout(resolve, 100))
  expect(used).toBe(0)
  copyFileSync(at('renewed.pem'), at('watched.pem'))
  await until('it is read again', async () => (used > 0 ? true : undefined), 5)
  stop()
})
