import { describe, expect, test } from '@jest/globals'
import { placeOf, rampPercent } from '../../src/pipeline/canary.js'

const patients = Array.from({ length: 100_000 }, (_, i) => `PATIENT-${i}`)
const inside = (percent: number) => new Set(patients.filter(patient => placeOf(patient, 'CT\\\\CHEST') < percent))

describe('the share of a canary', () => {
  test.each([1, 10, 30, 60, 99])('of 100 000 patients %d %% are in it, within half a point', percent => {
    expect(Math.abs((inside(percent).size / patients.length) * 100 - percent)).toBeLessThan(0.5)
  })

  test('nobody is in at 0 %, everybody at 100 %', () => {
    expect([inside(0).size, inside(100).size]).toEqual([0, patients.length])
  })

  test('who is in stays in when it grows', () => {
    const [small, large] = [inside(10), inside(35)]
    expect([...small].every(patient => large.has(patient))).toBe(true)
  })

  test('a patient stands always in the same place, and for another kind of study in another', () => {
    expect(placeOf('P', 'CT')).toBe(placeOf('P', 'CT'))
    expect(placeOf('P', 'CT')).not.toBe(placeOf('P', 'DX'))
    expect(placeOf('P', 'CT')).toBeCloseTo(4.7776, 4)
  })
})

test.each([
  [0, 10],
  [1.99, 10],
  [2, 30],
  [5.5, 60],
  [400, 100],
])('after %d days the ramp is at %d %%', (days, percent) => {
  const ramp = [
    { day: 1, percent: 10 },
    { day: 3, percent: 30 },
    { day: 5, percent: 60 },
    { day: 7, percent: 100 },
  ]
  const start = new Date('2026-11-01T08:00:00Z')
  expect(rampPercent(ramp, start, new Date(start.getTime() + days * 86_400_000))).toBe(percent)
})
