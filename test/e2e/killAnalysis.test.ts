import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { http, until } from '../fixtures/service.js'

// KILLS is what .ci/run asks for of the other test of this kind; there this one has 50 studies.
const [kills, studies] = process.env.KILLS ? [8, 50] : [3, 12]
/** So many analyses run at a time, and can be lost by one kill. */
const lanes = 2
const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-kill-analysis-'))
let fake: FakeProvider
let url: string
let environment: Record<string, string>
let child: ChildProcess

beforeAll(async () => {
  fake = await startFakeProvider()
  await fake.behave({ latency: 400 })
  writeFileSync(
    join(scratch, 'endpoints.yaml'),
    `providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}' }]\nroutes: [{ name: all, analysis: { primary: remote } }]\n`,
  )
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  environment = {
    ...(process.env as Record<string, string>),
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_HTTP_PORT: String(port),
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_QUIET_SECONDS: '1',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
    RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
    RADBRIDGE_LOG_LEVEL: 'error',
    NODE_OPTIONS: '',
  }
  await start()
})
afterAll(async () => {
  child?.kill('SIGTERM')
  if (child) await new Promise(resolve => child.once('exit', resolve))
  fake?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

async function start(): Promise<void> {
  child = spawn(process.execPath, [command, 'serve'], { env: environment, stdio: 'ignore' })
  await until('the service', async () =>
    (await http('GET', `${url}/readyz`).catch(() => undefined))?.status === 200 ? true : undefined,
  )
}

test(`${kills} SIGKILLs while ${studies} studies are analysed: each is completed once, and no call is repeated but those that were cut`, async () => {
  const sent = Array.from({ length: studies }, () => freshUids())
  for (const uids of sent) {
    const answer = await http(
      'POST',
      `${url}/dicom-web/studies`,
      { 'Content-Type': multipartType },
      multipart([instance(uids)]),
    )
    expect(answer.status).toBe(200)
  }
  await until('the first analysis', async () => {
    const { json } = await http('GET', `${url}/api/studies?state=analyzing`)
    return json.length > 0 ? true : undefined
  })
  for (let killed = 0; killed < kills; killed++) {
    await sleep(200 + Math.random() * 800)
    const exited = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
    await start()
  }
  for (const { study } of sent) {
    const seen = async () => (await http('GET', `${url}/api/studies/${study}`)).json
    await until(`study ${study}`, async () => ((await seen()).state === 'completed' ? true : undefined), 120).catch(
      async why => {
        // What became of it says more than that it took too long.
        throw new Error(`${why.message}: ${JSON.stringify(await seen(), null, 1)}`)
      },
    )
    const reports = await http('GET', `${url}/dicom-web/studies/${study}/instances?Modality=SR`)
    expect(reports.json).toHaveLength(1)
  }
  const calls = new Map<string, number>()
  for (const { study } of await fake.log()) calls.set(study!, (calls.get(study!) ?? 0) + 1)
  expect(calls.size).toBe(studies)
  expect(Math.max(...calls.values())).toBeLessThanOrEqual(1 + kills)
  expect([...calls.values()].reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(studies + lanes * kills)
}, 400_000)
