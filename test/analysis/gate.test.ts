import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Gate, GateClosed, type GateLimits } from '../../src/analysis/calling/gate.js'
import { startTestDatabase } from '../fixtures/database.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
beforeAll(async () => {
  base = await startTestDatabase()
})
afterAll(() => base?.stop())

const signal = new AbortController().signal
const failure = () => true
let providers = 0
/** Gates of so many nodes to one provider. */
function gates(limits: Partial<GateLimits>, nodes = 1): Gate[] {
  const provider = `provider-${++providers}`
  return Array.from(
    { length: nodes },
    () => new Gate(base.database, provider, { concurrency: 10, timeoutSeconds: 5, ...limits }),
  )
}
const call = (gate: Gate, work: () => Promise<unknown> = async () => {}, abort = signal) =>
  gate.run(async () => ({ result: await work() }), failure, abort)

test('so many calls at a time, by two nodes together', async () => {
  const [a, b] = gates({ concurrency: 3 }, 2)
  let [now, most] = [0, 0]
  const work = async () => {
    most = Math.max(most, ++now)
    await sleep(15)
    now--
  }
  await Promise.all(Array.from({ length: 16 }, (_, i) => call(i % 2 ? a! : b!, work)))
  expect(most).toBe(3)
})

test('starts are spread over the minute, for two nodes together, and wait when they are asked to', async () => {
  const [a, b] = gates({ requestsPerMinute: 1200 }, 2) // one in 50 ms
  const starts: number[] = []
  const work = async () => void starts.push(performance.now())
  await Promise.all([call(a!, work), call(b!, work), call(a!, work), call(b!, work)])
  expect(starts.at(-1)! - starts[0]!).toBeGreaterThanOrEqual(140)
  await a!.pause(0.3)
  const before = performance.now()
  await call(b!)
  expect(performance.now() - before).toBeGreaterThanOrEqual(270)
})

test('units that a call used put off the next', async () => {
  const [gate] = gates({ unitsPerMinute: 6000 }) // 100 in a second
  await gate!.run(async () => ({ result: 0, units: 30 }), failure, signal)
  const before = performance.now()
  await call(gate!)
  expect(performance.now() - before).toBeGreaterThanOrEqual(270)
})

test('failures in a row close it for all nodes, one probe is let through, and its success opens it', async () => {
  const [a, b] = gates({ failuresToOpen: 3, openSeconds: 0.2 }, 2)
  for (let i = 0; i < 3; i++)
    await expect(call(i % 2 ? a! : b!, () => Promise.reject(new Error('503')))).rejects.toThrow('503')
  expect(await a!.closedFor()).toBeGreaterThan(0)
  await expect(call(b!)).rejects.toThrow(GateClosed)
  await sleep(220)
  let calls = 0
  const probe = (gate: Gate) =>
    call(gate, async () => {
      calls++
      await sleep(50)
    })
  const outcomes = await Promise.allSettled([probe(a!), probe(b!), probe(a!)])
  expect([calls, outcomes.filter(outcome => outcome.status === 'fulfilled').length]).toEqual([1, 1])
  expect(await b!.closedFor()).toBe(0)
  await call(b!)
})

test('a probe that fails closes it again', async () => {
  const [gate] = gates({ failuresToOpen: 1, openSeconds: 0.1 })
  const fail = () => call(gate!, () => Promise.reject(new Error('503')))
  await expect(fail()).rejects.toThrow('503')
  await sleep(110)
  await expect(fail()).rejects.toThrow('503')
  await expect(fail()).rejects.toThrow(GateClosed)
})

test('a refusal that is the caller’s fault does not close it', async () => {
  const [gate] = gates({ failuresToOpen: 1 })
  const refused = gate!.run(
    () => Promise.reject(new Error('400')),
    () => false,
    signal,
  )
  await expect(refused).rejects.toThrow('400')
  expect(await gate!.closedFor()).toBe(0)
})

test('a caller that gives up while it waits takes no place', async () => {
  const [gate] = gates({ concurrency: 1 })
  const stop = new AbortController()
  const first = call(gate!, () => sleep(100))
  const second = call(gate!, async () => {}, stop.signal)
  stop.abort(new Error('superseded'))
  await expect(second).rejects.toThrow('superseded')
  await first
  await call(gate!)
})

test('calls of a node that has died count until they would have timed out', async () => {
  const [gate] = gates({ concurrency: 1 })
  await call(gate!)
  await base.database.query(`insert into provider_call (provider, expires_at) values ($1, now() + interval '0.3 s')`, [
    `provider-${providers}`,
  ])
  const before = performance.now()
  await call(gate!)
  expect(performance.now() - before).toBeGreaterThanOrEqual(250)
})
