import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type BlobKey, type InstanceToIndex, indexInstances } from '../../src/archive/index.js'
import { startTestDatabase } from '../fixtures/database.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
beforeAll(async () => {
  base = await startTestDatabase()
})
afterAll(() => base?.stop())

let blobs = 0
function instance(study: string, series: string, number: number, patient = 'P1'): InstanceToIndex {
  return {
    sopInstanceUid: `${study}.${series}.${number}`,
    sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
    studyInstanceUid: study,
    seriesInstanceUid: `${study}.${series}`,
    transferSyntaxUid: '1.2.840.10008.1.2.1',
    header: { '00100020': { vr: 'LO', Value: [patient] }, '00080060': { vr: 'CS', Value: ['CT'] } },
    blobKey: `key-${blobs++}` as BlobKey,
    byteLength: 1000,
    crc32: 1,
    origin: 'received',
  }
}
const index = async (...instances: InstanceToIndex[]) =>
  (await indexInstances(base.database, instances, 30)).map(({ outcome }) => outcome)
const studyOf = async (uid: string) =>
  (
    await base.database.query(
      `select s.revision, inconsistent, (select array_agg(revision order by sop_instance_uid) from instance i where i.study_instance_uid = s.study_instance_uid) revisions,
              (select count(*)::int from graphile_worker.jobs where key = 'settle:' || s.study_instance_uid) jobs
         from study s where study_instance_uid = $1`,
      [uid],
    )
  ).rows[0]

test('instances of new and of known studies and series, in one batch and one by one', async () => {
  expect(await index(instance('1.1', '1', 1))).toEqual(['stored'])
  expect(await index(instance('1.1', '1', 2))).toEqual(['stored'])
  expect(await index(instance('1.1', '2', 1), instance('1.2', '1', 1), instance('1.1', '1', 3))).toEqual(
    Array(3).fill('stored'),
  )
  expect(await studyOf('1.1')).toEqual({ revision: 1, inconsistent: null, revisions: [1, 1, 1, 1], jobs: 1 })
  expect(await studyOf('1.2')).toMatchObject({ revisions: [1], jobs: 1 })
})

test('what is there, in the same batch or before, is told from what is new, and costs it nothing', async () => {
  await index(instance('2.1', '1', 1))
  const twice = instance('2.1', '1', 2)
  const other = { ...instance('2.1', '2', 1), sopInstanceUid: '2.1.1.1' }
  const elsewhere = { ...instance('2.2', '1', 1), seriesInstanceUid: '2.1.1' }
  const outcomes = await indexInstances(
    base.database,
    [instance('2.1', '1', 1), twice, { ...twice, blobKey: 'again' as BlobKey }, other, elsewhere],
    30,
  )
  expect(outcomes).toEqual([
    { outcome: 'present', storedBlobKey: expect.any(String) },
    { outcome: 'stored' },
    { outcome: 'present', storedBlobKey: twice.blobKey },
    { outcome: 'refused', reason: 0xa900, detail: 'this SOP Instance UID is stored in another series' },
    { outcome: 'refused', reason: 0xa900, detail: 'this Series Instance UID is stored in another study' },
  ])
  expect(await studyOf('2.1')).toMatchObject({ revisions: [1, 1] })
  expect(await studyOf('2.2')).toBeUndefined()
})

test('what comes after a study has settled opens one revision, whose instances are all that come until that settles', async () => {
  await index(instance('3.1', '1', 1))
  await base.database.query(`update study_revision set state = 'completed' where study_instance_uid = '3.1'`)
  await index(instance('3.1', '1', 2), instance('3.1', '2', 1))
  await index(instance('3.1', '1', 3))
  expect(await studyOf('3.1')).toMatchObject({ revision: 2, revisions: [1, 2, 2, 2] })
})

test('of a study of two patients it is known', async () => {
  await index(instance('4.1', '1', 1))
  await index(instance('4.1', '1', 2, 'P2'))
  expect((await studyOf('4.1'))!.inconsistent).toMatch(/two patients/)
})

test('an instance of a study that is being deleted makes it anew', async () => {
  await index(instance('5.1', '1', 1))
  const deleting = await base.database.connect()
  await deleting.query('begin')
  await deleting.query(`delete from study where study_instance_uid = '5.1'`)
  const arriving = index(instance('5.1', '1', 2))
  await sleep(300)
  await deleting.query('commit')
  deleting.release()
  expect(await arriving).toEqual(['stored'])
  expect(await studyOf('5.1')).toMatchObject({ revision: 1, revisions: [1] })
})
