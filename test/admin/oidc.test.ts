import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { type IdentityProvider, startIdentityProvider } from '../fixtures/identityProvider.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

let identity: IdentityProvider
let service: TestService

beforeAll(async () => {
  // It warns that it is set up for a test.
  for (const way of ['warn', 'info'] as const) jest.spyOn(console, way).mockImplementation(() => {})
  process.env.OIDC_SECRET = 'a secret of the test'
  identity = await startIdentityProvider(process.env.OIDC_SECRET)
  const configuration = join(mkdtempSync(join(tmpdir(), 'radbridge-oidc-')), 'radbridge.yaml')
  writeFileSync(
    configuration,
    `auth:
  oidc:
    issuer: ${identity.issuer}
    clientId: radbridge
    clientSecret: env:OIDC_SECRET
    roles: { radiologist: [doctors], administrator: [pacs-admins] }
`,
  )
  service = await startTestService({ configuration })
  identity.allow(`${service.url}/api/session/oidc/callback`, `${service.url}/`)
})
afterAll(async () => {
  await service?.stop()
  identity?.close()
})

/** A browser with cookies for each host, that follows redirects until it is back at the console. */
class Browser {
  private readonly jars = new Map<string, Map<string, string>>()

  async open(address: string): Promise<{ url: string; status: number }> {
    let url = new URL(address)
    for (let hops = 0; hops < 12; hops++) {
      const jar = this.jars.get(url.host) ?? new Map<string, string>()
      this.jars.set(url.host, jar)
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
      const answer = await http('GET', url.href, cookie ? { Cookie: cookie } : {})
      for (const line of [answer.headers['set-cookie'] ?? []].flat()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
        if (value === '') jar.delete(name!)
        else jar.set(name!, value!)
      }
      if (answer.status < 300 || answer.status >= 400) return { url: url.href, status: answer.status }
      const next = new URL(String(answer.headers.location), url)
      if (next.origin === service.url && next.pathname === '/') return { url: next.href, status: 200 }
      url = next
    }
    throw new Error('too many redirects')
  }

  get cookie(): string {
    return `radbridge_session=${this.jars.get(new URL(service.url).host)?.get('radbridge_session')}`
  }
}

const start = () => `${service.url}/api/session/oidc`

test('who the provider vouches for has the role of its claim, until signing out here and there', async () => {
  expect((await http('GET', `${service.url}/api/studies`)).status).toBe(401)
  identity.user = { name: 'dr.jones', roles: ['staff', 'doctors'] }
  const browser = new Browser()
  expect((await browser.open(start())).url).toBe(`${service.url}/`)
  const { json: session } = await http('GET', `${service.url}/api/session`, { Cookie: browser.cookie })
  expect(session).toMatchObject({ name: 'dr.jones', role: 'radiologist', signIn: { oidc: true } })
  expect((await http('GET', `${service.url}/api/audit`, { Cookie: browser.cookie })).status).toBe(403)
  const out = await http('DELETE', `${service.url}/api/session`, {
    Cookie: browser.cookie,
    'X-CSRF-Token': session.csrf,
  })
  expect(out.json.address).toMatch(new RegExp(`^${identity.issuer}/session/end\\?`))
  expect((await http('GET', `${service.url}/api/studies`, { Cookie: browser.cookie })).status).toBe(401)
})

test('an administrator by the claim sees in the trail who signed in', async () => {
  identity.user = { name: 'it.admin', roles: ['pacs-admins', 'doctors'] }
  const browser = new Browser()
  await browser.open(start())
  const { json } = await http('GET', `${service.url}/api/audit?event=login`, { Cookie: browser.cookie })
  expect(json[0]).toMatchObject({ actor: 'it.admin', outcome: 'success', data: { detail: { how: 'oidc' } } })
})

test('a role that is none of ours is refused, with words', async () => {
  identity.user = { name: 'visitor', roles: ['visitors'] }
  const back = await new Browser().open(start())
  expect(decodeURIComponent(back.url)).toMatch(/#\/sign-in\?problem=.*none of your roles/)
})

test('an answer that did not begin here, or comes twice, is refused', async () => {
  const forged = `${service.url}/api/session/oidc/callback?code=stolen&state=invented`
  expect(decodeURIComponent((await new Browser().open(forged)).url)).toMatch(/problem=.*did not begin here/)
})

test('a session ends when its time is over', async () => {
  identity.user = { name: 'dr.jones', roles: ['doctors'] }
  const browser = new Browser()
  await browser.open(start())
  expect((await http('GET', `${service.url}/api/studies`, { Cookie: browser.cookie })).status).toBe(200)
  await service.query(`update session set expires_at = now() - interval '1 second'`)
  expect((await http('GET', `${service.url}/api/studies`, { Cookie: browser.cookie })).status).toBe(401)
  await browser.open(start())
  await service.query(`update session set seen_at = now() - interval '31 minutes'`)
  expect((await http('GET', `${service.url}/api/studies`, { Cookie: browser.cookie })).status).toBe(401)
})
