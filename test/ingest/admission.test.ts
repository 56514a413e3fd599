import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import { Admission } from '../../src/ingest/admission.js'
import { instance, multipart, multipartType } from '../fixtures/part10.js'
import { http, startTestService } from '../fixtures/service.js'

const mebibyte = 1024 * 1024

test('so many bytes are on their way at one moment, and a transfer that has ended makes room, once', () => {
  const admission = new Admission(10 * mebibyte)
  const first = admission.enter('ct', 6 * mebibyte)!
  expect(admission.enter('ct', 5 * mebibyte)).toBeUndefined()
  const second = admission.enter('ct', 4 * mebibyte)!
  first()
  first()
  expect(admission.bytes).toBe(4 * mebibyte)
  second()
  expect(admission.bytes).toBe(0)
})

test('a transfer counts for what it can hold in memory, and a single one always gets in', () => {
  const admission = new Admission(4 * mebibyte)
  const leave = admission.enter('ct', 2 ** 40)!
  expect(admission.bytes).toBe(8 * mebibyte)
  expect(admission.enter('mr', 1)).toBeUndefined()
  leave()
})

test('a source that sends all it can leaves others their share', () => {
  const admission = new Admission(64 * mebibyte)
  const quiet = admission.enter('mr', mebibyte)!
  let greedy = 0
  while (admission.enter('ct', mebibyte)) greedy++
  expect(greedy).toBe(32) // with two of them, half
  let share = 1
  while (admission.enter('mr', mebibyte)) share++
  expect(share).toBe(32)
  quiet()
  expect(admission.enter('us', mebibyte)).toBeDefined() // a third gets what room there is
})

test('over the limit STOW-RS answers 503 with Retry-After before anything is read, and takes it a moment later', async () => {
  const service = await startTestService({ environment: { RADBRIDGE_MAX_BYTES_IN_FLIGHT: '1' } })
  try {
    const body = multipart([instance()])
    const post = () =>
      http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([instance()]))
    const begin = () => {
      const slow = request(`${service.url}/dicom-web/studies`, {
        method: 'POST',
        headers: { 'Content-Type': multipartType, 'Content-Length': body.length },
      })
      const answered = new Promise<number>(resolve => slow.on('response', res => resolve(res.resume().statusCode!)))
      slow.write(body.subarray(0, 1000))
      return { slow, answered }
    }
    let { slow, answered } = begin()
    let refused = await post()
    while (refused.status !== 503) {
      // The quick one may have been first, and the slow one refused.
      if (await Promise.race([answered.then(() => true), sleep(20).then(() => false)])) ({ slow, answered } = begin())
      refused = await post()
    }
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(refused.text).toContain('on its way in')
    slow.end(body.subarray(1000))
    expect(await answered).toBe(200)
    const again = await post()
    expect(again.status).toBe(200)
    expect((await http('GET', `${service.url}/metrics`)).text).toContain('radbridge_turned_away_total{source="none"}')
  } finally {
    await service.stop()
  }
})
