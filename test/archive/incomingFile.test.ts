import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { IncomingFile } from '../../src/archive/incomingFile.js'

const folder = mkdtempSync(join(tmpdir(), 'radbridge-incoming-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let possible: boolean[]
beforeAll(async () => {
  possible = (await IncomingFile.canBeDirect(folder)) ? [false, true] : [false]
})
const piece = 512 * 1024
let count = 0
const newPath = () => join(folder, String(count++))

test('it is found out whether a folder takes files past the cache, and nothing is left of that', async () => {
  expect(possible).toContain(false)
  expect(await IncomingFile.canBeDirect(join(folder, 'not-there'))).toBe(false)
  expect(await IncomingFile.canBeDirect('/proc')).toBe(false)
  expect(readdirSync(folder)).toEqual([])
})

describe.each([
  ['through the cache', false],
  ['past it', true],
])('%s', (_name, direct) => {
  const each = [0, 1, 4095, 4096, 4097, 65_536, piece - 1, piece, piece + 1, 3 * piece + 17]

  test.each(each)('a file of %d bytes has these, whatever the chunks they came in', async length => {
    if (!possible.includes(direct)) return
    const bytes = randomBytes(length)
    for (const chunk of [1500, 65_536, length + 1]) {
      const path = newPath()
      const file = new IncomingFile(path, direct)
      for (let at = 0; at < length; at += chunk) {
        const part = Buffer.from(bytes.subarray(at, at + chunk))
        const behind = file.write(part)
        part.fill(0xff) // it is a copy that is kept
        await behind
      }
      await file.finish()
      expect(readFileSync(path).equals(bytes)).toBe(true)
    }
  })

  test('a hundred at the same time do not get into one another', async () => {
    if (!possible.includes(direct)) return
    const contents = Array.from({ length: 100 }, (_, i) => Buffer.alloc(100_000 + i, i + 1))
    const paths = await Promise.all(
      contents.map(async bytes => {
        const path = newPath()
        const file = new IncomingFile(path, direct)
        for (let at = 0; at < bytes.length; at += 30_000) {
          await file.write(bytes.subarray(at, at + 30_000))
          await new Promise(setImmediate)
        }
        await file.finish()
        return path
      }),
    )
    for (const [i, path] of paths.entries()) expect(readFileSync(path).equals(contents[i]!)).toBe(true)
  })

  test('what the disk refuses is told at the end, and the sender is not held up', async () => {
    if (!possible.includes(direct)) return
    const path = newPath()
    writeFileSync(path, 'somebody else’s')
    const file = new IncomingFile(path, direct)
    for (let i = 0; i < 20; i++) await file.write(Buffer.alloc(piece))
    await expect(file.finish()).rejects.toMatchObject({ code: 'EEXIST' })
    await file.close()
    expect(readFileSync(path, 'utf8')).toBe('somebody else’s')
  })
})

test('a file is made when its folder is there, and not before', async () => {
  const path = newPath()
  let ready = () => {}
  const file = new IncomingFile(
    path,
    false,
    new Promise<void>(resolve => {
      ready = resolve
    }),
  )
  file.write(Buffer.from('early'))
  await new Promise(resolve => setTimeout(resolve, 20))
  expect(existsSync(path)).toBe(false)
  ready()
  await file.finish()
  expect(readFileSync(path, 'utf8')).toBe('early')
})
