import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type Service, startService } from '../../src/main.js'
import { silentLog } from '../../src/platform/log.js'
import { loadSettings } from '../../src/platform/settings.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { freePort, testWhere } from '../fixtures/peers.js'
import { phantomFiles, smallPhantom } from '../fixtures/phantom.js'
import { followStudy, http, until } from '../fixtures/service.js'

const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-backup-'))
const data = join(scratch, 'data')
const archive = join(scratch, 'archive')
const backup = join(scratch, 'backup')
let service: Service | undefined
afterAll(async () => {
  await service?.stop()
  stopServer()
  rmSync(scratch, { recursive: true, force: true })
})
beforeAll(() => {
  mkdirSync(backup)
  writeFileSync(
    join(scratch, 'endpoints.yaml'),
    'routes: [{ name: all, analysis: { primary: reference }, results: [sr, seg] }]\n',
  )
})

/** PostgreSQL of Debian, as a hospital runs its own. */
const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').sort() : []
const binaries = join('/usr/lib/postgresql', versions.at(-1) ?? 'none', 'bin')
const account =
  process.getuid?.() === 0 && existsSync(binaries) ? Number(execFileSync('id', ['-u', 'postgres'])) : undefined
const asServer = account === undefined ? {} : { uid: account, gid: account }
let stopServer = () => {}

async function startServer(port: number): Promise<string> {
  const folder = join(scratch, 'server')
  chmodSync(scratch, 0o755)
  mkdirSync(folder)
  if (account !== undefined) chownSync(folder, account, account)
  execFileSync(
    join(binaries, 'initdb'),
    ['-D', folder, '-U', 'hospital', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8'],
    {
      ...asServer,
      stdio: 'ignore',
      cwd: '/',
    },
  )
  const server = spawn(
    join(binaries, 'postgres'),
    ['-D', folder, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-k', folder],
    {
      ...asServer,
      stdio: 'ignore',
      cwd: '/',
    },
  )
  stopServer = () => void server.kill('SIGQUIT')
  const url = `postgresql://hospital@127.0.0.1:${port}`
  await until('the server', async () => {
    try {
      execFileSync(join(binaries, 'pg_isready'), ['-d', `${url}/postgres`], { stdio: 'ignore' })
      return true
    } catch {
      return undefined
    }
  })
  return url
}

const environment = (url?: string) => ({
  RADBRIDGE_DATA_DIR: data,
  RADBRIDGE_STORAGE: `file:${archive}`,
  RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
  RADBRIDGE_HTTP_PORT: '0',
  RADBRIDGE_DIMSE_PORT: '0',
  RADBRIDGE_QUIET_SECONDS: '0.5',
  RADBRIDGE_MINIMUM_FREE_BYTES: '0',
  ...(url ? { DATABASE_URL: `${url}/radbridge` } : {}),
})
const start = async (url?: string) => (service = await startService(loadSettings(environment(url)), silentLog))
const stop = async () => {
  await service!.stop()
  service = undefined
}

/** @returns its UID, when it has completed */
async function pushStudy(name: string, files: Buffer[]): Promise<string> {
  const { text } = await http(
    'POST',
    `${service!.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(files),
  )
  const study = /studies\/([0-9.]+)/.exec(text)![1]!
  expect([name, (await followStudy(service!.url, study, 40)).state]).toEqual([name, 'completed'])
  return study
}
const filesOf = (study: string) => phantomFiles({ ...smallPhantom, study })

async function expectStudy(study: string, files: Buffer[]): Promise<void> {
  const { bytes, status } = await http('GET', `${service!.url}/dicom-web/studies/${study}`, {
    Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*',
  })
  expect(status).toBe(200)
  for (const file of files) expect(bytes.includes(file)).toBe(true)
  const { json } = await http('GET', `${service!.url}/api/studies/${study}`)
  expect(json).toMatchObject({ state: 'completed', instances: files.length })
  expect(json.results).toHaveLength(2)
}

testWhere(existsSync(join(binaries, 'pg_dump')), 'PostgreSQL is not installed')(
  'backed up while it runs, the dump first and then the files, and restored: all of the dump is there, and nothing is broken',
  async () => {
    const url = await startServer(await freePort())
    const client = (program: string, ...args: string[]) =>
      execFileSync(join(binaries, program), ['-d', `${url}/radbridge`, ...args])
    const sql = (text: string) =>
      execFileSync(join(binaries, 'psql'), ['-d', `${url}/postgres`, '-c', text], {
        stdio: 'ignore',
      })
    sql('create database radbridge')
    await start(url)
    const [first, second] = [await filesOf('first'), await filesOf('second')]
    const before = await pushStudy('first', first)
    client('pg_dump', '-Fc', '-f', join(backup, 'radbridge.dump'))
    const meanwhile = await pushStudy('second', second) // between the dump and the copy of the files
    cpSync(archive, join(backup, 'archive'), { recursive: true })
    await stop()

    sql('drop database radbridge')
    for (const folder of [archive, data]) rmSync(folder, { recursive: true })
    sql('create database radbridge')
    client('pg_restore', join(backup, 'radbridge.dump'))
    cpSync(join(backup, 'archive'), archive, { recursive: true })
    await start(url)
    await expectStudy(before, first)
    expect((await http('GET', `${service!.url}/api/studies/${meanwhile}`)).status).toBe(404)
    const verified = await http('GET', `${service!.url}/api/audit/verify`)
    expect(verified.status).toBe(200)
    await stop()
    const told = execFileSync(process.execPath, [command, 'fsck'], {
      env: { ...(process.env as Record<string, string>), ...environment(url), NODE_OPTIONS: '' },
      encoding: 'utf8',
    })
    expect(told).toContain('0 of them broken')
  },
  180_000,
)

test('stopped, copied and restored as a folder, with the embedded database in it', async () => {
  for (const folder of [archive, data]) rmSync(folder, { recursive: true, force: true })
  await start()
  const files = await filesOf('folder')
  const study = await pushStudy('folder', files)
  await stop()
  // cp -a: owners, too, since PostgreSQL asks for its own.
  const copy = (from: string, to: string) => execFileSync('cp', ['-a', from, to])
  copy(data, join(backup, 'data'))
  copy(archive, join(backup, 'archive-2'))
  for (const folder of [archive, data]) rmSync(folder, { recursive: true })
  copy(join(backup, 'data'), data)
  copy(join(backup, 'archive-2'), archive)
  await start()
  await expectStudy(study, files)
}, 180_000)
