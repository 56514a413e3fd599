import { describe, expect, test } from '@jest/globals'
import { askForAll, RequestFailed } from '../../src/analysis/calling/askForAll.js'

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

describe('a provider that is left alone', () => {
  test('is waited for, and what was not sent does not count as asked', async () => {
    let calls = 0
    const { results, requests } = await askForAll(
      4,
      async indices => {
        if (++calls === 2) throw new RequestFailed('left alone', 0.01, 'not-sent')
        return new Map(indices.map(i => [i, i] as const))
      },
      { ...options, maxAsks: 1, chunk: 2, concurrency: 1 },
    )
    expect([results.size, requests]).toEqual([4, 2])
  })

  test('for longer than an analysis waits puts the study off', async () => {
    const asked = askForAll(
      4,
      async ([first]) => {
        if (first === 0) return new Map([[0, 0] as const])
        throw new RequestFailed('left alone', 61, 'not-sent')
      },
      { ...options, chunk: 1, concurrency: 1 },
    )
    await expect(asked).rejects.toMatchObject({ awayForSeconds: 61, retryable: true })
  })
})
