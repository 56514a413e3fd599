import { describe, expect, test } from '@jest/globals'
import { compareWithPrior, type Examination, volumeDoublingDays } from '../../src/analysis/compareWithPrior.js'
import type { Finding, Findings } from '../../src/analysis/findings.js'
import type { Vec3 } from '../../src/analysis/normalizedStudy.js'
import { concepts as c } from '../../src/dicom/concepts.js'

type Spot = {
  name: string
  at: Vec3
  volume?: number
  axis?: number
  side?: 'left' | 'right'
  kind?: 'nodule' | 'lung'
}

/** Findings whose centres are where they are said to be: one image a finding, its first pixel there. */
function examination(
  date: string,
  spots: readonly Spot[],
  options: { frame?: string; thickness?: number; status?: Findings['status'] } = {},
): Examination {
  const items = spots.map(
    ({ name, volume, axis, side, kind = 'nodule' }): Finding => ({
      trackingIdentifier: name,
      trackingUid: `2.25.${date}${[...name].map(letter => letter.charCodeAt(0)).join('')}`,
      type: kind === 'lung' ? c.lung : c.nodule,
      category: kind === 'lung' ? c.anatomicalStructure : c.morphologicallyAbnormalStructure,
      ...(side ? { laterality: c[side] } : {}),
      regions: [
        {
          sopInstanceUid: name,
          points: [
            [0, 0],
            [1, 0],
            [1, 1],
            [0, 1],
            [0, 0],
          ],
        },
      ],
      mask: { slices: [{ sopInstanceUid: name, runs: [{ row: 0, column: 0, length: 1 }] }] },
      measurements: [
        ...(volume === undefined ? [] : [{ quantity: c.volume, value: volume, unit: c.cubicMillimeter }]),
        ...(axis === undefined ? [] : [{ quantity: c.longAxis, value: axis, unit: c.millimeter }]),
      ],
      evaluations: [],
    }),
  )
  return {
    studyInstanceUid: `1.2.${date}`,
    studyDate: date,
    findings: {
      algorithm: { name: 'A', version: '1', manufacturer: 'M' },
      status: options.status ?? (items.length > 0 ? 'findings' : 'no-findings'),
      lookedFor: [c.nodule],
      items,
    },
    geometryOf: ({ sopInstanceUid }) => {
      const spot = spots.find(({ name }) => name === sopInstanceUid)
      return (
        spot && {
          position: spot.at,
          rowDirection: [1, 0, 0],
          columnDirection: [0, 1, 0],
          spacing: [1, 1],
          sliceThickness: options.thickness ?? 1,
          frameOfReferenceUid: options.frame ?? date,
        }
      )
    },
  }
}
const changes = ({ comparison }: Findings) =>
  Object.fromEntries(comparison!.lesions.map(({ trackingIdentifier, change }) => [trackingIdentifier, change]))

describe('lesions are found again', () => {
  test('and keep their tracking UID and name; others are new or resolved', () => {
    const prior = examination(
      '20250101',
      [
        { name: 'Nodule 1', at: [10, 0, 0], volume: 100 },
        { name: 'Nodule 2', at: [-40, 5, 60], volume: 200 },
        { name: 'Nodule 3', at: [50, 50, 50], volume: 90 },
      ],
      { frame: 'same' },
    )
    const current = examination(
      '20260101',
      [
        { name: 'Nodule 1', at: [-41, 5, 62], volume: 210 },
        { name: 'Nodule 2', at: [11, 1, 0], volume: 200 },
        { name: 'Nodule 3', at: [80, 0, 0], volume: 90 },
      ],
      { frame: 'same' },
    )
    const followed = compareWithPrior(current, prior)
    expect(followed.items.map(item => item.trackingIdentifier)).toEqual(['Nodule 2', 'Nodule 1', 'Nodule 4'])
    expect(followed.items[0]!.trackingUid).toBe(prior.findings.items[1]!.trackingUid)
    expect(followed.items[1]!.trackingUid).toBe(prior.findings.items[0]!.trackingUid)
    expect(followed.items[2]!.trackingUid).toBe(current.findings.items[2]!.trackingUid)
    expect(changes(followed)).toEqual({
      'Nodule 2': 'stable',
      'Nodule 1': 'grown',
      'Nodule 4': 'new',
      'Nodule 3': 'resolved',
    })
    expect(followed.comparison!.prior).toEqual({ studyInstanceUid: '1.2.20250101', studyDate: '20250101' })
  })

  test('after the patient was placed otherwise: organs first, then the lesions bring each other into place', () => {
    const shift: Vec3 = [12, -7, 480]
    const spots: Spot[] = [
      { name: 'Left lung', at: [70, 0, 0], kind: 'lung', side: 'left' },
      { name: 'Right lung', at: [-70, 0, 0], kind: 'lung', side: 'right' },
      { name: 'Nodule 1', at: [60, 10, 40], volume: 100, side: 'left' },
      { name: 'Nodule 2', at: [60, 10, 58], volume: 100, side: 'left' },
      { name: 'Nodule 3', at: [-60, 20, -40], volume: 100, side: 'right' },
    ]
    const moved = spots.map(spot => ({
      ...spot,
      // The lungs' key slices differ by some slices, as they do between examinations.
      at: spot.at.map((v, axis) => v + shift[axis]! + (spot.kind === 'lung' && axis === 2 ? 12 : 0)) as unknown as Vec3,
    }))
    const prior = examination('20250101', spots)
    const followed = compareWithPrior(examination('20260101', [...moved].reverse()), prior)
    expect(changes(followed)).toEqual({ 'Nodule 1': 'stable', 'Nodule 2': 'stable', 'Nodule 3': 'stable' })
    for (const item of followed.items)
      expect(item.trackingUid).toBe(
        prior.findings.items.find(p => p.trackingIdentifier === item.trackingIdentifier)!.trackingUid,
      )
  })

  test('never across sides, kinds or a fourfold of length', () => {
    const prior = examination('20250101', [{ name: 'Nodule 1', at: [0, 0, 0], axis: 4, side: 'left' }], { frame: 'f' })
    const other = (spot: Partial<Spot>) =>
      changes(
        compareWithPrior(
          examination('20260101', [{ name: 'Nodule 9', at: [0, 0, 0], axis: 4, side: 'left', ...spot }], {
            frame: 'f',
          }),
          prior,
        ),
      )
    expect(other({})).toEqual({ 'Nodule 1': 'stable' })
    expect(other({ side: 'right' })).toEqual({ 'Nodule 9': 'new', 'Nodule 1': 'resolved' })
    expect(other({ axis: 17 })).toEqual({ 'Nodule 9': 'new', 'Nodule 1': 'resolved' })
    expect(other({ at: [0, 0, 11] })).toEqual({ 'Nodule 9': 'new', 'Nodule 1': 'resolved' })
  })
})

describe('what is not known is not said', () => {
  const nodule: Spot = { name: 'Nodule 1', at: [0, 0, 0], volume: 100 }

  test('nothing is resolved in an incomplete examination, nothing new after one', () => {
    const full = examination('20250101', [nodule], { frame: 'f' })
    const part = examination('20260101', [], { frame: 'f', status: 'incomplete' })
    expect(compareWithPrior(part, full).comparison!.lesions).toEqual([])
    const partBefore = examination('20250101', [], { frame: 'f', status: 'incomplete' })
    expect(compareWithPrior(examination('20260101', [nodule], { frame: 'f' }), partBefore).comparison!.lesions).toEqual(
      [],
    )
  })

  test('slices of other thickness: no doubling time, and a caveat', () => {
    const prior = examination('20250101', [nodule], { frame: 'f', thickness: 5 })
    const grown = (thickness: number) =>
      compareWithPrior(examination('20260101', [{ ...nodule, volume: 200 }], { frame: 'f', thickness }), prior)
    expect(grown(5).comparison!.lesions[0]).toMatchObject({ change: 'grown', doublingDays: 365 })
    expect(grown(5).conclusion).toBeUndefined()
    expect(grown(1).comparison!.lesions[0]).not.toHaveProperty('doublingDays')
    expect(grown(1).conclusion).toMatch(/1 mm thick, in the prior examination 5 mm/)
  })

  test('quantities measured in another way are not compared', () => {
    const prior = examination('20250101', [nodule], { frame: 'f' })
    const current = examination('20260101', [nodule], { frame: 'f' })
    current.findings.items[0]!.measurements[0]!.method = c.segmentedVoxels
    expect(compareWithPrior(current, prior).comparison!.lesions[0]!.quantities).toEqual([])
  })
})

test.each([
  [100, 200, 365, 365],
  [100, 400, 365, 182.5],
  [240, 312, 180, 475.55],
])('a volume of %d that became %d in %d days doubles in %d', (from, to, days, doubling) => {
  expect(volumeDoublingDays(days, from, to)).toBeCloseTo(doubling, 1)
})
