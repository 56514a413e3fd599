import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect } from '@jest/globals'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'
import { buildPowerLoss, entriesBelow, losePower } from '../fixtures/powerLoss.js'
import { http } from '../fixtures/service.js'
import { Node, type Postgres, startPostgres } from '../torture/cluster.mjs'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-power-'))
const memory = existsSync('/dev/shm') ? mkdtempSync('/dev/shm/radbridge-power-') : scratch
const check = testWhere(hasProgram('cc') && process.platform === 'linux', 'no C compiler')
const endpoints = join(scratch, 'endpoints.yaml')
let postgres: Postgres
let library: string

beforeAll(async () => {
  if (!hasProgram('cc')) return
  library = buildPowerLoss(scratch)
  postgres = await startPostgres(join(scratch, 'database'))
  writeFileSync(endpoints, 'routes: []\n')
})
afterAll(async () => {
  await postgres?.stop()
  for (const folder of [scratch, memory]) rmSync(folder, { recursive: true, force: true })
})

interface Sent {
  path: string
  bytes: Buffer
}

let nodes = 0
const makeNode = (store: string, environment: Record<string, string>) =>
  Node.make('node', {
    folder: join(scratch, `node-${++nodes}`),
    store: `file:${store}`,
    databaseUrl: postgres.url,
    endpoints,
    environment: { RADBRIDGE_QUIET_SECONDS: '3600', RADBRIDGE_MINIMUM_FREE_BYTES: '0', ...environment },
  })

/** Sends until the node is gone. Small instances come in one write, large ones in several. */
async function send(url: string, acknowledged: Sent[]): Promise<void> {
  for (;;) {
    const sent = Array.from({ length: 1 + Math.floor(Math.random() * 3) }, () => {
      const uids = freshUids()
      const side = Math.random() < 0.2 ? 1400 : 64
      return {
        path: `/studies/${uids.study}/series/${uids.series}/instances/${uids.instance}`,
        bytes: instance({ ...uids, rows: side, columns: side }),
      }
    })
    const answer = await http(
      'POST',
      `${url}/dicom-web/studies`,
      { 'Content-Type': multipartType },
      multipart(sent.map(({ bytes }) => bytes)),
    ).catch(() => undefined)
    if (!answer) return
    if (answer.status === 200) acknowledged.push(...sent)
  }
}

/** Runs a node, cuts its power in the midst of receiving, and forgets what was not on the disk. */
async function runUntilPowerIsCut(
  store: string,
  acknowledged: Sent[],
  namesFollowFiles: boolean,
  more = {},
): Promise<number> {
  mkdirSync(store, { recursive: true })
  const before = entriesBelow(store)
  const log = join(scratch, `power-${nodes}.log`)
  const environment = {
    LD_PRELOAD: library,
    POWER_LOSS_ROOT: store,
    POWER_LOSS_LOG: log,
    UV_USE_IO_URING: '0',
    ...more,
  }
  const node = await (await makeNode(store, environment)).start()
  const senders = Promise.all(Array.from({ length: 4 }, () => send(node.url, acknowledged)))
  await sleep(300 + Math.random() * 900)
  await node.stop('SIGKILL')
  await senders
  return losePower(store, before, log, namesFollowFiles)
}

async function lostOf(acknowledged: readonly Sent[], store: string): Promise<number> {
  const node = await (await makeNode(store, {})).start()
  let lost = 0
  for (const { path, bytes } of acknowledged) {
    const answer = await http('GET', `${node.url}/dicom-web${path}`, { Accept: 'application/dicom' }).catch(
      () => undefined,
    )
    if (answer?.status !== 200 || !answer.bytes.equals(bytes)) lost++
  }
  await node.stop()
  return lost
}

describe.each([
  ['where a name needs a synchronization of its folder (tmpfs)', memory, false],
  ['where a name follows its file (ext4)', scratch, true],
])('power is cut in the midst of receiving, %s', (_name, folder, namesFollowFiles) => {
  check(
    'nothing that was acknowledged is lost',
    async () => {
      const store = join(folder, 'store')
      const acknowledged: Sent[] = []
      let forgotten = 0
      for (let cut = 0; cut < 5; cut++) forgotten += await runUntilPowerIsCut(store, acknowledged, namesFollowFiles)
      expect(acknowledged.length).toBeGreaterThan(50)
      expect(forgotten).toBeGreaterThan(0) // what was on its way when the power went
      expect(await lostOf(acknowledged, store)).toBe(0)
    },
    180_000,
  )

  check(
    'and this would be seen: with a disk that lies about what it has written it is lost',
    async () => {
      const store = join(folder, 'lies')
      const acknowledged: Sent[] = []
      await runUntilPowerIsCut(store, acknowledged, namesFollowFiles, { POWER_LOSS_LIES: '1' })
      expect(await lostOf(acknowledged, store)).toBe(acknowledged.length)
    },
    180_000,
  )
})
