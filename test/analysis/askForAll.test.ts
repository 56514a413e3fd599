import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { askForAll, RequestFailed } from '../../src/analysis/calling/askForAll.js'
import { Gate, GateClosed } from '../../src/analysis/calling/gate.js'

/** Numbers that only look random: the same in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
const options = { chunk: 50, concurrency: 10, maxAsks: 20, signal: new AbortController().signal }

describe('every item is accounted for', () => {
  test('500 images, 30 % silently dropped, 10 % of the requests failing: 500 results, none asked for twice once answered', async () => {
    const random = seeded(7)
    const answered = new Set<number>()
    let sent = 0
    const { results, missing, requests } = await askForAll(
      500,
      async indices => {
        sent += indices.length
        if (random() < 0.1) throw new RequestFailed('500')
        for (const index of indices) expect(answered.has(index)).toBe(false)
        const kept = indices.filter(() => random() >= 0.3)
        for (const index of kept) answered.add(index)
        return new Map(kept.map(index => [index, index * 2] as const))
      },
      { ...options, random: () => 0 },
    )
    expect(results.size).toBe(500)
    expect([...results].every(([index, result]) => result === index * 2)).toBe(true)
    expect(missing.size).toBe(0)
    // Had the losses been known before: 500 of 0.7 of 0.9, in chunks of 50.
    const minimum = Math.ceil(500 / 0.7 / 0.9 / 50)
    expect(requests).toBeLessThanOrEqual(1.6 * minimum)
    expect(sent).toBeLessThan(1.6 * (500 / 0.7 / 0.9))
  })

  test('what stays away is named, with the last reason, and the rest is there', async () => {
    const { results, missing } = await askForAll(
      10,
      async indices =>
        new Map(
          indices
            .filter(i => i !== 3)
            .map(i => [i, i === 4 ? { rejected: 'an outline leaves the image' } : i] as const),
        ),
      { ...options, chunk: 4, maxAsks: 3, random: () => 0 },
    )
    expect([...results.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, 5, 6, 7, 8, 9])
    expect(Object.fromEntries(missing)).toEqual({
      3: 'the provider left it out of its answer',
      4: 'an outline leaves the image',
    })
  })

  test('a request that is too large is halved until it is not', async () => {
    const sizes: number[] = []
    const { results } = await askForAll(
      16,
      async indices => {
        sizes.push(indices.length)
        if (indices.length > 4) throw new RequestFailed('413', 0, 'too-large')
        return new Map(indices.map(i => [i, i] as const))
      },
      { ...options, chunk: 16, concurrency: 1 },
    )
    expect([results.size, sizes.slice(0, 3)]).toEqual([16, [16, 8, 4]])
  })

  test('an error that is no answer ends it; so does the caller', async () => {
    const broken = askForAll(3, async () => Promise.reject(new Error('bug')), options)
    await expect(broken).rejects.toThrow('bug')
    const stop = new AbortController()
    const endless = askForAll(3, async () => new Map(), { ...options, maxAsks: 1000, signal: stop.signal })
    setTimeout(() => stop.abort(new Error('superseded')), 50)
    await expect(endless).rejects.toThrow('superseded')
  })
})

describe('the gate to a provider', () => {
  const signal = new AbortController().signal
  const failure = () => true

  test('lets so many in at a time', async () => {
    const gate = new Gate({ concurrency: 3 })
    let [now, most] = [0, 0]
    await Promise.all(
      Array.from({ length: 12 }, () =>
        gate.run(
          async () => {
            most = Math.max(most, ++now)
            await sleep(5)
            now--
          },
          failure,
          signal,
        ),
      ),
    )
    expect(most).toBe(3)
  })

  test('spreads starts over the minute, and waits when it is asked to', async () => {
    const gate = new Gate({ concurrency: 10, requestsPerMinute: 1200 }) // one in 50 ms
    const starts: number[] = []
    const call = () => gate.run(async () => void starts.push(performance.now()), failure, signal)
    await Promise.all([call(), call(), call()])
    expect(starts[2]! - starts[0]!).toBeGreaterThanOrEqual(95)
    gate.pause(0.2)
    const before = performance.now()
    await call()
    expect(performance.now() - before).toBeGreaterThanOrEqual(180)
  })

  test('closes after failures in a row, lets one probe through, and opens again when it succeeds', async () => {
    const gate = new Gate({ concurrency: 10, failuresToOpen: 3, openSeconds: 0.1 })
    const fail = () => gate.run(() => Promise.reject(new Error('503')), failure, signal)
    for (let i = 0; i < 3; i++) await expect(fail()).rejects.toThrow('503')
    expect(gate.state).toBe('open')
    await expect(fail()).rejects.toThrow(GateClosed)
    await sleep(120)
    let calls = 0
    const probe = () =>
      gate.run(
        async () => {
          calls++
          await sleep(20)
        },
        failure,
        signal,
      )
    const outcomes = await Promise.allSettled([probe(), probe(), probe()])
    expect([calls, outcomes.filter(outcome => outcome.status === 'fulfilled').length]).toEqual([1, 1])
    expect(gate.state).toBe('closed')
  })

  test('a refusal that is the caller’s fault does not close it', async () => {
    const gate = new Gate({ concurrency: 1, failuresToOpen: 1 })
    await expect(
      gate.run(
        () => Promise.reject(new Error('400')),
        () => false,
        signal,
      ),
    ).rejects.toThrow('400')
    expect(gate.state).toBe('closed')
  })
})
