import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  alarmsMarkdown,
  areaUnderCurve,
  differenceByChance,
  driftAlarms,
  qualityReports,
} from '../../src/admin/quality.js'
import { startTestDatabase } from '../fixtures/database.js'

describe('area under the ROC curve', () => {
  test('is the share of pairs that are in the right order, ties by half', () => {
    const value = fc.integer({ min: 0, max: 8 }).map(n => n / 8)
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 30 }),
        fc.array(value, { minLength: 1, maxLength: 30 }),
        (right, wrong) => {
          const pairs = right.flatMap(r => wrong.map((w): number => (r > w ? 1 : r === w ? 0.5 : 0)))
          const mean = pairs.reduce((sum, pair) => sum + pair, 0) / pairs.length
          expect(areaUnderCurve(right, wrong)!.value).toBeCloseTo(mean, 12)
        },
      ),
    )
  })
  test('has the interval of Hanley and McNeil', () => {
    // Their worked example: area 0.893, 51 and 58 patients, standard error 0.032.
    const { low, high, value } = areaUnderCurve(
      Array.from({ length: 51 }, (_, i) => (i < 45 ? 0.9 : 0.5)),
      Array.from({ length: 58 }, (_, i) => (i < 53 ? 0.1 : 0.7)),
    )!
    const q1 = value / (2 - value)
    const q2 = (2 * value * value) / (1 + value)
    const error = Math.sqrt((value * (1 - value) + 50 * (q1 - value ** 2) + 57 * (q2 - value ** 2)) / (51 * 58))
    expect(low).toBeCloseTo(value - 1.96 * error, 4)
    expect(high).toBeCloseTo(Math.min(1, value + 1.96 * error), 4)
  })
  test('is not given without findings of both kinds', () => {
    expect(areaUnderCurve([], [0.3])).toBeNull()
  })
})

test('a difference by chance: two-sided z test of two proportions', () => {
  expect(differenceByChance(20, 100, 20, 100)).toBeCloseTo(1, 6)
  expect(differenceByChance(0, 50, 0, 50)).toBe(1)
  expect(differenceByChance(50, 100, 30, 100)).toBeCloseTo(0.003892, 5) // z = 2.8868
})

describe('of verdicts in the database', () => {
  let base: Awaited<ReturnType<typeof startTestDatabase>>
  beforeAll(async () => {
    base = await startTestDatabase()
  })
  afterAll(() => base?.stop())

  async function analysed(n: number, daysAgo: number, verdicts: ['true-positive' | 'false-positive', number][]) {
    const { database } = base
    const study = `1.2.3.${n}`
    const findings = {
      algorithm: { name: 'Lung AI', version: '2', manufacturer: 'V' },
      items: verdicts.map(([, probability], i) => ({ trackingUid: `${study}.${i}`, probability })),
    }
    await database.query(`insert into study (study_instance_uid, attributes) values ($1, '{}')`, [study])
    await database.query(
      `insert into series (series_instance_uid, study_instance_uid, modality, attributes) values ($1, $2, 'CT', '{}')`,
      [`${study}.1`, study],
    )
    await database.query(
      `insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, revision, origin, source, sop_class_uid, transfer_syntax_uid, blob_key, byte_length, crc32, attributes, header)
       values ($1, $2, $3, 1, 'received', 'north', '1.2', '1.2', $1, 1, 1, '{}', '{}')`,
      [`${study}.1.1`, `${study}.1`, study],
    )
    await database.query(
      `insert into analysis (study_instance_uid, revision, route, provider, status, findings, finished_at)
       values ($1, 1, 'r', 'lung', $4, $2, now() - make_interval(days => $3))`,
      [study, JSON.stringify(findings), daysAgo, verdicts.length > 0 ? 'findings' : 'no-findings'],
    )
    for (const [i, [verdict]] of verdicts.entries())
      await database.query(
        `insert into verdict (study_instance_uid, tracking_uid, revision, verdict, at) values ($1, $2, 1, $3, now() - make_interval(days => $4))`,
        [study, `${study}.${i}`, verdict, daysAgo],
      )
  }

  test('by model, modality, site and role; and an alarm when it becomes worse', async () => {
    for (let n = 0; n < 40; n++) await analysed(n, 20, [['true-positive', 0.9]])
    for (let n = 40; n < 45; n++) await analysed(n, 20, [['false-positive', 0.4]])
    const period = { from: new Date(Date.now() - 30 * 86_400_000), to: new Date() }
    expect(await driftAlarms(base.database)).toEqual([])
    for (let n = 100; n < 140; n++) await analysed(n, 2, [['false-positive', 0.6]])
    const [report] = await qualityReports(base.database, period)
    expect(report).toMatchObject({
      provider: 'lung',
      model: 'Lung AI',
      version: '2',
      modality: 'CT',
      site: 'north',
      arm: 'primary',
    })
    expect(report!.falsePositives).toMatchObject({ value: 45 / 85, of: 85 })
    expect(report!.auc).toMatchObject({ value: 1, right: 40, wrong: 45 })
    const [alarm] = await driftAlarms(base.database)
    expect(alarm).toMatchObject({ provider: 'lung', what: 'false positives', lately: { value: 1 }, before: { of: 45 } })
    expect(alarm!.p).toBeLessThan(0.001)
    expect(alarmsMarkdown([alarm!])).toContain(
      '**lung** (primary): false positives 100 % of 40 in the last 7 days, 11 % of 45',
    )
  })
})
