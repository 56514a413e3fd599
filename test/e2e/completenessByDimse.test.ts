import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { notifyAvailability } from '../../src/dimse/instanceAvailability.js'
import { storeScu } from '../../src/dimse/storeScu.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

const folder = mkdtempSync(join(tmpdir(), 'radbridge-complete-'))
const ctClass = '1.2.840.10008.5.1.4.1.1.2'
let fake: FakeProvider
let pacs: TestService
let service: TestService
let port: number
const quietSeconds = 6
beforeAll(async () => {
  process.env.SENDER_TOKEN = 'token-of-a-sender'
  fake = await startFakeProvider()
  port = await freePort()
  const pacsPort = await freePort()
  // Another Radbridge that only archives is the PACS; it knows us as a move destination.
  pacs = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(pacsPort), RADBRIDGE_AE_TITLE: 'PACS' },
    endpoints: `
destinations: [{ name: ai, dimse: { aeTitle: RADBRIDGE, host: 127.0.0.1, port: ${port} } }]
routes: []
`,
  })
  service = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(port), RADBRIDGE_QUIET_SECONDS: String(quietSeconds) },
    endpoints: `
sources:
  - { name: pacs, dimse: { aeTitle: PACS, addresses: [127.0.0.0/8] } }
  - { name: ct, dimse: { aeTitle: CT01, addresses: [127.0.0.0/8] } }
  - { name: web, stow: { token: env:SENDER_TOKEN } }
  - { name: only-ct, dimse: { aeTitle: ONLYCT }, accept: { modalities: [CT], maxInstanceBytes: 20000 } }
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}' }]
destinations: [{ name: archive, dimse: { aeTitle: PACS, host: 127.0.0.1, port: ${pacsPort}, commit: true, notify: true } }]
routes: [{ name: all, analysis: { primary: remote }, deliverTo: [archive] }]
completeness:
  ask: [archive]
  afterSeconds: 1
  required:
    - { match: { description: two series }, series: [{ description: thin }, { description: thick, instances: 2 }] }
  waitSeconds: 9
`,
  })
}, 180_000)
afterAll(async () => {
  await service?.stop()
  await pacs?.stop()
  fake?.stop()
  rmSync(folder, { recursive: true, force: true })
})

let files = 0
const scuOf = (callingAeTitle: string) =>
  storeScu({ aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle, timeoutSeconds: 10 })
async function store(callingAeTitle: string, instances: readonly { bytes: Buffer; uid: string }[], pauseMs = 0) {
  const scu = scuOf(callingAeTitle)
  const outcomes = []
  for (const { bytes, uid } of instances) {
    const path = join(folder, `${++files}.dcm`)
    writeFileSync(path, bytes)
    const object = {
      path,
      byteLength: bytes.length,
      sopClassUid: ctClass,
      sopInstanceUid: uid,
      seriesInstanceUid: '',
      studyInstanceUid: '',
    }
    outcomes.push(await scu.deliver(object))
    await sleep(pauseMs)
  }
  await scu.close()
  return outcomes
}
const stow = (to: TestService, instances: readonly { bytes: Buffer }[]) =>
  http(
    'POST',
    `${to.url}/dicom-web/studies`,
    { 'Content-Type': multipartType, ...(to === service ? { Authorization: 'Bearer token-of-a-sender' } : {}) },
    multipart(instances.map(({ bytes }) => bytes)),
  )
function makeStudy(count: number, elements: (index: number) => Record<string, Buffer> = () => ({})) {
  const { study, instance: stem } = freshUids()
  const series = [freshUids().series, freshUids().series]
  const instances = Array.from({ length: count }, (_, i) => {
    const uid = `${stem.slice(0, 60)}.${i + 1}`
    const part = i % 2
    return { uid, part, bytes: instance({ study, series: series[part]!, instance: uid, elements: elements(i) }) }
  })
  return { study, series, instances }
}

test('four associations and two requests of two senders at once, a slow series and a lost instance: one analysis, of all of it, soon after the last', async () => {
  const { study, instances } = makeStudy(24)
  await stow(pacs, instances)
  const [lost, ...sent] = instances
  const slow = sent.slice(0, 4)
  const rest = sent.slice(4)
  const lane = (n: number) => rest.filter((_, i) => i % 5 === n)
  await Promise.all([
    store('PACS', lane(0)),
    store('CT01', lane(1)),
    store('PACS', lane(2)),
    store('CT01', slow, 900),
    stow(service, lane(3)),
    stow(service, lane(4)),
  ])
  const last = Date.now()
  const ended = await followStudy(service.url, study)
  expect([ended.state, ended.instances, ended.revision]).toEqual(['completed', 24, 1])
  const fetched = ended.timeline.find(({ kind }) => kind === 'missing instances fetched')!
  expect(fetched.detail).toMatchObject({ from: 'archive', missing: 1, fetched: 1 })
  const came = await service.query<{ source: string }>('select source from instance where sop_instance_uid = $1', [
    lost!.uid,
  ])
  expect(came[0]!.source).toBe('fetched from archive')
  expect(ended.analyses).toHaveLength(1)
  expect(ended.evidence.map(({ kind }) => kind)).toEqual(['complete'])
  const settled = ended.timeline.find(({ kind }) => kind === 'settled')!
  expect(new Date(settled.at).getTime() - last).toBeLessThan(3000)
  expect((await fake.log()).flatMap(request => request.images ?? []).length).toBeGreaterThanOrEqual(24)
}, 180_000)

test('a study that is whole goes on within three seconds of its last instance, and its delivery is committed and announced', async () => {
  const { study, instances } = makeStudy(6)
  await stow(pacs, instances)
  await store('CT01', instances)
  const last = Date.now()
  const ended = await followStudy(service.url, study)
  expect(ended.evidence).toMatchObject([{ kind: 'complete', reason: 'all 6 instances that archive has are here' }])
  const settled = ended.timeline.find(({ kind }) => kind === 'settled')!
  expect(new Date(settled.at).getTime() - last).toBeLessThan(3000)
  const details = ended.timeline.filter(({ kind }) => kind === 'delivered').map(({ detail }) => detail)
  expect(details.length).toBeGreaterThan(0)
  for (const detail of details) expect(detail).toMatchObject({ detail: 'stored and committed (storage commitment)' })
  const announced = await pacs.query('select 1 from announced_instance where study_instance_uid = $1', [study])
  expect(announced.length).toBe(details.length)
}, 180_000)

test('an availability notification says what belongs to a study: it goes on when that is here', async () => {
  const { study, series, instances } = makeStudy(3)
  await store('CT01', instances)
  const peer = { aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'CT01', timeoutSeconds: 5 }
  await notifyAvailability(peer, {
    studyInstanceUid: study,
    instances: instances.map(({ uid, part }) => ({
      sopClassUid: ctClass,
      sopInstanceUid: uid,
      seriesInstanceUid: series[part]!,
    })),
  })
  const ended = await followStudy(service.url, study)
  expect(ended.evidence).toMatchObject([{ kind: 'complete', reason: 'all 3 instances that were announced are here' }])
}, 180_000)

describe('required series', () => {
  const described = (index: number) => ({
    '00081030': element('00081030', 'LO', 'two series'),
    '0008103E': element('0008103E', 'LO', index % 2 ? 'thick' : 'thin'),
  })
  test('with all of them a study goes on at once', async () => {
    const { study, instances } = makeStudy(4, described)
    const before = Date.now()
    await store('CT01', instances)
    const ended = await followStudy(service.url, study)
    expect(Date.now() - before).toBeLessThan(quietSeconds * 1000)
    expect(ended.evidence).toMatchObject([{ kind: 'complete', reason: 'all 2 series that are required are here' }])
  }, 180_000)
  test('without one of them it waits longer than the quiet period, and says so; what comes then is late', async () => {
    const { study, instances } = makeStudy(4, described)
    const before = Date.now()
    await store(
      'CT01',
      instances.filter(({ part }) => part === 0),
    )
    const ended = await followStudy(service.url, study)
    expect(Date.now() - before).toBeGreaterThanOrEqual(8500)
    expect(ended.evidence).toMatchObject([{ kind: 'partial', reason: '1 of 2 series that are required are missing' }])
    await store(
      'CT01',
      instances.filter(({ part }) => part === 1),
    )
    const again = await followStudy(service.url, study)
    expect([again.revision, again.evidence.map(({ kind }) => kind)]).toEqual([2, ['complete', 'late']])
  }, 180_000)
})

test('rules of a source hold for what it sends', async () => {
  const sent = (elements: Record<string, Buffer>, pixels?: Buffer) => {
    const uids = freshUids()
    return {
      uid: uids.instance,
      bytes: instance({ ...uids, elements, ...(pixels ? { pixels, rows: 128, columns: 128 } : {}) }),
    }
  }
  const outcomes = await store('ONLYCT', [
    sent({}),
    sent({ '00080060': element('00080060', 'CS', 'MR') }),
    sent({}, Buffer.alloc(32_768)),
  ])
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['delivered', 'refused', 'failed'])
  expect(outcomes[1]!.detail).toContain('0122')
  expect(outcomes[2]!.detail).toContain('A700')
}, 180_000)
