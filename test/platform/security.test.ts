import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'

test('every mitigation of the threat model names a test that is there', () => {
  const rows = [...readFileSync('docs/security.md', 'utf8').matchAll(/\| `(test\/[\w/.-]+\.ts): (.+)` \|$/gm)]
  expect(rows.length).toBeGreaterThan(25)
  const missing = rows
    .filter(([, file, name]) => !existsSync(file!) || !readFileSync(file!, 'utf8').includes(name!))
    .map(([row]) => row)
  expect(missing).toEqual([])
})
