import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type DicomJson, textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { phantomFiles, smallPhantom } from '../fixtures/phantom.js'
import { http, startTestService, type TestService, until } from '../fixtures/service.js'

// KILLS=10 is what .ci/run asks for, where the torture test kills many more; fewer keep `npm test` short.
const kills = Number(process.env.KILLS ?? 8)
const studies = Number(process.env.KILLS ? 20 : 6)
const slices = 24
const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-kill-'))
let pacs: TestService
let url: string
let environment: Record<string, string>
let child: ChildProcess | undefined

beforeAll(async () => {
  pacs = await startTestService({ endpoints: 'routes: []\n' })
  writeFileSync(
    join(scratch, 'endpoints.yaml'),
    `destinations: [{ name: pacs, stow: { url: '${pacs.url}/dicom-web' } }]
routes: [{ name: all, analysis: { primary: reference }, deliverTo: [pacs] }]\n`,
  )
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  environment = {
    ...(process.env as Record<string, string>),
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_HTTP_PORT: String(port),
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_QUIET_SECONDS: '2',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
    RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
    RADBRIDGE_LOG_LEVEL: 'warn',
    NODE_OPTIONS: '',
  }
  await start()
})
afterAll(async () => {
  if (child) {
    child.kill('SIGTERM')
    await new Promise(resolve => child!.once('exit', resolve))
  }
  await pacs?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

let output = ''
async function start(): Promise<void> {
  child = spawn(process.execPath, [command, 'serve'], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout!.on('data', data => (output += data))
  child.stderr!.on('data', data => (output += data))
  await until('the service', async () =>
    (await http('GET', `${url}/readyz`).catch(() => undefined))?.status === 200 ? true : undefined,
  )
}

/** SIGKILL: no handler runs. The service is started again at once. */
async function killAndRestart(): Promise<void> {
  const dying = child!
  const exited = new Promise(resolve => dying.once('exit', resolve))
  dying.kill('SIGKILL')
  await exited
  await start()
}

interface Sent {
  study: string
  instances: { path: string; bytes: Buffer }[]
}

/** Sends a study in four requests, each again until every instance of it is acknowledged. */
async function sendStudy(number: number): Promise<Sent> {
  const files = await phantomFiles({ ...smallPhantom, slices, seed: number, study: `kill-${number}` })
  const sent: Sent = { study: '', instances: [] }
  for (let at = 0; at < files.length; at += slices / 4) {
    const part = files.slice(at, at + slices / 4)
    const body = multipart(part)
    for (;;) {
      const answer = await http('POST', `${url}/dicom-web/studies`, { 'Content-Type': multipartType }, body).catch(
        () => undefined,
      )
      if (answer?.status === 200) break
      await sleep(50)
    }
    for (const bytes of part) {
      const header = readPart10Header(bytes, true)
      if (header.outcome !== 'header') throw new Error('no header')
      const { studyInstanceUid, seriesInstanceUid, sopInstanceUid } = header.header
      sent.study = studyInstanceUid
      sent.instances.push({
        path: `/studies/${studyInstanceUid}/series/${seriesInstanceUid}/instances/${sopInstanceUid}`,
        bytes,
      })
    }
  }
  return sent
}

test(`${kills} SIGKILLs over ${studies} studies: nothing acknowledged is lost, each study has one report at the PACS`, async () => {
  let killed = 0
  let sending = true
  const killer = (async () => {
    while (killed < kills) {
      await sleep(50 + Math.random() * 1500)
      await killAndRestart()
      killed++
    }
  })()
  const sent: Sent[] = []
  const pace = (kills * 2000) / studies // spread over all the kills
  for (let number = 1; number <= studies; number++) {
    const begun = Date.now()
    sent.push(await sendStudy(number))
    await sleep(Math.max(0, pace - (Date.now() - begun)))
  }
  sending = false
  await killer
  expect(sending).toBe(false)

  for (const { study, instances } of sent) {
    await until(
      `study ${study}`,
      async () => {
        const { json } = await http('GET', `${url}/api/studies/${study}`)
        return json.state === 'completed' ? true : undefined
      },
      120,
    ).catch(async error => {
      throw new Error(
        `${error.message}: ${(await http('GET', `${url}/api/studies/${study}`)).text}\n${output.slice(-2000)}`,
      )
    })
    for (const { path, bytes } of instances) {
      const response = await fetch(`${url}/dicom-web${path}`, { headers: { Accept: 'application/dicom' } })
      expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true)
    }
    const { json } = await http('GET', `${url}/api/studies/${study}`)
    expect(json.revision).toBe(1)
    const found = await http('GET', `${pacs.url}/dicom-web/studies/${study}/instances`)
    const classes = (found.json as DicomJson[]).map(object => textOf(object, '00080060'))
    expect(classes.sort()).toEqual(['SEG', 'SR']) // one of each
  }
}, 900_000)

test('PostgreSQL is killed: 503 with Retry-After meanwhile, then everything goes on', async () => {
  process.kill(
    Number(readFileSync(join(scratch, 'data', 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]),
    'SIGKILL',
  )
  const answers: number[] = []
  await until('the database', async () => {
    const { status, headers } = await http(
      'POST',
      `${url}/dicom-web/studies`,
      { 'Content-Type': multipartType },
      multipart([instance()]),
    )
    answers.push(status)
    const api = await http('GET', `${url}/api/studies`)
    expect([200, 503]).toContain(api.status)
    if (api.status === 503) expect(api.headers['retry-after']).toBeDefined()
    if (status === 503) expect(headers['retry-after']).toBeDefined()
    return status === 200 ? true : undefined
  })
  expect(answers).toContain(503)
  expect(new Set(answers)).toEqual(new Set([503, 200])) // never another error, never "stored" that is not
  const { study } = await sendStudy(1000)
  await until('the study', async () => {
    const { json } = await http('GET', `${url}/api/studies/${study}`)
    return json.state === 'completed' ? true : undefined
  })
})

test('a second process on the same data folder is refused, and the first goes on', async () => {
  const second = spawn(process.execPath, [command, 'serve'], {
    env: { ...environment, RADBRIDGE_HTTP_PORT: '0' },
    stdio: 'pipe',
  })
  let words = ''
  second.stderr.on('data', data => (words += data))
  const code = await new Promise(resolve => second.once('exit', resolve))
  expect(code).toBe(1)
  expect(words).toMatch(/data folder .* is in use by process \d+/)
  expect((await http('GET', `${url}/readyz`)).status).toBe(200)
})

test('SIGTERM finishes the request in hand, then the process ends cleanly', async () => {
  const body = multipart([instance({ rows: 64, columns: 64 })])
  const { request } = await import('node:http')
  const answer = new Promise<number | undefined>((resolve, reject) => {
    const req = request(`${url}/dicom-web/studies`, {
      method: 'POST',
      headers: { 'Content-Type': multipartType, 'Content-Length': body.length },
    })
    req.on('response', res => {
      res.resume()
      resolve(res.statusCode)
    })
    req.on('error', reject)
    req.write(body.subarray(0, 3000))
    setTimeout(() => child!.kill('SIGTERM'), 200)
    setTimeout(() => req.end(body.subarray(3000)), 700)
  })
  const exited = new Promise(resolve => child!.once('exit', code => resolve(code)))
  expect(await answer).toBe(200)
  expect(await exited).toBe(0)
  child = undefined
})
