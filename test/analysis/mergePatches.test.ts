import { expect, test } from '@jest/globals'
import { patchOrigins, prepareImage, type TensorInput } from '../../src/analysis/calling/prepareImage.js'
import { mergePatches } from '../../src/analysis/providers/kserve/mergePatches.js'

const found = (over: object) => ({ label: 'nodule', measurements: [], ...over })
const size = { rows: 10, columns: 20 }

test('of one thing on two patches one box stays, the more confident one', () => {
  const { findings } = mergePatches(
    [
      { origin: { row: 0, column: 0 }, result: { findings: [found({ confidence: 0.6, box: [8, 2, 12, 6] })] } },
      {
        origin: { row: 0, column: 8 },
        result: {
          findings: [
            found({ confidence: 0.9, box: [0, 2, 4, 6] }),
            found({ label: 'mass', confidence: 0.5, box: [0, 2, 4, 6] }),
          ],
        },
      },
    ],
    size,
  )
  expect(findings.map(({ label, box, confidence }) => [label, box, confidence])).toEqual([
    ['nodule', [8, 2, 12, 6], 0.9],
    ['mass', [8, 2, 12, 6], 0.5],
  ])
})

test('masks are put together, and end at the edges of the image', () => {
  const { findings } = mergePatches(
    [
      { origin: { row: 0, column: 0 }, result: { findings: [found({ mask: [{ row: 1, column: 5, length: 7 }] })] } },
      {
        origin: { row: 0, column: 10 },
        result: {
          findings: [
            found({
              mask: [
                { row: 1, column: 0, length: 12 },
                { row: 11, column: 0, length: 3 },
              ],
            }),
          ],
        },
      },
    ],
    size,
  )
  expect(findings[0]!.mask).toEqual([{ row: 1, column: 5, length: 15 }])
})

test('a score is the highest of all patches', () => {
  const part = (confidence: number) => ({
    origin: { row: 0, column: 0 },
    result: { findings: [found({ confidence })] },
  })
  expect(mergePatches([part(0.6), part(0.8)], size).findings).toEqual([found({ confidence: 0.8 })])
})

test('patches cover the image, and hold its values; beyond it lies the lowest one', () => {
  const input: TensorInput = { rows: 4, columns: 4, channels: 1, layout: 'NCHW', mean: 0, std: 1 }
  expect(patchOrigins({ rows: 3, columns: 9 }, input, 1)).toEqual([0, 3, 5].map(column => ({ row: 0, column })))
  const samples = Int16Array.from({ length: 27 }, (_, i) => i - 5)
  const image = {
    rows: 3,
    columns: 9,
    samples,
    photometric: 'MONOCHROME2',
    bitsStored: 16,
    signed: true,
    rescale: { slope: 2, intercept: 1 },
    window: undefined,
    inverted: false,
  }
  const bytes = prepareImage({ kind: 'tensor', image, input, patches: [{ row: 0, column: 5 }] })
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, 16)
  expect([...values]).toEqual([1, 3, 5, 7, 19, 21, 23, 25, 37, 39, 41, 43, -9, -9, -9, -9])
})
