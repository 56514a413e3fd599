import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'

test('800 mutated files are normalized or refused with a reason, and memory stays', () => {
  // The same as for the figure of docs/benchmarks.md, fewer.
  const output = execFileSync(process.execPath, ['bench/fuzz.mjs', '800', '42'], { encoding: 'utf8' })
  expect(output).not.toMatch(/CRASH|HANG/)
  const counts = [...output.matchAll(/^ {2}(normalized|refused with a reason): (\d+)/gm)].map(match => Number(match[2]))
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(800)
  expect(Math.min(...counts)).toBeGreaterThan(100)
  const [, early, late] = /after a quarter (\d+) MB, at the end (\d+) MB/.exec(output)!
  expect(Number(late)).toBeLessThan(Number(early) + 150)
})
