import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { adoptFiles } from '../../src/archive/checkStore.js'
import { DirectoryStore } from '../../src/archive/index.js'
import { startTestDatabase } from '../fixtures/database.js'
import { freshUids, instance } from '../fixtures/part10.js'

const folder = mkdtempSync(join(tmpdir(), 'radbridge-adopt-'))
let base: Awaited<ReturnType<typeof startTestDatabase>>
let store: DirectoryStore
beforeAll(async () => {
  base = await startTestDatabase()
  store = await DirectoryStore.open(folder)
})
afterAll(async () => {
  await base?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function adopt(bytes: Buffer) {
  const blob = store.receive()
  blob.write(bytes)
  return adoptFiles(base.database, store, [await blob.keep()], false)
}

const whole = () => instance(freshUids())

test('a file that is whole is taken into the index, also one that came with zeros at its end', async () => {
  expect(await adopt(whole())).toMatchObject({ adopted: 1, unreadable: [] })
  expect(await adopt(Buffer.concat([whole(), Buffer.alloc(2)]))).toMatchObject({ adopted: 1, unreadable: [] })
})

test('what was being written when the process died is not: half of the pixels, or zeros behind the last block', async () => {
  const uids = freshUids()
  const bytes = instance(uids)
  expect((await adopt(bytes.subarray(0, bytes.length - 1))).unreadable).toHaveLength(1)
  expect((await adopt(Buffer.concat([bytes, Buffer.alloc(4096 - (bytes.length % 4096))]))).unreadable).toHaveLength(1)
  const { rows } = await base.database.query('select 1 from instance where sop_instance_uid = $1', [uids.instance])
  expect(rows).toEqual([])
})
