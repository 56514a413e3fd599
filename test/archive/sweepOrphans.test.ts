import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { DirectoryStore, sweepOrphans } from '../../src/archive/index.js'
import { instance } from '../fixtures/part10.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const day = 24 * 60 * 60 * 1000
let service: TestService
let pool: pg.Pool

beforeAll(async () => {
  service = await startTestService({ endpoints: 'routes: []\n' })
  pool = new pg.Pool({
    host: `${service.dataDirectory}/postgres-socket`,
    user: 'radbridge',
    database: 'radbridge',
    options: '-c search_path=radbridge',
  })
})
afterAll(async () => {
  await pool?.end()
  await service?.stop()
})

test('removes files without an instance once they are a day old, and no others', async () => {
  const stored = instance()
  const answer = await http('POST', `${service.url}/dicom-web/studies`, { 'content-type': 'application/dicom' }, stored)
  expect(answer.status).toBe(200)
  const blobs = await DirectoryStore.open(`${service.dataDirectory}/archive`)
  const orphan = blobs.receive()
  orphan.write(Buffer.from('half an instance'))
  const path = blobs.pathOf(await orphan.keep())
  writeFileSync(join(dirname(path), '.DS_Store'), 'not ours')
  const files = () =>
    readdirSync(blobs.directory, { recursive: true, withFileTypes: true }).filter(entry => entry.name.endsWith('.dcm'))
      .length

  expect(await sweepOrphans(pool, blobs)).toBe(0)
  expect(files()).toBe(2)
  expect(await sweepOrphans(pool, blobs, new Date(Date.now() + day + 120_000))).toBe(1)
  expect(existsSync(path)).toBe(false)
  expect(files()).toBe(1)
  expect(existsSync(join(dirname(path), '.DS_Store'))).toBe(true)
})
