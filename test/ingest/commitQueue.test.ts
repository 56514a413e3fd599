import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { BlobKey, BlobStore } from '../../src/archive/index.js'
import { explicitVrLittleEndian, findTransferSyntax } from '../../src/dicom/transferSyntaxes.js'
import { CommitQueue } from '../../src/ingest/commitQueue.js'
import type { ReceivedInstance } from '../../src/ingest/receiveInstance.js'
import { silentLog } from '../../src/platform/log.js'
import { startTestDatabase } from '../fixtures/database.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
let queue: CommitQueue
beforeAll(async () => {
  base = await startTestDatabase()
  queue = new CommitQueue({
    database: base.database,
    blobs: {} as BlobStore, // files are of no concern where no instance comes twice
    quietSeconds: 30,
    duplicatePolicy: 'keep',
    log: silentLog,
  })
})
afterAll(() => base?.stop())

function received(study: string, number: number): ReceivedInstance {
  return {
    outcome: 'received',
    header: {
      sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
      sopInstanceUid: `${study}.1.${number}`,
      studyInstanceUid: study,
      seriesInstanceUid: `${study}.1`,
      transferSyntax: findTransferSyntax(explicitVrLittleEndian)!,
      json: {},
    } as ReceivedInstance['header'],
    blobKey: `${study}-${number}` as BlobKey,
    byteLength: 1000,
    crc32: 1,
  }
}

const transactionsOf = async (study: string) =>
  (
    await base.database.query<{ count: number }>(
      'select count(distinct xmin::text)::int count from instance where study_instance_uid = $1',
      [study],
    )
  ).rows[0]!.count

test('instances that are made durable side by side share a transaction, though they come one after another', async () => {
  const counts: number[] = []
  for (let attempt = 0; attempt < 5; attempt++) {
    const study = `1.${attempt}`
    const arrivals = Array.from({ length: 6 }, (_, i) => sleep(i / 2).then(() => received(study, i)))
    const outcomes = arrivals.map(async arrival => queue.commit(await queue.expecting(arrival), undefined))
    expect(await Promise.all(outcomes)).toEqual(Array(6).fill({ outcome: 'stored', replaced: false }))
    counts.push(await transactionsOf(study))
  }
  expect(Math.min(...counts)).toBe(1) // on a busy machine one may come too late
})

test('nobody waits for an instance that takes long, or that fails', async () => {
  let arrive = () => {}
  const late = queue.expecting(new Promise<void>(resolve => (arrive = resolve)))
  const failing = queue.expecting(Promise.reject(new Error('the disk is full')))
  await expect(failing).rejects.toThrow('the disk is full')
  expect(await queue.commit(await queue.expecting(Promise.resolve(received('2.1', 1))), undefined)).toMatchObject({
    outcome: 'stored',
  })
  arrive()
  await late
  expect(await queue.commit(received('2.1', 2), undefined)).toMatchObject({ outcome: 'stored' })
})
