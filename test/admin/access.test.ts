import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Secret, TOTP } from 'otpauth'
import { type Role, roles } from '../../src/admin/access/permissions.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { type Answer, http, startTestService, type TestService, until } from '../fixtures/service.js'

const password = 'correct horse battery'
const json = { 'Content-Type': 'application/json' }
let service: TestService
const sessions = new Map<string, { cookie: string; csrf: string; attributes: string }>()

async function signIn(name: string, secret = password, code?: string): Promise<Answer> {
  const body = JSON.stringify({ name, password: secret, ...(code ? { code } : {}) })
  return http('POST', `${service.url}/api/session`, json, body)
}

function keep(name: string, answer: Answer): void {
  const [cookie, ...attributes] = String(answer.headers['set-cookie']).split('; ')
  sessions.set(name, { cookie: cookie!, csrf: answer.json.csrf, attributes: attributes.join('; ') })
}

/** As somebody who is signed in. */
function as(
  name: string,
  method: Parameters<typeof http>[0],
  path: string,
  body?: object,
  more: Record<string, string> = {},
) {
  const { cookie, csrf } = sessions.get(name)!
  const headers = { Cookie: cookie, 'X-CSRF-Token': csrf, ...(body ? json : {}), ...more }
  return http(method, service.url + path, headers, body && JSON.stringify(body))
}

beforeAll(async () => {
  service = await startTestService()
  const made = (name: string, role: Role) => ({ name, role, password })
  const first = await http('POST', `${service.url}/api/accounts`, json, JSON.stringify(made('viewer1', 'viewer')))
  expect(first.status).toBe(409) // the first one has to be an administrator
  await http('POST', `${service.url}/api/accounts`, json, JSON.stringify(made('administrator1', 'administrator')))
  keep('administrator', await signIn('administrator1'))
  for (const role of ['viewer', 'radiologist', 'operator'] as const) {
    expect((await as('administrator', 'POST', '/api/accounts', made(`${role}1`, role))).status).toBe(201)
    keep(role, await signIn(`${role}1`))
  }
})
afterAll(() => service?.stop())

test('with the first account nobody may do anything without signing in', async () => {
  expect((await http('GET', `${service.url}/api/studies`)).status).toBe(401)
  expect((await http('GET', `${service.url}/dicom-web/studies`)).status).toBe(401)
  const body = multipart([instance(freshUids())])
  const headers = { 'Content-Type': multipartType }
  expect((await http('POST', `${service.url}/dicom-web/studies`, headers, body)).status).toBe(401)
  const { json: session } = await http('GET', `${service.url}/api/session`)
  expect(session).toMatchObject({ name: null, permissions: [], signIn: { needed: true, accounts: true, oidc: false } })
})

describe('every operation of the OpenAPI document', () => {
  test('refuses who is not known, and each role that has not its permission', async () => {
    const { json: document } = await http('GET', `${service.url}/api/openapi.json`)
    const operations = Object.entries<Record<string, { 'x-permission'?: string; security?: object[] }>>(document.paths)
      .flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })))
      .filter(({ operation }) => operation.security === undefined)
    expect(operations.length).toBeGreaterThan(40)
    for (const { path, method, operation } of operations) {
      const permission = operation['x-permission']
      expect(permission).toBeDefined()
      const url = path.replace('{uid}', '1.2.3').replace(/\{\w+\}/g, '999999')
      const verb = method.toUpperCase() as 'GET'
      const what = `${verb} ${path}`
      expect([what, (await http(verb, service.url + url)).status]).toEqual([what, 401])
      const wrong = await http(verb, service.url + url, { Authorization: 'Bearer rb_wrong' })
      expect([what, wrong.status]).toEqual([what, 401])
      for (const role of ['viewer', 'radiologist', 'operator'] as const) {
        if ((roles[role] as readonly string[]).includes(permission!)) continue
        expect([what, role, (await as(role, verb, url)).status]).toEqual([what, role, 403])
      }
      // What changes something needs more than the cookie.
      if (verb !== 'GET') {
        const { cookie } = sessions.get('administrator')!
        expect([what, (await http(verb, service.url + url, { Cookie: cookie })).status]).toEqual([what, 403])
      }
    }
  })

  test('answers as it is described', async () => {
    const { json: document } = await http('GET', `${service.url}/api/openapi.json`)
    expect(document.openapi).toBe('3.1.0')
    expect(
      document.paths['/api/studies/{uid}'].get.responses['200'].content['application/json'].schema.properties.timeline,
    ).toBeDefined()
    expect(document.paths['/api/studies'].get.parameters.map((p: { name: string }) => p.name)).toContain('state')
    const ids = Object.values<Record<string, { operationId: string }>>(document.paths).flatMap(methods =>
      Object.values(methods).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
  })
})

test('reading images needs images:read, writing them instances:write', async () => {
  expect((await as('viewer', 'GET', '/dicom-web/studies')).status).toBe(403)
  expect((await as('operator', 'GET', '/dicom-web/studies')).status).toBe(403)
  expect([200, 204]).toContain((await as('radiologist', 'GET', '/dicom-web/studies')).status)
  const body = multipart([instance(freshUids())])
  const { cookie, csrf } = sessions.get('radiologist')!
  const headers = { Cookie: cookie, 'X-CSRF-Token': csrf, 'Content-Type': multipartType }
  expect((await http('POST', `${service.url}/dicom-web/studies`, headers, body)).status).toBe(403)
})

test('patient data of a study is for those with images:read who ask for it, and that they asked is kept', async () => {
  const { json: made } = await as('administrator', 'POST', '/api/tokens', { name: 'pacs', scopes: ['instances:write'] })
  const uids = freshUids()
  const headers = { 'Content-Type': multipartType, Authorization: `Bearer ${made.token}` }
  const body = multipart([instance(uids)])
  expect((await http('POST', `${service.url}/dicom-web/studies`, headers, body)).status).toBe(200)
  const patientSeenBy = async (role: string, query: string) =>
    (await as(role, 'GET', `/api/studies/${uids.study}${query}`)).json.patient
  for (const role of ['radiologist', 'administrator'])
    expect(await patientSeenBy(role, '?patient=true')).toMatchObject({
      name: expect.any(String),
      id: expect.any(String),
    })
  expect(await patientSeenBy('radiologist', '')).toBeUndefined()
  for (const role of ['viewer', 'operator']) expect(await patientSeenBy(role, '?patient=true')).toBeUndefined()
  const accessed = await until('what was seen is in the trail', async () => {
    const { json: trail } = await as('administrator', 'GET', '/api/audit?event=instances-accessed')
    return trail.length >= 2 ? trail : undefined
  })
  expect(accessed.map((entry: { actor: string }) => entry.actor).sort()).toEqual(['administrator1', 'radiologist1'])
})

test('a page of somebody else cannot have a browser change anything', async () => {
  const { cookie, csrf } = sessions.get('administrator')!
  const make = (headers: Record<string, string>) =>
    http(
      'POST',
      `${service.url}/api/tokens`,
      { Cookie: cookie, ...json, ...headers },
      '{"name":"x","scopes":["audit:read"]}',
    )
  expect((await make({})).status).toBe(403)
  expect((await make({ 'X-CSRF-Token': 'wrong' })).status).toBe(403)
  expect((await make({ 'X-CSRF-Token': csrf, Origin: 'https://evil.example' })).status).toBe(403)
  expect((await make({ 'X-CSRF-Token': csrf, 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403)
  expect((await make({ 'X-CSRF-Token': csrf, Origin: service.url })).status).toBe(201)
  expect((await signInFrom('cross-site')).status).toBe(403)
  function signInFrom(site: string) {
    const body = JSON.stringify({ name: 'administrator1', password })
    return http('POST', `${service.url}/api/session`, { ...json, 'Sec-Fetch-Site': site }, body)
  }
})

test('a token has its scopes, is told once, expires, and can be taken back', async () => {
  const make = async (scopes: string[], days = 1) =>
    (await as('administrator', 'POST', '/api/tokens', { name: 'script', scopes, days })).json
  const { token, id } = await make(['studies:read'])
  const ask = (path: string, bearer: string) => http('GET', service.url + path, { Authorization: `Bearer ${bearer}` })
  expect((await ask('/api/studies', token)).status).toBe(200)
  expect((await ask('/api/audit', token)).status).toBe(403)
  expect((await ask('/dicom-web/studies', token)).status).toBe(403)
  const { json: list } = await as('administrator', 'GET', '/api/tokens')
  expect(JSON.stringify(list)).not.toContain(token)
  const rows = await service.query<{ digest: Buffer }>('select digest from api_token where id = $1', [id])
  expect(rows[0]!.digest.toString()).not.toContain(token)
  const short = await make(['studies:read'], 1 / 86_400)
  await new Promise(resolve => setTimeout(resolve, 1200))
  expect((await ask('/api/studies', short.token)).status).toBe(401)
  expect((await as('administrator', 'DELETE', `/api/tokens/${id}`)).status).toBe(204)
  expect((await ask('/api/studies', token)).status).toBe(401)
})

test('scripts of the console go out compressed to those who take that', async () => {
  const page = await http('GET', `${service.url}/`)
  const script = /assets\/[\w-]+\.js/.exec(page.text)![0]
  const ask = (path: string, encoding: string) => http('GET', `${service.url}/${path}`, { 'Accept-Encoding': encoding })
  const plain = await ask(script, 'identity')
  const small = await ask(script, 'gzip, deflate')
  expect([plain.headers['content-encoding'], small.headers['content-encoding']]).toEqual([undefined, 'gzip'])
  expect(gunzipSync(small.bytes).equals(plain.bytes)).toBe(true)
  expect(small.headers['content-type']).toBe(plain.headers['content-type'])
  expect(plain.headers.vary).toContain('Accept-Encoding')
  const gone = await ask('assets/gone-1.js', 'gzip')
  expect([gone.status, gone.headers['content-encoding']]).toEqual([404, undefined])
})

test('five wrong passwords lock an account, and an administrator unlocks it', async () => {
  await as('administrator', 'POST', '/api/accounts', { name: 'forgetful', role: 'viewer', password })
  for (let i = 0; i < 5; i++) expect((await signIn('forgetful', 'wrong password!')).status).toBe(401)
  expect((await signIn('forgetful')).status).toBe(401)
  const { json: accounts } = await as('administrator', 'GET', '/api/accounts')
  expect(accounts.find((a: { name: string }) => a.name === 'forgetful').locked).toBe(true)
  expect((await as('administrator', 'PATCH', '/api/accounts/forgetful', { unlock: true })).json.locked).toBe(false)
  expect((await signIn('forgetful')).status).toBe(200)
  const { json: trail } = await as('administrator', 'GET', '/api/audit?event=login&actor=forgetful')
  expect(trail.map((e: { outcome: string }) => e.outcome)).toEqual(['success', ...Array(6).fill('failure')])
})

test('an authenticator: a code is asked for, and taken once', async () => {
  await as('administrator', 'POST', '/api/accounts', { name: 'careful', role: 'radiologist', password })
  keep('careful', await signIn('careful'))
  const { json: begun } = await as('careful', 'POST', '/api/session/totp')
  const totp = new TOTP({ secret: Secret.fromBase32(begun.secret) })
  expect(begun.uri).toMatch(/^otpauth:\/\/totp\/Radbridge/)
  expect((await as('careful', 'PUT', '/api/session/totp', { code: '000000' })).status).toBe(409)
  expect((await as('careful', 'PUT', '/api/session/totp', { code: totp.generate() })).status).toBe(204)
  const without = await signIn('careful')
  expect(without).toMatchObject({ status: 401, json: { code: 'code-needed' } })
  const next = totp.generate({ timestamp: Date.now() + 30_000 })
  expect((await signIn('careful', password, totp.generate())).status).toBe(401) // it was used to confirm
  expect((await signIn('careful', password, next)).status).toBe(200)
  expect((await signIn('careful', password, next)).status).toBe(401)
})

test('sessions end: signed out, the role changed, the account disabled; the last administrator stays', async () => {
  await as('administrator', 'POST', '/api/accounts', { name: 'leaving', role: 'operator', password })
  keep('leaving', await signIn('leaving'))
  expect((await as('leaving', 'GET', '/api/studies')).status).toBe(200)
  expect((await as('leaving', 'DELETE', '/api/session')).json).toEqual({ address: null })
  expect((await as('leaving', 'GET', '/api/studies')).status).toBe(401)
  keep('leaving', await signIn('leaving'))
  await as('administrator', 'PATCH', '/api/accounts/leaving', { disabled: true })
  expect((await as('leaving', 'GET', '/api/studies')).status).toBe(401)
  expect((await signIn('leaving')).status).toBe(401)
  expect((await as('administrator', 'DELETE', '/api/accounts/leaving')).status).toBe(204)
  for (const change of [{ disabled: true }, { role: 'viewer' }])
    expect((await as('administrator', 'PATCH', '/api/accounts/administrator1', change)).status).toBe(409)
  expect((await as('administrator', 'DELETE', '/api/accounts/administrator1')).status).toBe(409)
})

test('cookies and headers are those of a careful service', async () => {
  expect(sessions.get('viewer')!.attributes).toMatch(/HttpOnly; SameSite=Lax/)
  const { headers } = await http('GET', `${service.url}/api/session`)
  expect(headers['content-security-policy']).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
  expect(headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  })
  expect(headers['strict-transport-security']).toBeUndefined() // without TLS it would be a promise that is not kept
  expect(headers['x-powered-by']).toBeUndefined()
})

test('signing in over and over is slowed down', async () => {
  const answers = await Promise.all(Array.from({ length: 25 }, () => signIn('nobody', 'x')))
  expect(answers.map(({ status }) => status)).toContain(429)
})
