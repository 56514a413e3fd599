import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type Answer, answersSince, type BlobKey, countAnswers, keepAnswer } from '../../src/archive/index.js'
import { startTestDatabase } from '../fixtures/database.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
beforeAll(async () => {
  base = await startTestDatabase()
})
afterAll(() => base?.stop())

const answer = (n: number, over: Partial<Answer> = {}): Answer => ({
  source: 'box',
  studyInstanceUid: '1.2.3',
  sopInstanceUid: `1.2.3.${n}`,
  sopClassUid: '1.2.840.10008.5.1.4.1.1.88.34',
  blobKey: `key-${n}` as BlobKey,
  header: { '00081030': { vr: 'LO', Value: ['odd\0'] } },
  ...over,
})

test('answers are counted and read by source, study and time; a second one of a UID takes the place of the first', async () => {
  const since = new Date(Date.now() - 60_000)
  expect(await keepAnswer(base.database, answer(1))).toBeUndefined()
  await keepAnswer(base.database, answer(2))
  await keepAnswer(base.database, answer(3, { studyInstanceUid: '1.2.4' }))
  await keepAnswer(base.database, answer(1, { source: 'other box' }))
  expect(await keepAnswer(base.database, answer(1, { blobKey: 'newer' as BlobKey }))).toBe('key-1')
  const { count, quietFor } = await countAnswers(base.database, 'box', '1.2.3', since)
  expect(count).toBe(2)
  expect(quietFor).toBeLessThan(5)
  const read = await answersSince(base.database, 'box', '1.2.3', since)
  expect(read.map(({ blobKey }) => blobKey)).toEqual(['key-2', 'newer'])
  expect(read[0]!.header).toEqual({ '00081030': { vr: 'LO', Value: ['odd\ufffd'] } })
  expect(await countAnswers(base.database, 'box', '1.2.3', new Date(Date.now() + 60_000))).toEqual({
    count: 0,
    quietFor: 0,
  })
})
