import { expect, test } from '@jest/globals'
import { releaseMemory } from '../../src/platform/releaseMemory.js'

test('the memory of a whole buffer is given back at once', () => {
  const own = Buffer.allocUnsafeSlow(64 * 1024)
  releaseMemory(own)
  expect(own.length).toBe(0)
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 1000; i++) releaseMemory(Buffer.allocUnsafeSlow(64 * 1024))
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024)
})

test('a part of a larger one stays as it is: others may have other parts', () => {
  const whole = Buffer.alloc(64 * 1024, 7)
  const part = whole.subarray(0, 32 * 1024)
  releaseMemory(part)
  const pooled = Buffer.from('from the pool')
  releaseMemory(pooled)
  expect([part[0], whole.length, pooled.toString()]).toEqual([7, 64 * 1024, 'from the pool'])
})
