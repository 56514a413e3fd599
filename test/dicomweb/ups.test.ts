import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { request } from 'undici'
import { WebSocket } from 'ws'
import type { DicomJson } from '../../src/dicom/dicomJson.js'
import { itemsOf, textOf } from '../../src/dicom/dicomJson.js'
import { randomUid } from '../../src/dicom/uid.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  process.env.UPS_TOKEN = 'token-of-a-worklist-user'
  service = await startTestService()
})
afterAll(() => service?.stop())

const web = () => `${service.url}/dicom-web`
const send = async (method: 'POST' | 'PUT' | 'DELETE', path: string, dataset?: DicomJson) => {
  const { statusCode, headers, body } = await request(`${web()}${path}`, {
    method,
    ...(dataset ? { headers: { 'Content-Type': 'application/dicom+json' }, body: JSON.stringify([dataset]) } : {}),
  })
  const text = await body.text()
  return { status: statusCode, headers, text }
}
const text = (vr: string, value: string) => ({ vr, Value: [value] })
const scheduled = (more: DicomJson = {}): DicomJson => ({
  '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Work^Item' }] },
  '00100020': text('LO', 'UPS-1'),
  '00741000': text('CS', 'SCHEDULED'),
  '00741200': text('CS', 'HIGH'),
  '00741204': text('LO', 'Read again'),
  ...more,
})
const claim = (state: string, transaction: string) => ({
  '00081195': text('UI', transaction),
  '00741000': text('CS', state),
})
const created = async (more?: DicomJson) => {
  const uid = randomUid()
  const answer = await send('POST', `/workitems?${uid}`, scheduled(more))
  expect(answer.status).toBe(201)
  expect(answer.headers.location).toBe(`${web()}/workitems/${uid}`)
  return uid
}
const read = async (uid: string) => (await http('GET', `${web()}/workitems/${uid}`)).json[0] as DicomJson

/** Collects the events of a subscriber. */
async function listen(aeTitle: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(`${web().replace('http', 'ws')}/subscribers/${aeTitle}`, { headers })
  const events: DicomJson[] = []
  socket.on('message', data => events.push(JSON.parse(String(data))))
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject))
  return { events, close: () => socket.close() }
}

describe('a workitem that others perform', () => {
  test('is created, found, claimed, worked on and completed; those who subscribe are told', async () => {
    const uid = await created()
    const { events, close } = await listen('WATCHER')
    expect((await send('POST', `/workitems/${uid}/subscribers/WATCHER`)).status).toBe(201)
    const found = await http(
      'GET',
      `${web()}/workitems?ProcedureStepState=SCHEDULED&PatientID=UPS-*&00741204=Read%20again`,
    )
    expect((found.json as DicomJson[]).map(entry => textOf(entry, '00080018'))).toContain(uid)

    const mine = randomUid()
    expect((await send('PUT', `/workitems/${uid}/state`, claim('IN PROGRESS', mine))).status).toBe(200)
    expect((await send('PUT', `/workitems/${uid}/state`, claim('IN PROGRESS', randomUid()))).headers.warning).toContain(
      'C302',
    )
    const progress = { '00741002': { vr: 'SQ', Value: [{ '00741004': text('DS', '50') }] } }
    const update = (dataset: DicomJson, transaction: string) =>
      send('POST', `/workitems/${uid}`, { ...dataset, '00081195': text('UI', transaction) })
    expect((await update(progress, randomUid())).headers.warning).toContain('C301')
    expect((await update(progress, mine)).status).toBe(200)
    expect((await send('PUT', `/workitems/${uid}/state`, claim('COMPLETED', mine))).headers.warning).toContain('C304')
    const done = {
      '00741216': {
        vr: 'SQ',
        Value: [{ '00404050': text('DT', '20260101'), '00404051': text('DT', '20260102'), '00404033': { vr: 'SQ' } }],
      },
    }
    expect((await update(done, mine)).status).toBe(200)
    expect((await send('PUT', `/workitems/${uid}/state`, claim('COMPLETED', mine))).status).toBe(200)
    const again = await send('PUT', `/workitems/${uid}/state`, claim('COMPLETED', mine))
    expect([again.status, String(again.headers.warning)]).toEqual([
      200,
      expect.stringContaining('already in the requested state'),
    ])
    expect((await update(progress, mine)).headers.warning).toContain('C300')

    const workitem = await read(uid)
    expect(textOf(workitem, '00741000')).toBe('COMPLETED')
    expect(workitem['00081195']).toBeUndefined() // the performer's secret
    await until('the events', async () => events.length >= 3 || undefined)
    expect(events.map(event => [event['00001002']!.Value![0], textOf(event, '00741000')])).toEqual([
      [1, 'IN PROGRESS'],
      [3, undefined],
      [1, 'COMPLETED'],
    ])
    expect(events.every(event => textOf(event, '00001000') === uid)).toBe(true)
    close()
  })
  test('is canceled by request while nobody has claimed it; afterwards its performer is told', async () => {
    const [free, taken] = [await created(), await created()]
    expect((await send('POST', `/workitems/${free}/cancelrequest`)).status).toBe(202)
    expect(textOf(await read(free), '00741000')).toBe('CANCELED')
    expect((await send('POST', `/workitems/${free}/cancelrequest`)).status).toBe(409)
    const mine = randomUid()
    await send('PUT', `/workitems/${taken}/state`, claim('IN PROGRESS', mine))
    const { events, close } = await listen('PERFORMER')
    await send('POST', `/workitems/${taken}/subscribers/PERFORMER`)
    await until('it listens', async () => {
      await send('POST', `/workitems/${taken}/cancelrequest`, { '00741238': text('LT', 'not needed') })
      return events.length > 0 || undefined
    })
    expect([events[0]!['00001002']!.Value, textOf(events[0]!, '00741238')]).toEqual([[2], 'not needed'])
    expect((await send('PUT', `/workitems/${taken}/state`, claim('CANCELED', mine))).status).toBe(200)
    expect(itemsOf(await read(taken), '00741002')[0]!['00404052']).toBeDefined()
    close()
  })
  test.each([
    ['without a state', { '00100020': text('LO', '1') }, 400],
    ['that is in progress', scheduled({ '00741000': text('CS', 'IN PROGRESS') }), 400],
    ['with a Transaction UID', scheduled({ '00081195': text('UI', '1.2') }), 400],
  ])('%s is not created', async (_, dataset, status) => {
    expect((await send('POST', `/workitems?${randomUid()}`, dataset as DicomJson)).status).toBe(status)
  })
  test('of a known UID, an unknown one, and without a data set', async () => {
    const uid = await created()
    expect((await send('POST', `/workitems?${uid}`, scheduled())).status).toBe(409)
    expect((await http('GET', `${web()}/workitems/1.2.3`)).status).toBe(404)
    expect((await send('POST', `/workitems/${uid}`)).status).toBe(415)
    expect((await send('PUT', `/workitems/${uid}/state`, claim('COMPLETED', '1.2.3'))).headers.warning).toContain(
      'C310',
    )
  })
})

test('an analysis is a workitem: watched from its beginning to its results, and nobody else can claim it', async () => {
  const all = '1.2.840.10008.5.1.4.34.5'
  const { events, close } = await listen('ALL')
  expect((await send('POST', `/workitems/${all}/subscribers/ALL`)).status).toBe(201)
  const uids = freshUids()
  await http('POST', `${web()}/studies`, { 'Content-Type': multipartType }, multipart([instance(uids)]))
  const ended = await followStudy(service.url, uids.study)
  expect(ended.state).toBe('completed')
  const found = await http('GET', `${web()}/workitems?StudyInstanceUID=${uids.study}`)
  const [workitem] = found.json as [DicomJson]
  expect(textOf(workitem, '00741000')).toBe('COMPLETED')
  expect(textOf(workitem, '00100020')).toBe('T-1')
  const uid = textOf(workitem, '00080018')!
  const states = () => events.filter(event => textOf(event, '00001000') === uid).map(event => textOf(event, '00741000'))
  await until('the events', async () => states().includes('COMPLETED') || undefined)
  expect(states().filter(Boolean)).toEqual(['SCHEDULED', 'IN PROGRESS', 'COMPLETED'])
  const [procedure] = itemsOf(workitem, '00741216')
  const references = itemsOf(procedure!, '00404033').flatMap(series => itemsOf(series, '00081199'))
  expect(references.length).toBe(ended.results.length)
  expect((await send('PUT', `/workitems/${uid}/state`, claim('CANCELED', '1.2.3'))).status).toBe(409)
  close()
  expect((await send('DELETE', `/workitems/${all}/subscribers/ALL`)).status).toBe(200)
})

test('a filtered subscription is for the workitems that match, those there are and those to come, until it is suspended', async () => {
  const filtered = '/workitems/1.2.840.10008.5.1.4.34.5.1'
  const label = (value: string) => ({ '00741204': text('LO', value) })
  const before = [await created(label('Mammography')), await created(label('Angiography'))]
  const { events, close } = await listen('FILTER')
  const filter = encodeURIComponent('ProcedureStepLabel=Mammo*,00741200=HIGH')
  expect((await send('POST', `${filtered}/subscribers/FILTER?filter=${filter}`)).status).toBe(201)
  const after = [await created(label('Mammography left')), await created(label('Angiography'))]
  for (const uid of [...before, ...after])
    await send('PUT', `/workitems/${uid}/state`, claim('IN PROGRESS', randomUid()))
  const told = () => [...new Set(events.map(event => textOf(event, '00001000')))]
  await until('the events', async () => (told().length >= 2 ? true : undefined))
  expect(told().sort()).toEqual([before[0], after[0]].sort())
  expect((await send('POST', `${filtered}/subscribers/FILTER/suspend`)).status).toBe(200)
  const later = await created(label('Mammography'))
  await new Promise(resolve => setTimeout(resolve, 300))
  expect(told()).not.toContain(later)
  for (const wrong of ['', '?filter=', '?filter=Mammography', '?filter=NoSuchAttribute=1'])
    expect((await send('POST', `${filtered}/subscribers/FILTER${wrong}`)).status).toBe(400)
  expect((await send('DELETE', `${filtered}/subscribers/FILTER`)).status).toBe(200)
  close()
})

test('an event that is too long for its channel is told without its content, and changes what it should', async () => {
  const uid = await created()
  const mine = randomUid()
  await send('PUT', `/workitems/${uid}/state`, claim('IN PROGRESS', mine))
  const { events, close } = await listen('LONG')
  await send('POST', `/workitems/${uid}/subscribers/LONG`)
  const progress = { '00741002': { vr: 'SQ', Value: [{ '00741006': text('ST', 'long '.repeat(3000)) }] } }
  expect((await send('POST', `/workitems/${uid}`, { ...progress, '00081195': text('UI', mine) })).status).toBe(200)
  await until('the event', async () => events.length > 0 || undefined)
  expect([events[0]!['00001002']!.Value, events[0]!['00741002']]).toEqual([[3], undefined])
  expect(textOf(itemsOf(await read(uid), '00741002')[0]!, '00741006')).toHaveLength(15_000)
  close()
})

test('requests for event channels that are none are refused, and harm nobody', async () => {
  const open = (path: string) =>
    new Promise<string>(resolve => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}${path}`)
      socket.once('error', error => resolve(error.message))
      socket.once('open', () => resolve('open'))
    })
  for (const path of ['/dicom-web/subscribers/%E0%A4%A', '/dicom-web/subscribers/', '/elsewhere'])
    expect(await open(path)).toContain('404')
  expect((await http('GET', `${service.url}/healthz`)).status).toBe(200)
})

test('event channels ask for the same access as everything else', async () => {
  const guarded = await startTestService({
    endpoints: 'sources: [{ name: ris, stow: { token: env:UPS_TOKEN } }]\nroutes: []\n',
  })
  const open = (headers: Record<string, string>) =>
    new Promise<string>(resolve => {
      const socket = new WebSocket(`${guarded.url.replace('http', 'ws')}/dicom-web/subscribers/AE`, { headers })
      socket.once('open', () => {
        socket.close()
        resolve('open')
      })
      socket.once('error', error => resolve(error.message))
    })
  expect(await open({})).toContain('401')
  expect(await open({ Authorization: 'Bearer token-of-a-worklist-user' })).toBe('open')
  await guarded.stop()
})

test('workitems are given as XML to those who ask for it, and to nobody as something else', async () => {
  const uid = await created()
  const xml = 'multipart/related; type="application/dicom+xml"'
  for (const path of [`/workitems/${uid}`, `/workitems?SOPInstanceUID=${uid}`]) {
    const answer = await http('GET', `${web()}${path}`, { Accept: xml })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toContain(xml)
    expect(answer.text).toContain(
      '<DicomAttribute tag="00741204" vr="LO" keyword="ProcedureStepLabel"><Value number="1">Read again</Value>',
    )
    expect(answer.text).not.toContain('TransactionUID')
  }
  expect((await http('GET', `${web()}/workitems?SOPInstanceUID=${randomUid()}`, { Accept: xml })).status).toBe(204)
  expect((await http('GET', `${web()}/workitems/${uid}`, { Accept: 'text/html' })).status).toBe(406)
})
