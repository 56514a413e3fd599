import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { startService } from '../../src/main.js'
import { silentLog } from '../../src/platform/log.js'
import { loadSettings } from '../../src/platform/settings.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
let dimse: number
beforeAll(async () => {
  dimse = await freePort()
  service = await startTestService({ environment: { RADBRIDGE_DIMSE_PORT: String(dimse) } })
})
afterAll(() => service?.stop())

const yaml = { 'Content-Type': 'application/yaml' }
const put = (text: string, query = '', headers: Record<string, string> = {}) =>
  http('PUT', `${service.url}/api/configuration${query}`, { ...yaml, ...headers }, text)
const current = async () => (await http('GET', `${service.url}/api/configuration`)).json.version as number
const apply = async (text: string, headers: Record<string, string> = {}) =>
  put(text, '', { 'If-Match': `"${await current()}"`, ...headers })
const push = async () => {
  const uids = freshUids()
  const body = multipart([instance(uids)])
  const { status } = await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, body)
  return { status, uid: uids.study }
}

test('a change is compared, put in force without a restart, kept with who made it, and taken back', async () => {
  const archiveOnly = 'routes: []\n'
  const dry = await put(archiveOnly, '?dryRun=true')
  expect(dry.json).toEqual({ version: 0, changes: [{ path: 'routes', kind: 'added', to: [] }] })
  expect(await current()).toBe(0)

  const applied = await put(archiveOnly, '?comment=archive%20only', { 'If-Match': '"0"' })
  expect(applied).toMatchObject({ status: 200, json: { version: 1 } })
  expect(applied.headers.etag).toBe('"1"')
  expect((await followStudy(service.url, (await push()).uid)).reason).toMatch(/no route is configured/)

  const folder = mkdtempSync(join(tmpdir(), 'radbridge-config-'))
  const withRoute = `
destinations: [{ name: files, folder: '${folder}' }]
routes: [{ name: all, analysis: { primary: reference }, reportOn: [not-applicable], results: [sr], deliverTo: [files] }]
`
  expect((await apply(withRoute)).json.version).toBe(2)
  const done = await followStudy(service.url, (await push()).uid)
  expect(done.deliveries).toEqual([expect.objectContaining({ destination: 'files', state: 'delivered' })])

  const back = await http(
    'POST',
    `${service.url}/api/configuration/rollback`,
    { 'Content-Type': 'application/json', 'If-Match': '"2"' },
    '{"version":1}',
  )
  expect(back.json.version).toBe(3)
  expect((await followStudy(service.url, (await push()).uid)).state).toBe('ignored')
  const { json: versions } = await http('GET', `${service.url}/api/configuration/versions`)
  expect(
    versions.map((v: { version: number; comment: string; restores: number | null }) => [
      v.version,
      v.comment,
      v.restores,
    ]),
  ).toEqual([
    [3, 'version 1 again', 1],
    [2, '', null],
    [1, 'archive only', null],
  ])
  const { json: trail } = await http('GET', `${service.url}/api/audit?event=configuration-changed`)
  expect(trail[0].data).toMatchObject({ actor: { name: 'anonymous' }, detail: { version: 3, restores: 1 } })
  expect((await http('GET', `${service.url}/api/configuration/versions/2?format=yaml`)).text).toContain('name: files')
  rmSync(folder, { recursive: true })
})

test('who shows nothing may do everything on this machine only: not under another name, and not through a proxy', async () => {
  const ask = async (headers: Record<string, string>) =>
    (await http('GET', `${service.url}/api/studies`, headers)).status
  expect(await ask({})).toBe(200)
  expect(await ask({ Host: 'localhost:1' })).toBe(200)
  expect(await ask({ Host: 'rebound.example' })).toBe(401)
  expect(await ask({ 'X-Forwarded-For': '10.0.0.7' })).toBe(401)
  expect(await ask({ Via: '1.1 proxy' })).toBe(401)
})

test('two who change the same version: the second one is told', async () => {
  const version = await current()
  expect((await put('routes: []\nsources: []\n', '', { 'If-Match': `"${version}"` })).status).toBe(200)
  const late = await put('routes: []\n', '', { 'If-Match': `"${version}"` })
  expect(late).toMatchObject({ status: 412, json: { version: version + 1 } })
  expect((await put('routes: []\n')).status).toBe(428)
})

test('what cannot be used changes nothing, and says where and why', async () => {
  const before = await current()
  const wrong = await apply('routes:\n  - name: r\n    analysis: { primary: reference }\n    delivrTo: [x]\n')
  expect(wrong.status).toBe(422)
  expect(wrong.json.errors).toEqual([
    { path: 'routes.0.delivrTo', line: 4, message: 'unknown setting routes.0.delivrTo; did you mean deliverTo?' },
  ])
  expect((await apply('routes: [')).json.errors[0]).toMatchObject({ line: 1 })
  const secret = await apply('sources: [{ name: pacs, stow: { token: env:NOBODY_HAS_SET_THIS } }]\n')
  expect(secret).toMatchObject({ status: 422, json: { detail: expect.stringContaining('env:NOBODY_HAS_SET_THIS') } })
  expect(await current()).toBe(before)
  expect((await push()).status).toBe(200) // the sources of before still hold
})

test('sources and application entities are those of the newest version at once', async () => {
  process.env.HOT_TOKEN = 'hot-token'
  expect((await apply('sources: [{ name: pacs, stow: { token: env:HOT_TOKEN } }]\nroutes: []\n')).status).toBe(200)
  expect((await push()).status).toBe(401)
  expect((await apply('routes: []\n')).status).toBe(200)
  expect((await push()).status).toBe(200)
})

test('a destination is tested before it is used', async () => {
  const closed = await freePort()
  const { json } = await put(
    `destinations: [{ name: away, stow: { url: 'http://127.0.0.1:${closed}/dicom-web' } }, { name: self, dimse: { aeTitle: RADBRIDGE, host: 127.0.0.1, port: ${dimse} } }]\nroutes: []\n`,
    '?dryRun=true&test=true',
  )
  expect(json.tests.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok])).toEqual([
    ['away', false],
    ['self', true],
  ])
})

test('routes are tried on stored studies and on a file, by a document that is not in force', async () => {
  const { uid } = await push()
  const document = { routes: [{ name: 'mr', match: { modality: ['MR'] }, analysis: { primary: 'reference' } }] }
  const tried = await http(
    'POST',
    `${service.url}/api/routes/try`,
    { 'Content-Type': 'application/json' },
    JSON.stringify({ document, study: uid }),
  )
  expect(tried.json.studies).toEqual([
    {
      studyInstanceUid: uid,
      route: null,
      explanation: [{ route: 'mr', matches: false, reason: expect.stringContaining('modality is') }],
    },
  ])
  const all = await http('POST', `${service.url}/api/routes/try`, { 'Content-Type': 'application/json' }, '{}')
  expect(all.json.counts).toEqual([{ route: null, studies: all.json.studies.length }])
  const ofFile = (bytes: Buffer) =>
    http(
      'POST',
      `${service.url}/api/routes/try`,
      { 'Content-Type': 'application/json' },
      JSON.stringify({ document, file: bytes.toString('base64') }),
    )
  expect((await ofFile(instance(freshUids()))).json.studies).toEqual([
    {
      studyInstanceUid: null,
      route: null,
      explanation: [{ route: 'mr', matches: false, reason: expect.stringContaining('modality is') }],
    },
  ])
  expect((await ofFile(Buffer.alloc(500))).status).toBe(422)
})

test('the endpoints file counts when it has changed; another node follows within seconds', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'radbridge-file-'))
  const file = join(scratch, 'endpoints.yaml')
  writeFileSync(file, 'routes: []\n')
  const settings = loadSettings({
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_ENDPOINTS: file,
    RADBRIDGE_HTTP_PORT: '0',
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
  })
  const read = async (url: string) => (await http('GET', `${url}/api/configuration`)).json
  let running = await startService(settings, silentLog)
  expect(await read(running.url)).toMatchObject({ version: 1, author: 'endpoints file', document: { routes: [] } })
  const changed = await http(
    'PUT',
    `${running.url}/api/configuration`,
    { ...yaml, 'If-Match': '"1"' },
    'destinations: [{ name: kept, folder: /tmp/kept }]\nroutes: []\n',
  )
  expect(changed.status).toBe(200)

  // A second node on the same database; the data folder is its own.
  const socket = join(scratch, 'data', 'postgres-socket')
  const second = await startService(
    loadSettings({
      RADBRIDGE_DATA_DIR: join(scratch, 'second'),
      DATABASE_URL: `postgresql://radbridge@localhost/radbridge?host=${socket}`,
      RADBRIDGE_HTTP_PORT: '0',
      RADBRIDGE_DIMSE_PORT: '0',
      RADBRIDGE_MINIMUM_FREE_BYTES: '0',
    }),
    silentLog,
  )
  await http(
    'PUT',
    `${running.url}/api/configuration`,
    { ...yaml, 'If-Match': '"2"' },
    'destinations: [{ name: later, folder: /tmp/later }]\nroutes: []\n',
  )
  await until('the other node has the newest version', async () => {
    const { json } = await http('POST', `${second.url}/api/endpoints/later/test`)
    return json.name === 'later' || undefined
  })
  await second.stop()
  await running.stop()

  running = await startService(settings, silentLog)
  expect((await read(running.url)).document.destinations[0].name).toBe('later') // the file is as it was
  await running.stop()
  writeFileSync(file, 'destinations: [{ name: new, folder: /tmp/new }]\nroutes: []\n')
  running = await startService(settings, silentLog)
  expect(await read(running.url)).toMatchObject({ version: 4, document: { destinations: [{ name: 'new' }] } })
  await running.stop()
  rmSync(scratch, { recursive: true, force: true })
}, 180_000)

test('work on a study: analysed again, cancelled, deleted', async () => {
  expect(
    (
      await apply(
        'routes: [{ name: all, analysis: { primary: reference }, reportOn: [not-applicable], results: [sr] }]\n',
      )
    ).status,
  ).toBe(200)
  const post = (path: string) => http('POST', `${service.url}/api/studies/${path}`)
  const { uid } = await push()
  expect((await post(`${uid}/analyze`)).status).toBe(409) // it is still receiving
  expect((await followStudy(service.url, uid)).state).toBe('completed')
  expect((await post(`${uid}/analyze`)).status).toBe(202)
  const again = await until('a second report', async () => {
    const study = await followStudy(service.url, uid)
    return study.results.length === 2 ? study : undefined
  })
  expect(again).toMatchObject({ revision: 2, state: 'completed' })
  expect((await post(`${uid}/deliver`)).status).toBe(409) // there is no destination
  expect((await post(`${uid}/cancel`)).status).toBe(409)
  const next = await push()
  expect((await post(`${next.uid}/cancel`)).status).toBe(202)
  expect(await followStudy(service.url, next.uid)).toMatchObject({ state: 'ignored', reason: 'cancelled' })
  const receiving = await push()
  expect((await http('DELETE', `${service.url}/api/studies/${receiving.uid}`)).status).toBe(409)
  expect((await http('DELETE', `${service.url}/api/studies/1.2.3.4`)).status).toBe(404)
  expect((await http('DELETE', `${service.url}/api/studies/${uid}`)).status).toBe(204)
  expect((await http('GET', `${service.url}/api/studies/${uid}`)).status).toBe(404)
  expect((await http('GET', `${service.url}/dicom-web/studies/${uid}`)).status).toBe(404)
  expect(await service.query('select 1 from instance where study_instance_uid = $1', [uid])).toEqual([])
  const { json } = await http('GET', `${service.url}/api/audit?event=study-deleted`)
  expect(json.map((entry: { data: { study: string } }) => entry.data.study)).toEqual([uid]) // and nothing that was refused
})
