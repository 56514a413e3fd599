import { execFile } from 'node:child_process'
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from '@jest/globals'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { type Service, startService } from '../../src/main.js'
import { silentLog } from '../../src/platform/log.js'
import { loadSettings } from '../../src/platform/settings.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { followStudy, http, until } from '../fixtures/service.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-care-'))
const data = join(scratch, 'data')
const environment = {
  RADBRIDGE_DATA_DIR: data,
  RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
  RADBRIDGE_HTTP_PORT: '0',
  RADBRIDGE_DIMSE_PORT: '0',
  RADBRIDGE_QUIET_SECONDS: '0.5',
  RADBRIDGE_MINIMUM_FREE_BYTES: '0',
}
let service: Service | undefined
afterAll(async () => {
  await service?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

const start = async () => (service = await startService(loadSettings(environment), silentLog))
const stop = async () => {
  await service!.stop()
  service = undefined
}
const radbridge = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['dist/cli/index.js', ...args], {
    env: { ...process.env, ...environment },
  }).then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      out: error.stdout + error.stderr,
    }),
  )
const stored = () =>
  readdirSync(join(data, 'archive'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.name.endsWith('.dcm'))
    .map(entry => join(entry.parentPath, entry.name))
/** As if it had been there for an hour, in the folder of that time. */
const push = (bytes: Buffer[]) =>
  http('POST', `${service!.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(bytes))

const phantom: PhantomOptions = {
  size: 128,
  slices: 24,
  pixelSpacing: 2.6,
  sliceSpacing: 10,
  nodules: [{ center: [-85, 10, 10], diameter: 26 }],
  vessels: false,
  noise: 10,
  seed: 4,
  study: 'care',
}
let study: string
let files: Buffer[]

test('a lost database is rebuilt from the store: every instance byte for byte, and nothing is analysed or delivered again', async () => {
  writeFileSync(
    environment.RADBRIDGE_ENDPOINTS,
    `destinations: [{ name: files, folder: ${join(scratch, 'results')} }]\nroutes: [{ name: all, analysis: { primary: reference }, results: [sr, seg], deliverTo: [files] }]\n`,
  )
  await start()
  files = await phantomFiles(phantom)
  const answer = await push(files)
  study = /studies\/([0-9.]+)/.exec(answer.text)![1]!
  const before = await followStudy(service!.url, study, 40)
  expect(before).toMatchObject({ state: 'completed', instances: files.length })
  expect(before.results.length).toBeGreaterThan(1)
  expect((await radbridge('fsck')).out).toMatch(/data folder .* is in use/) // not beside a service that runs
  await stop()

  rmSync(join(data, 'postgres'), { recursive: true })
  const { code, out } = await radbridge('reindex')
  expect([code, out]).toEqual([
    0,
    expect.stringContaining(`${files.length + before.results.length} instances are in the index; 0 are no complete`),
  ])
  expect((await radbridge('reindex')).out).toMatch(/the index is not empty/)
  rmSync(join(scratch, 'results'), { recursive: true })
  await start()
  const after = (await http('GET', `${service!.url}/api/studies/${study}`)).json
  expect(after).toMatchObject({ state: 'completed', instances: files.length, deliveries: [], analyses: [] })
  expect(after.results.map((r: { sopInstanceUid: string }) => r.sopInstanceUid).sort()).toEqual(
    before.results.map(r => r.sopInstanceUid).sort(),
  )
  const found = await fetch(`${service!.url}/dicom-web/studies/${study}`, {
    headers: { Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
  })
  const body = Buffer.from(await found.arrayBuffer())
  for (const bytes of files) expect(body.includes(bytes)).toBe(true)
  await new Promise(resolve => setTimeout(resolve, 1500))
  expect(readdirSync(scratch)).not.toContain('results')
}, 180_000)

test('fsck finds what is gone, cut, changed or in no row; what is whole comes back', async () => {
  await stop()
  expect(await radbridge('fsck', '--checksums')).toMatchObject({ code: 0 })
  const [gone, cut, changed] = stored() as [string, string, string]
  const kept = [gone, cut, changed].map(path => readFileSync(path))
  rmSync(gone)
  writeFileSync(cut, kept[1]!.subarray(0, -10))
  const flipped = Buffer.from(kept[2]!)
  flipped[flipped.length - 5]! ^= 1
  writeFileSync(changed, flipped)
  const quick = await radbridge('fsck')
  expect(quick.code).toBe(1)
  expect(quick.out).toMatch(/the file is gone/)
  expect(quick.out).toMatch(/the file has another length/)
  expect(quick.out).not.toMatch(/other bytes/)
  expect((await radbridge('fsck', '--checksums')).out).toMatch(/the file has other bytes/)
  for (const [i, path] of [gone, cut, changed].entries()) writeFileSync(path, kept[i]!)

  // An instance that the index does not know, and the beginning of another one.
  const folder = dirname(gone)
  const uids = freshUids()
  writeFileSync(join(folder, '00000000-0000-4000-8000-000000000001.dcm'), instance(uids))
  writeFileSync(join(folder, '00000000-0000-4000-8000-000000000002.dcm'), files[0]!.subarray(0, 200))
  // Young files are left alone: they stand in a folder of an hour ago.
  const old = join(data, 'archive', '2026', '01', '01', '0000')
  const { mkdirSync } = await import('node:fs')
  mkdirSync(old, { recursive: true })
  for (const n of [1, 2]) {
    const name = `00000000-0000-4000-8000-00000000000${n}.dcm`
    copyFileSync(join(folder, name), join(old, name))
    rmSync(join(folder, name))
  }
  expect(await radbridge('fsck')).toMatchObject({ code: 1, out: expect.stringContaining('2 of them in no row') })
  const repaired = await radbridge('fsck', '--repair')
  expect(repaired).toMatchObject({ code: 0, out: expect.stringContaining('1 taken into the index') })
  expect(repaired.out).toContain('1 are no complete instances')
  await start()
  expect(await followStudy(service!.url, uids.study)).toMatchObject({ instances: 1 })
}, 180_000)

test('the nightly scrub finds what has changed on the disk, and tells it', async () => {
  const { json } = await http('GET', `${service!.url}/api/configuration`)
  await http(
    'PUT',
    `${service!.url}/api/configuration`,
    { 'Content-Type': 'application/json', 'If-Match': `"${json.version}"` },
    JSON.stringify({
      ...json.document,
      notifications: [{ name: 'it', on: ['store-damaged'], webhook: { url: 'http://127.0.0.1:9' } }],
    }),
  )
  const path = stored()[0]!
  const kept = readFileSync(path)
  const flipped = Buffer.from(kept)
  flipped[flipped.length - 5]! ^= 1
  writeFileSync(path, flipped)
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    host: join(data, 'postgres-socket'),
    user: 'radbridge',
    database: 'radbridge',
    options: '-c search_path=radbridge',
  })
  await client.connect()
  await client.query(`select graphile_worker.add_job('scrub')`)
  const told = await until('it is told', async () => {
    const { rows } = await client.query<{ summary: string }>(
      `select summary from notification where event = 'store-damaged'`,
    )
    return rows[0]
  })
  expect(told.summary).toMatch(/^1 of \d+ stored instances are not as they were stored/)
  await client.end()
  writeFileSync(path, kept)
}, 180_000)

test('the nightly sweep does not take the files of a lost index for leftovers', async () => {
  await stop()
  rmSync(join(data, 'postgres'), { recursive: true })
  const old = join(data, 'archive', '2026', '01', '02', '0000')
  const { mkdirSync } = await import('node:fs')
  mkdirSync(old, { recursive: true })
  const before = new Date(Date.now() - 3 * 86_400_000)
  for (let n = 0; n < 250; n++) {
    const path = join(old, `10000000-0000-4000-8000-${String(n).padStart(12, '0')}.dcm`)
    writeFileSync(path, instance(freshUids()))
    utimesSync(path, before, before)
  }
  await start()
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    host: join(data, 'postgres-socket'),
    user: 'radbridge',
    database: 'radbridge',
    options: '-c search_path=radbridge',
  })
  await client.connect()
  await client.query(`select graphile_worker.add_job('purge')`)
  await until('the purge is done', async () => {
    const { rows } = await client.query(`select 1 from graphile_worker.jobs where task_identifier = 'purge'`)
    return rows.length === 0 || undefined
  })
  expect(readdirSync(old).length).toBe(250)
  // The purge leaves the queue as it is: what comes afterwards is analysed.

  // A rule of retention deletes what it says, with its files, and says so.
  const uids = freshUids()
  await push([instance(uids)])
  await followStudy(service!.url, uids.study)
  const count = stored().length
  await http(
    'PUT',
    `${service!.url}/api/configuration`,
    { 'Content-Type': 'application/yaml', 'If-Match': '"1"' },
    'routes: []\nretention: [{ name: short, afterDays: 0.00001, states: [completed, ignored] }]\n',
  )
  await new Promise(resolve => setTimeout(resolve, 1000))
  await client.query(`select graphile_worker.add_job('purge')`)
  await until('the study is deleted', async () =>
    (await http('GET', `${service!.url}/api/studies/${uids.study}`)).status === 404 ? true : undefined,
  )
  await until('its file is deleted', async () => (stored().length < count ? true : undefined))
  const { json } = await http('GET', `${service!.url}/api/audit?event=study-deleted`)
  expect(json[0]).toMatchObject({ actor: 'radbridge', data: { study: uids.study, detail: { retention: 'short' } } })
  await client.end()
  expect(statSync(data).isDirectory()).toBe(true)
}, 180_000)
