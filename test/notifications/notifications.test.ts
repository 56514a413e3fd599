import { createHmac } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SMTPServer } from 'smtp-server'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { raise } from '../../src/notifications/raise.js'
import { isWithin, nextTime } from '../../src/platform/clock.js'
import { endpointsOf } from '../../src/platform/readEndpoints.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { http, startTestService, type TestService, until } from '../fixtures/service.js'

const secret = 'a secret of both sides'
const calls: { headers: Record<string, unknown>; body: string; path: string }[] = []
let failures = 0
const webhook = createServer((req, res) => {
  let body = ''
  req.on('data', chunk => (body += chunk))
  req.on('end', () => {
    if (failures-- > 0) return void res.writeHead(503).end()
    calls.push({ headers: req.headers, body, path: req.url! })
    res.end()
  })
})
const mails: string[] = []
const smtp = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  onData(stream, _session, done) {
    let text = ''
    stream.on('data', chunk => (text += chunk))
    stream.on('end', () => {
      mails.push(text)
      done()
    })
  },
})
/** Refuses whatever is delivered to it. */
const archive = createServer((req, res) => {
  req.resume()
  req.on('end', () => void res.writeHead(400).end())
})
let service: TestService
let hook: string

beforeAll(async () => {
  process.env.WEBHOOK_SECRET = secret
  await new Promise<void>(resolve => webhook.listen(0, '127.0.0.1', resolve))
  await new Promise<void>(resolve => archive.listen(0, '127.0.0.1', resolve))
  await new Promise<void>(resolve => smtp.listen(0, '127.0.0.1', resolve))
  hook = `http://127.0.0.1:${(webhook.address() as AddressInfo).port}`
  const configuration = join(mkdtempSync(join(tmpdir(), 'radbridge-notify-')), 'radbridge.yaml')
  writeFileSync(
    configuration,
    `http: { publicUrl: 'https://radbridge.example.org' }
mail: { host: 127.0.0.1, port: ${(smtp.server.address() as AddressInfo).port}, from: radbridge@example.org, tls: none }
`,
  )
  service = await startTestService({
    configuration,
    endpoints: `
destinations: [{ name: refusing, stow: { url: 'http://127.0.0.1:${(archive.address() as AddressInfo).port}/dicom-web' } }]
routes: [{ name: all, analysis: { primary: reference }, results: [sr], deliverTo: [refusing] }]
notifications:
  - name: on-call
    on: [urgent-finding]
    urgent: [{ type: { scheme: SCT, value: '27925004' }, quantity: { scheme: SCT, value: '103339001' }, above: 12 }]
    webhook: { url: '${hook}/on-call', secret: env:WEBHOOK_SECRET }
  - name: with-names
    on: [urgent-finding]
    urgent: [{ type: { scheme: SCT, value: '27925004' } }]
    email: { to: [radiology@example.org] }
    patient: true
  - name: administrators
    on: [dead-letter, study-failed, disk, provider-away, provider-back, canary-step, destination-away]
    email: { to: [it@example.org] }
    webhook: { url: '${hook}/it' }
`,
  })
})
afterAll(async () => {
  await service?.stop()
  webhook.close()
  archive.close()
  await new Promise<void>(resolve => smtp.close(resolve))
})

/** What is otherwise looked at once a minute. */
const observe = () => service.query(`select graphile_worker.add_job('observe')`)

const phantom: PhantomOptions = {
  size: 192,
  slices: 40,
  pixelSpacing: 1.7,
  sliceSpacing: 6,
  nodules: [{ center: [-85, 10, 10], diameter: 18 }],
  vessels: false,
  noise: 10,
  seed: 9,
  study: 'urgent',
  patientName: 'Urgent^Patient',
}
test('the first look remembers where it stands', async () => {
  await until('it has looked', async () => {
    await observe()
    const rows = await service.query(
      `select 1 from setting where name in ('observed dead letters', 'observed failed studies')`,
    )
    return rows.length === 2 || undefined
  })
})

test('an urgent finding is told at once, signed, without patient data, and with it where a rule says so', async () => {
  failures = 1 // it is tried again
  await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(await phantomFiles(phantom)),
  )
  const call = await until('the webhook is called', async () => calls.find(({ path }) => path === '/on-call'), 40)
  const message = JSON.parse(call.body)
  expect(message).toMatchObject({ event: 'urgent-finding', summary: expect.stringMatching(/Nodule.*Unverified/) })
  expect(message.link).toBe(`https://radbridge.example.org/#/studies/${message.study}`)
  expect(call.body).not.toMatch(/Urgent\^?Patient/i)
  const [, seconds, signature] = /^t=(\d+),sha256=([0-9a-f]{64})$/.exec(String(call.headers['x-radbridge-signature']))!
  expect(signature).toBe(createHmac('sha256', secret).update(`${seconds}.${call.body}`).digest('hex'))
  expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(60)
  const mail = await until('the mail comes', async () => mails.find(text => text.includes('radiology@example.org')))
  expect(mail).toMatch(/Urgent\^Patient/)
  // What is urgent goes before all others.
  const [event] = await service.query<{ detail: { urgent?: boolean } }>(
    `select detail from study_event where kind = 'reporting'`,
  )
  expect(event!.detail.urgent).toBe(true)
}, 180_000)

test('dead letters and failed studies are told once, by mail and webhook', async () => {
  const [dead] = await until('a dead letter, and with it a failed study', async () => {
    const rows = await service.query<{ id: number }>(
      `select d.id from delivery d join study_revision r using (study_instance_uid, revision) where d.state = 'dead' and r.state = 'failed'`,
    )
    return rows.length > 0 ? rows : undefined
  })
  const told = () => calls.filter(({ path }) => path === '/it').map(({ body }) => JSON.parse(body))
  const kinds = () =>
    told()
      .map(({ event }) => event)
      .sort()
  /** All that has happened is told, and nothing a second time. */
  const allIsTold = async (count: number) => {
    await until('both are told', async () => {
      await observe()
      return told().length >= count || undefined
    })
    for (let i = 0; i < 3; i++) await observe()
    await new Promise(resolve => setTimeout(resolve, 1500))
  }
  await allIsTold(2)
  expect(kinds()).toEqual(['dead-letter', 'study-failed'])
  await http('POST', `${service.url}/api/deliveries/${dead!.id}/retry`)
  await until('it is dead again, and the study has failed again', async () => {
    const rows = await service.query(
      `select 1 from delivery d join study_revision r using (study_instance_uid, revision)
        where d.state = 'dead' and r.state = 'failed' and (select count(*) from study_event where kind = 'failed') = 2`,
    )
    return rows.length > 0 || undefined
  })
  await allIsTold(4)
  expect(kinds()).toEqual(['dead-letter', 'dead-letter', 'study-failed', 'study-failed'])
  expect(told().find(({ event }) => event === 'dead-letter').summary).toMatch(
    /could not be delivered to refusing: .*400/,
  )
  expect(mails.filter(text => text.includes('it@example.org')).length).toBe(4)
}, 180_000)

test('a provider that went away and came back, a step of a canary, a destination that takes nothing', async () => {
  await service.query(
    `insert into provider_health (provider, up, problem, at) values ('lung-ai', true, null, now() - interval '3 minutes'),
       ('lung-ai', false, 'it answers 503', now() - interval '2 minutes'), ('lung-ai', true, null, now() - interval '1 minute')`,
  )
  await service.query(
    `insert into canary_decision (route, provider, from_percent, to_percent, reason) values ('all', 'next', 30, 10, 'down: 7 % failed')`,
  )
  await service.query(
    `update delivery set state = 'pending', attempts = 4, last_error = 'no answer' where state = 'dead'`,
  )
  const told = () => calls.filter(({ path }) => path === '/it').map(({ body }) => JSON.parse(body).summary as string)
  for (const words of [
    'Provider lung-ai is away: it answers 503',
    'Provider lung-ai is there again',
    'The share of next on route all went from 30 % to 10 %: down: 7 % failed',
    'Destination refusing takes nothing, 1 object waits: no answer',
  ])
    await until(words, async () => {
      await observe()
      return told().includes(words) || undefined
    })
}, 180_000)

test('a test says that it is one, and what is wrong with a rule', async () => {
  const sent = await http('POST', `${service.url}/api/notifications/administrators/test`)
  expect(sent.json.detail).toMatch(/127\.0\.0\.1:\d+, it@example\.org/)
  expect(calls.at(-1)!.body).toMatch(/This is a test/)
  failures = 1
  const failed = await http('POST', `${service.url}/api/notifications/on-call/test`)
  expect(failed).toMatchObject({ status: 502, json: { detail: expect.stringContaining('answered 503') } })
  const { json: rules } = await http('GET', `${service.url}/api/notifications`)
  expect(rules.map((rule: { name: string }) => rule.name)).toEqual(['on-call', 'with-names', 'administrators'])
})

test('what is over the limit of an hour is counted, not told; the same thing is told once', async () => {
  const { notifications } = endpointsOf({
    notifications: [{ name: 'few', on: ['disk'], webhook: { url: hook }, perHour: 2 }],
  }).endpoints
  const pool = {
    query: async (sql: string, values: unknown[]) => ({ rows: await service.query(sql, values) }),
  } as never
  for (const key of ['a', 'a', 'b', 'c', 'd'])
    await raise(pool, { event: 'disk', key, summary: `disk ${key}` }, notifications)
  const rows = await service.query<{ key: string; state: string }>(
    `select key, case when state = 'suppressed' then state else 'told' end state from notification where rule = 'few' order by id`,
  )
  expect(rows).toEqual([
    { key: 'a', state: 'told' },
    { key: 'b', state: 'told' },
    { key: 'c', state: 'suppressed' },
    { key: 'd', state: 'suppressed' },
  ])
})

test('quiet hours go by the clock of their place, over midnight and over a change of clocks', () => {
  const night = { from: '22:00', to: '06:00', timeZone: 'Europe/Berlin' }
  const at = (text: string) => new Date(text)
  expect(isWithin(night, at('2026-11-25T20:59:00Z'))).toBe(false)
  expect(isWithin(night, at('2026-11-25T21:00:00Z'))).toBe(true)
  expect(isWithin(night, at('2026-11-26T04:59:00Z'))).toBe(true)
  expect(isWithin(night, at('2026-11-26T05:00:00Z'))).toBe(false)
  expect(nextTime('06:00', 'Europe/Berlin', at('2026-11-25T23:30:20Z'))).toEqual(at('2026-11-26T05:00:00Z'))
  // In the night of 25 October 2026 the clocks of Berlin go back by an hour.
  expect(nextTime('06:00', 'Europe/Berlin', at('2026-10-24T22:30:00Z'))).toEqual(at('2026-10-25T05:00:00Z'))
})
