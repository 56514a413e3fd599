import { createSocket } from 'node:dgram'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SaxesParser } from 'saxes'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

const syslog = createSocket('udp4')
const messages: string[] = []
let service: TestService
let study: string

beforeAll(async () => {
  syslog.on('message', message => messages.push(message.toString()))
  await new Promise<void>(resolve => syslog.bind(0, '127.0.0.1', resolve))
  const { writeFileSync, mkdtempSync } = await import('node:fs')
  const folder = mkdtempSync('/tmp/radbridge-audit-')
  writeFileSync(
    `${folder}/radbridge.yaml`,
    `audit: { syslog: { url: 'udp://127.0.0.1:${(syslog.address() as AddressInfo).port}' } }\n`,
  )
  service = await startTestService({ configuration: `${folder}/radbridge.yaml` })
  const uids = freshUids()
  study = uids.study
  const body = multipart([instance(uids), instance({ ...freshUids(), study })])
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, body)
  await followStudy(service.url, study)
  const refused = multipart([
    instance({ ...freshUids(), series: uids.series }), // of another study
    instance({ ...freshUids(), series: uids.series, study: freshUids().study }),
    Buffer.from('no DICOM at all'),
  ])
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, refused)
  await http('GET', `${service.url}/dicom-web/studies/${study}`)
  await http('GET', `${service.url}/dicom-web/studies?PatientName=x`)
})
afterAll(async () => {
  await service?.stop()
  syslog.close()
})

const entries = async (event: string) => (await http('GET', `${service.url}/api/audit?event=${event}`)).json

test('transfers, accesses and queries are kept with who, what and how many', async () => {
  const received = await until('what was received is kept', async () =>
    (await entries('instances-received')).find((entry: { outcome: string }) => entry.outcome === 'success'),
  )
  expect(received).toMatchObject({ actor: 'unnamed sender', outcome: 'success', data: { study, instances: 2 } })
  expect((await entries('instances-accessed'))[0]).toMatchObject({ actor: 'anonymous', data: { study } })
  expect((await entries('query')).length).toBeGreaterThan(0)
  expect((await entries('application-start'))[0].data.detail.version).toMatch(/\d/)
  // What was searched for may be a patient.
  expect(JSON.stringify(await entries('query'))).not.toContain('PatientName')
})

test('instances that were refused are kept with who, why and how many, and told', async () => {
  const refusals = await until('what was refused is kept', async () => {
    const { json: found } = await http('GET', `${service.url}/api/refusals`)
    return found.length >= 3 ? found : undefined
  })
  const none = refusals.find((one: { studyInstanceUid: string | null }) => one.studyInstanceUid === null)
  expect(none).toMatchObject({ source: 'unnamed sender', instances: 1, status: expect.stringMatching(/^C/) })
  const other = refusals.find((one: { studyInstanceUid: string | null }) => one.studyInstanceUid !== null)
  expect(other).toMatchObject({ instances: 1, status: 'A900', reason: expect.stringContaining('Series Instance UID') })
  const { json: ofStudy } = await http('GET', `${service.url}/api/refusals?study=${other.studyInstanceUid}`)
  expect(ofStudy).toEqual([other])
  expect((await http('GET', `${service.url}/api/refusals?study=${study}`)).json).toEqual([])
  expect((await http('GET', `${service.url}/api/refusals?study=x`)).status).toBe(400)
  const counted = await until('the dashboard counts them', async () =>
    (await http('GET', `${service.url}/api/dashboard`)).json.refusedInstances === 3 ? true : undefined,
  )
  expect(counted).toBe(true)
  await until('the syslog server is told of a transfer that failed', async () =>
    messages.some(text => text.includes('110104') && text.includes('EventOutcomeIndicator="4"')) ? true : undefined,
  )
})

test('messages of DICOM go to the syslog server, each well-formed', async () => {
  await until('a message of the transfer', async () =>
    messages.some(text => text.includes('110104')) ? true : undefined,
  )
  for (const message of messages) {
    expect(message).toMatch(/^<8[45]>1 \S+Z \S+ radbridge \d+ DICOM\+RFC3881 - \uFEFF<\?xml/)
    const names: string[] = []
    const parser = new SaxesParser()
    parser.on('opentag', ({ name }) => names.push(name))
    parser.on('error', error => {
      throw error
    })
    parser.write(message.slice(message.indexOf('<?xml'))).close()
    expect(names.slice(0, 3)).toEqual(['AuditMessage', 'EventIdentification', 'EventID'])
    expect(names).toContain('AuditSourceIdentification')
  }
  const transfer = messages.find(text => text.includes('110104') && text.includes('Indicator="0"'))!
  expect(transfer).toContain(`ParticipantObjectID="${study}"`)
  expect(transfer).toContain('NumberOfInstances="2"')
})

test('an entry that is changed, taken out or added is found, and the database refuses to', async () => {
  const verify = async () => (await http('GET', `${service.url}/api/audit/verify`)).json
  const before = await verify()
  expect(before.intact).toBe(true)
  await expect(service.query(`update audit set actor = 'somebody else' where id = 1`)).rejects.toThrow(
    /only ever added/,
  )
  await expect(service.query('delete from audit')).rejects.toThrow(/only ever added/)
  await expect(service.query('truncate audit')).rejects.toThrow(/only ever added/)
  // Somebody who owns the database can get round that, and not round the hashes.
  await service.query('alter table audit disable trigger user')
  const tamper = async (change: string, undo: string) => {
    await service.query(change)
    const proof = await verify()
    await service.query(undo)
    return proof
  }
  await service.query('create table kept as select * from audit')
  expect(
    await tamper(
      `update audit set actor = 'x' where id = 2`,
      'update audit a set actor = k.actor from kept k where k.id = a.id',
    ),
  ).toMatchObject({ intact: false, brokenAt: 2 })
  expect(
    await tamper('delete from audit where id = 2', 'insert into audit select * from kept where id = 2'),
  ).toMatchObject({ intact: false, brokenAt: 3 })
  expect((await verify()).intact).toBe(true)
  await service.query('alter table audit enable trigger user')
})

test('the trail is exported with its hashes, or as DICOM audit messages; that is kept as well', async () => {
  const lines = (await http('GET', `${service.url}/api/audit/export`)).text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines[1].previous).toBe(lines[0].hash)
  expect(lines.at(-1).event).toBe('audit-log-used')
  const xml = (await http('GET', `${service.url}/api/audit/export?format=dicom`)).text
  const parser = new SaxesParser()
  parser.on('error', error => {
    throw error
  })
  parser.write(xml).close()
  expect(xml.match(/<AuditMessage>/g)!.length).toBe(lines.length + 1)
})
