import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { crc32 } from '@node-rs/crc32'
import { DamagedBlob, WholeReader } from '../../src/archive/index.js'

const folder = mkdtempSync(join(tmpdir(), 'radbridge-whole-'))
const reader = new WholeReader()
afterAll(async () => {
  await reader.close()
  rmSync(folder, { recursive: true, force: true })
})

function file(name: string, length: number) {
  const bytes = randomBytes(length)
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return { path, bytes, stored: { sopInstanceUid: '1.2', blobKey: name, byteLength: length, crc32: crc32(bytes) } }
}

test('files of all lengths come as they were stored, many at once, and memory is used again without mixing them', async () => {
  const files = [0, 1, 4096, 131_072, 131_073, 525_000, 2 * 1024 * 1024].map((length, i) => file(`${i}.dcm`, length))
  for (let round = 0; round < 8; round++)
    await Promise.all(
      files.map(async ({ path, bytes, stored }) => {
        const whole = await reader.read(path, stored)
        expect(whole.bytes.equals(bytes)).toBe(true)
        await new Promise(setImmediate)
        expect(whole.bytes.equals(bytes)).toBe(true)
        whole.release()
      }),
    )
})

test('what is not as it was stored is told as damaged, and the next file is read', async () => {
  const { path, stored, bytes } = file('damaged.dcm', 300_000)
  await expect(reader.read(path, { ...stored, crc32: stored.crc32 ^ 1 })).rejects.toThrow(DamagedBlob)
  await expect(reader.read(join(folder, 'absent.dcm'), stored)).rejects.toThrow(DamagedBlob)
  await expect(reader.read(folder, stored)).rejects.toThrow(/EISDIR/)
  expect((await reader.read(path, stored)).bytes.equals(bytes)).toBe(true)
  truncateSync(path, 299_999)
  await expect(reader.read(path, stored)).rejects.toThrow(DamagedBlob)
})

test('what a thread has in hand when it ends is told as failed, and the next file is read by another', async () => {
  const { path, stored, bytes } = file('again.dcm', 2 * 1024 * 1024)
  const readings = Promise.allSettled(Array.from({ length: 40 }, () => reader.read(path, stored)))
  await reader.close()
  for (const reading of await readings)
    if (reading.status === 'fulfilled') expect(reading.value.bytes.equals(bytes)).toBe(true)
    else expect(reading.reason.message).toContain('has ended')
  expect((await reader.read(path, stored)).bytes.equals(bytes)).toBe(true)
})
