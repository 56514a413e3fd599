import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Agent, request } from 'undici'
import { encodeCommand } from '../../src/dimse/command.js'
import { echo } from '../../src/dimse/echo.js'
import { associateRequest, dataHeader } from '../../src/dimse/pdu.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort } from '../fixtures/peers.js'
import { startTestService, type TestService, until } from '../fixtures/service.js'

const runs = 10_000
const lanes = 24
let service: TestService
let port: number
beforeAll(async () => {
  port = await freePort()
  service = await startTestService({
    endpoints: 'routes: []\n',
    environment: { RADBRIDGE_DIMSE_PORT: String(port), RADBRIDGE_QUIET_SECONDS: '3600', RADBRIDGE_IDLE_SECONDS: '5' },
  })
})
afterAll(() => service?.stop())

/** A generator that gives the same numbers in each run: what fails can be repeated. */
function random(seed: number) {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return (state >>> 0) % below
  }
}

/** Flips, cuts, doubles, moves and overwrites bytes. */
function mutated(bytes: Buffer, next: (below: number) => number): Buffer {
  let out = Buffer.from(bytes)
  for (let changes = 1 + next(4); changes > 0; changes--) {
    const at = next(out.length)
    const length = 1 + next(64)
    switch (next(6)) {
      case 0:
        out[at]! ^= 1 << next(8)
        break
      case 1:
        out[at] = next(256)
        break
      case 2:
        out = out.subarray(0, Math.max(1, at))
        break
      case 3:
        out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + length))])
        break
      case 4:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at, at + length), out.subarray(at)])
        break
      default:
        if (at + 4 <= out.length) out.writeUInt32BE([0xffffffff, 0, 0x7fffffff, 1][next(4)]!, at)
    }
    if (out.length === 0) out = Buffer.from([0])
  }
  return out
}

async function inLanes(work: (n: number) => Promise<void>): Promise<void> {
  let n = 0
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (n < runs) await work(n++)
    }),
  )
}

/** Files of the archive, and the rows that name them: what is refused leaves nothing behind. */
async function expectNoOrphans(): Promise<void> {
  await until('files and rows are as many', async () => {
    const files = readdirSync(join(service.dataDirectory, 'archive'), { recursive: true }).filter(name =>
      String(name).endsWith('.dcm'),
    ).length
    const [row] = await service.query<{ count: number }>('select count(*)::int count from instance')
    return files === row!.count || undefined
  })
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
/** Megabytes that are still used when what is not has been collected. */
const memory = () => {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1e6
}

test(`${runs} associations that are changed at random: none crashes, hangs or leaks`, async () => {
  const uids = freshUids()
  const file = instance(uids)
  const dataSet = file.subarray(132 + 12 + file.readUInt32LE(140))
  const command = encodeCommand({
    2: '1.2.840.10008.5.1.4.1.1.2',
    256: 1,
    272: 1,
    1792: 0,
    2048: 1,
    4096: uids.instance,
  })
  const query = encodeCommand({ 2: '1.2.840.10008.5.1.4.1.2.2.1', 256: 0x20, 272: 2, 1792: 0, 2048: 1 })
  const good = Buffer.concat([
    associateRequest('RADBRIDGE', 'FUZZ', [
      { id: 1, abstractSyntax: '1.2.840.10008.5.1.4.1.1.2', transferSyntaxes: ['1.2.840.10008.1.2.1'] },
      { id: 3, abstractSyntax: '1.2.840.10008.5.1.4.1.2.2.1', transferSyntaxes: ['1.2.840.10008.1.2.1'] },
    ]),
    dataHeader(1, command.length, true, true),
    command,
    dataHeader(1, dataSet.length, false, true),
    dataSet,
    dataHeader(3, query.length, true, true),
    query,
    dataHeader(3, 14, false, true),
    Buffer.from('08005200435306005354554459', 'hex'),
    Buffer.from(' '),
    Buffer.from('05000000000400000000', 'hex'),
  ])
  const next = random(1)
  const before = memory()
  await inLanes(
    () =>
      new Promise(resolve => {
        const socket = connect({ port, host: '127.0.0.1' })
        socket.on('error', () => {})
        socket.once('close', () => resolve())
        socket.resume()
        // Half of them hang up at once when all has been sent, the others read what they are told.
        socket.end(mutated(good, next))
        if (next(2)) setTimeout(() => socket.destroy(), 20)
      }),
  )
  await echo({ aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'AFTER', timeoutSeconds: 5 })
  await expectNoOrphans()
  expect(memory() - before).toBeLessThan(60)
}, 180_000)

test(`${runs} bodies of STOW-RS that are changed at random: each gets an honest answer, and nothing leaks`, async () => {
  const uids = freshUids()
  const files = [
    instance({ ...uids, rows: 4, columns: 4, pixels: Buffer.alloc(32) }),
    instance({ rows: 4, columns: 4, pixels: Buffer.alloc(32) }),
  ]
  const metadata = JSON.stringify([
    {
      '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
      '00080018': { vr: 'UI', Value: ['1.2.3.4.5'] },
      '0020000D': { vr: 'UI', Value: ['1.2.3.4'] },
      '0020000E': { vr: 'UI', Value: ['1.2.3.4.1'] },
      '00281201': { vr: 'OW', BulkDataURI: 'b' },
    },
  ])
  const bulk = `--BOUNDARY\r\nContent-Type: application/dicom+json\r\n\r\n${metadata}\r\n--BOUNDARY\r\nContent-Type: application/octet-stream\r\nContent-Location: b\r\n\r\nabcd\r\n--BOUNDARY--\r\n`
  const seeds = [
    { type: multipartType, body: multipart(files) },
    { type: 'multipart/related; type="application/dicom+json"; boundary=BOUNDARY', body: Buffer.from(bulk) },
  ]
  const next = random(2)
  const agent = new Agent({ connections: lanes, pipelining: 1 })
  const statuses = new Map<number, number>()
  const before = memory()
  await inLanes(async n => {
    const { type, body } = seeds[n % 2]!
    const { statusCode, body: answer } = await request(`${service.url}/dicom-web/studies`, {
      method: 'POST',
      dispatcher: agent,
      headers: { 'Content-Type': type },
      body: mutated(body, next),
    })
    await answer.dump()
    statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
  })
  await agent.close()
  expect([...statuses.keys()].filter(status => ![200, 202, 400, 409].includes(status))).toEqual([])
  expect([...statuses.values()].reduce((sum, count) => sum + count)).toBe(runs)
  expect(readdirSync(join(service.dataDirectory, 'scratch'))).toEqual([])
  await expectNoOrphans()
  expect(memory() - before).toBeLessThan(60)
}, 240_000)
