import { expect, test } from '@jest/globals'
import { dateBefore } from '../../src/pipeline/priorExamination.js'

test.each([
  ['20260601', 'P5Y', '20210601'],
  ['20260131', 'P1M', '20251231'],
  ['20260101', 'P1D', '20251231'],
  ['20240229', 'P1Y2M3D', '20221226'],
])('%s less %s is %s', (date, duration, expected) => {
  expect(dateBefore(date, duration)).toBe(expected)
})

test.each(['', '2026-06-01', 'garbage'])('before %j there is nothing', date => {
  expect(dateBefore(date, 'P1Y')).toBeUndefined()
})
