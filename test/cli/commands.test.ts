import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readPart10Header } from '../../src/dicom/part10.js'
import { packageVersion } from '../../src/platform/packageVersion.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-cli-'))
let service: TestService
beforeAll(async () => {
  service = await startTestService({
    environment: { RADBRIDGE_QUIET_SECONDS: '3600', RADBRIDGE_ADMIN_TOKEN: 'administrator-of-tests' },
    endpoints: `sources: [{ name: scanner, stow: { token: 'file:${join(scratch, 'token')}' } }]\nroutes: []\n`,
  })
})
afterAll(() => service?.stop())
writeFileSync(join(scratch, 'token'), 'scanner-token\n')

function radbridge(
  args: string[],
  environment: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  return new Promise(resolve => {
    const env = { ...process.env, NODE_OPTIONS: '', RADBRIDGE_DATA_DIR: join(scratch, 'data'), ...environment }
    execFile(process.execPath, [command, ...args], { env }, (error, out, err) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, out, err }),
    )
  })
}
const file = (name: string, bytes: Buffer | string) => {
  mkdirSync(join(scratch, 'in'), { recursive: true })
  const path = join(scratch, 'in', name)
  writeFileSync(path, bytes)
  return path
}

describe('send', () => {
  test('stores a folder, names what is no DICOM, and exits with 1 for it', async () => {
    file('a.dcm', instance())
    file('b.dcm', instance())
    file('c.txt', 'no DICOM')
    const to = ['--to', `${service.url}/dicom-web`, '--token', 'env:TOKEN']
    const answer = await radbridge(['send', join(scratch, 'in'), ...to], { TOKEN: 'scanner-token' })
    expect(answer.out).toMatch(/^2 stored, 1 not stored/)
    expect(answer.err).toMatch(/c\.txt: shorter than/)
    expect(answer.code).toBe(1)
    const rows = await service.query<{ source: string }>('select source from instance')
    expect(rows).toEqual([{ source: 'scanner' }, { source: 'scanner' }])
  })

  test('tells a file from another one of the same SOP Instance UID that is cut', async () => {
    const whole = instance()
    const folder = join(scratch, 'twins')
    mkdirSync(folder)
    writeFileSync(join(folder, 'cut.dcm'), whole.subarray(0, -10))
    writeFileSync(join(folder, 'whole.dcm'), whole)
    const to = ['--to', `${service.url}/dicom-web`, '--token', 'env:TOKEN']
    const answer = await radbridge(['send', folder, ...to], { TOKEN: 'scanner-token' })
    expect(answer.out).toMatch(/^1 stored, 1 not stored/)
    expect(answer.err).toMatch(/cut\.dcm: /)
    expect(answer.err).not.toMatch(/whole\.dcm: /)
  })

  test('is called wrongly: exit code 2 and how to call it', async () => {
    expect(await radbridge(['send', 'x'])).toMatchObject({ code: 2, err: expect.stringMatching(/send FILE… --to URL/) })
    expect((await radbridge(['--version'])).out.trim()).toBe(packageVersion)
    expect(await radbridge(['send', '--help'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Usage: radbridge send FILE/),
    })
    expect(await radbridge(['sned'])).toMatchObject({ code: 2, err: expect.stringMatching(/no command sned/) })
  })
})

describe('access', () => {
  const body = multipart([instance()])
  const post = (token?: string) =>
    http(
      'POST',
      `${service.url}/dicom-web/studies`,
      { 'Content-Type': multipartType, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
      body,
    )

  test('without a token, or with a wrong one, 401 with WWW-Authenticate', async () => {
    for (const token of [undefined, 'wrong']) {
      const answer = await post(token)
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
    }
    expect((await http('GET', `${service.url}/api/studies`)).status).toBe(401)
    expect((await http('GET', `${service.url}/api/studies`, { Authorization: 'Bearer scanner-token' })).status).toBe(
      403,
    )
  })

  test('with its token a source may push, and the administrator may look', async () => {
    expect((await post('scanner-token')).status).toBe(200)
    const answer = await http('GET', `${service.url}/api/studies`, { Authorization: 'Bearer administrator-of-tests' })
    expect(answer.status).toBe(200)
    expect(answer.text).not.toMatch(/Test\^Patient|T-1/)
  })

  test('listening for others without tokens is refused, with the reason', async () => {
    const answer = await radbridge(['serve'], { RADBRIDGE_HTTP_HOST: '0.0.0.0' })
    expect(answer.code).toBe(1)
    expect(answer.err).toMatch(/patient data would be open .*RADBRIDGE_ADMIN_TOKEN.* source with a token/s)
  })
})

describe('normalize', () => {
  const mono1 = () =>
    instance({
      ...freshUids(),
      pixels: Buffer.alloc(512, Buffer.from([0x01, 0x00])),
      elements: {
        '00280004': element('00280004', 'CS', 'MONOCHROME1'),
        '00281050': element('00281050', 'DS', '1000'),
        '00281051': element('00281051', 'DS', '400'),
        '00091010': element('00091010', 'LO', 'private'),
      },
    })

  test('MONOCHROME1 becomes MONOCHROME2 with window mirrored, private elements kept, a UID of its own', async () => {
    const input = file('mono1.dcm', mono1())
    const output = join(scratch, 'mono2.dcm')
    const answer = await radbridge(['normalize', input, output, '--json'])
    expect(answer.code).toBe(0)
    expect(JSON.parse(answer.out)).toMatchObject({ photometric: { from: 'MONOCHROME1', to: 'MONOCHROME2' } })
    const bytes = readFileSync(output)
    const header = readPart10Header(bytes, true)
    if (header.outcome !== 'header') throw new Error(JSON.stringify(header))
    const { json, pixelData, sopInstanceUid } = header.header
    expect(json['00281050']!.Value).toEqual([4095 - 1000 + 1])
    expect(json['00281051']!.Value).toEqual([400])
    expect(json['00091010']).toBeDefined()
    expect(json['00080008']!.Value).toEqual(['DERIVED', 'PRIMARY', 'AXIAL'])
    expect(bytes.readUInt16LE(pixelData!.offset)).toBe(4094)
    expect(sopInstanceUid).toMatch(/^2\.25\./)
  })

  test('--keep-photometric only decodes; what cannot be decoded exits with 1 and says why', async () => {
    const input = file('mono1.dcm', mono1())
    const output = join(scratch, 'kept.dcm')
    expect((await radbridge(['normalize', input, output, '--keep-photometric'])).code).toBe(0)
    expect(readFileSync(output).includes('MONOCHROME1')).toBe(true)
    const video = file('video.dcm', instance({ transferSyntax: '1.2.840.10008.1.2.4.102' }))
    const answer = await radbridge(['normalize', video, output, '--json'])
    expect(answer.code).toBe(1)
    expect(answer.err).toMatch(/MPEG-4|fragment/)
    expect(await radbridge(['normalize', '/nowhere', output])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/ENOENT/),
    })
  })
})

test('doctor says what is wrong, and how to mend it', async () => {
  const port = await freePort()
  const endpoints = join(scratch, 'endpoints.yaml')
  writeFileSync(
    endpoints,
    `destinations:\n  - { name: good, stow: { url: '${service.url}/dicom-web', token: 'file:${join(scratch, 'token')}' } }\n` +
      `  - { name: away, stow: { url: 'http://127.0.0.1:${port}/dicom-web', token: env:NOT_THERE } }\n`,
  )
  const answer = await radbridge(['doctor'], { RADBRIDGE_ENDPOINTS: endpoints, RADBRIDGE_HTTP_PORT: String(port) })
  expect(answer.code).toBe(1)
  expect(answer.out).toMatch(/✓ destination good: it answers a search/)
  expect(answer.out).toMatch(/✗ secret env:NOT_THERE of destination away: .*not set\n +Set the variable/)
  expect(answer.out).toMatch(/✗ destination away/)
  expect(answer.out).toMatch(/✓ data folder .* GB free/)
})

describe('config', () => {
  test('validate reads endpoints as the start does, and says what is wrong, where, and what was meant', async () => {
    const right = file('right.yaml', Buffer.from('destinations: [{ name: pacs, folder: /tmp/x }]\nroutes: []\n'))
    expect(await radbridge(['config', 'validate', right])).toMatchObject({
      code: 0,
      out: expect.stringContaining('is valid: 0 sources, 0 providers, 1 destination, 0 routes'),
    })
    const text =
      'routes:\n  - name: r\n    analysis: { primary: reference }\n    delivrTo: [pacs]\n    match: { modalty: [CT] }\n' +
      'destinations:\n  - name: pacs\n    dimse: { aeTitel: PACS, host: pacs, port: 104 }\n'
    const wrong = await radbridge(['config', 'validate', '-f', file('wrong.yaml', Buffer.from(text))])
    expect(wrong.code).toBe(1)
    expect(wrong.err).toMatch(/wrong\.yaml:4.*unknown setting routes\.0\.delivrTo; did you mean deliverTo\?/)
    expect(wrong.err).toMatch(/wrong\.yaml:5.*unknown setting routes\.0\.match\.modalty; did you mean modality\?/)
    // Of the kinds of destinations only the one that was meant is spoken of.
    expect(wrong.err).toMatch(/wrong\.yaml:8.*unknown setting destinations\.0\.dimse\.aeTitel; did you mean aeTitle\?/)
    expect(wrong.err).not.toMatch(/folder|stow/)
    expect((await radbridge(['config', 'apply'])).code).toBe(2)
    expect(await radbridge(['config', '--help'])).toMatchObject({ code: 0, out: expect.stringContaining('rollback N') })
  })
  test('schema prints a JSON Schema', async () => {
    const schema = JSON.parse((await radbridge(['config', 'schema'])).out)
    expect(Object.keys(schema.properties)).toEqual([
      'sources',
      'providers',
      'destinations',
      'routes',
      'notifications',
      'retention',
      'offPeak',
      'completeness',
    ])
    expect(schema.properties.routes.items.properties.match.properties.modality.type).toBe('array')
  })
})
