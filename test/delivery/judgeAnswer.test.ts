import { expect, test } from '@jest/globals'
import { delayBeforeRetry } from '../../src/delivery/index.js'
import { judgeAnswer } from '../../src/delivery/stowClient.js'

const uid = '1.2.3'
const list = (tag: string, sop: string, reason?: number) =>
  JSON.stringify({
    [tag]: {
      vr: 'SQ',
      Value: [
        { '00081155': { vr: 'UI', Value: [sop] }, ...(reason ? { '00081197': { vr: 'US', Value: [reason] } } : {}) },
      ],
    },
  })

test.each([
  ['stored', 200, list('00081199', uid), 'delivered'],
  ['stored, as an array', 200, `[${list('00081199', uid)}]`, 'delivered'],
  ['stored with warnings', 202, list('00081199', uid), 'delivered'],
  ['200 with an empty body', 200, '', 'unclear'],
  ['200 that lists another object', 200, list('00081199', '9.9'), 'unclear'],
  ['200 with HTML', 200, '<html>', 'unclear'],
  ['202 with our object among the failed', 202, list('00081198', uid, 0x0110), 'refused'],
  ['200 with our object failed for want of space', 200, list('00081198', uid, 0xa700), 'failed'],
  ['409: there already (0111)', 409, list('00081198', uid, 0x0111), 'unclear'],
  ['409: there already (45070)', 409, list('00081198', uid, 45070), 'unclear'],
  ['409: SOP class not supported', 409, list('00081198', uid, 0x0122), 'refused'],
  ['409 without words', 409, '', 'unclear'],
  ['400', 400, '', 'refused'],
  ['413', 413, '', 'refused'],
  ['415', 415, '', 'refused'],
  ['401', 401, '', 'failed'],
  ['408', 408, '', 'failed'],
  ['429', 429, '', 'failed'],
  ['500', 500, '', 'failed'],
  ['503', 503, '', 'failed'],
])('%s', (_name, status, body, outcome) => {
  expect(judgeAnswer(status, undefined, body, uid).outcome).toBe(outcome)
})

test('Retry-After in seconds and as a date', () => {
  expect(judgeAnswer(503, '17', '', uid)).toMatchObject({ retryAfterSeconds: 17 })
  const date = new Date(Date.now() + 60_000).toUTCString()
  const judged = judgeAnswer(503, date, '', uid) as { retryAfterSeconds: number }
  expect(judged.retryAfterSeconds).toBeGreaterThan(55)
  expect(judged.retryAfterSeconds).toBeLessThanOrEqual(60)
})

test('waits grow, are spread, are bounded, and heed Retry-After', () => {
  expect(delayBeforeRetry(1, 0, () => 1)).toBeCloseTo(2.2)
  expect(delayBeforeRetry(4, 0, () => 1)).toBeCloseTo(16.2)
  expect(delayBeforeRetry(30, 0, () => 1)).toBeCloseTo(900.2)
  expect(delayBeforeRetry(30, 0, () => 0)).toBeCloseTo(0.2)
  expect(delayBeforeRetry(1, 120, () => 0)).toBe(120)
})
