import { readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({
    endpoints: 'routes: [{ name: all, analysis: { primary: reference } }]\n',
    environment: { RADBRIDGE_QUIET_SECONDS: '1.5' },
  })
})
afterAll(() => service?.stop())

async function push(side: number) {
  const uids = freshUids()
  const bytes = instance({ ...uids, rows: side, columns: side })
  const { status } = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart([bytes]),
  )
  expect(status).toBe(200)
  const [row] = await service.query<{ blob_key: string }>('select blob_key from instance where sop_instance_uid = $1', [
    uids.instance,
  ])
  return { uids, bytes, file: join(service.dataDirectory, 'archive', row!.blob_key) }
}

const damages: [string, (file: string) => void][] = [
  [
    'changed',
    file => {
      const bytes = readFileSync(file)
      bytes[bytes.length - 10]! ^= 1
      writeFileSync(file, bytes)
    },
  ],
  ['cut short', file => truncateSync(file, 2000)],
  ['gone', file => unlinkSync(file)],
]

test.each(damages)(
  'of a file that was %s nobody gets bytes as if they were the instance',
  async (_name, damage) => {
    for (const side of [64, 1200]) {
      const { uids, bytes, file } = await push(side)
      const study = `${service.url}/dicom-web/studies/${uids.study}`
      const one = `${study}/series/${uids.series}/instances/${uids.instance}`
      const requests: [string, string][] = [
        [one, 'application/dicom; transfer-syntax=*'],
        [study, 'multipart/related; type="application/dicom"; transfer-syntax=*'],
        [study, 'application/zip; transfer-syntax=*'],
      ]
      for (const [url, Accept] of requests) {
        const { status, bytes: body } = await http('GET', url, { Accept })
        expect([status, body.includes(bytes)]).toEqual([200, true])
      }
      damage(file)
      for (const [url, Accept] of requests) {
        const began = performance.now()
        const answer = await http('GET', url, { Accept }).catch(() => undefined)
        expect(answer === undefined || answer.status === 500).toBe(true) // at once, and no wait for bytes that do not come
        expect(performance.now() - began).toBeLessThan(2000)
      }
      if (side === 64) expect((await http('GET', one, { Accept: requests[0]![1] })).status).toBe(500)
      // Nothing is concluded from it either.
      expect(await followStudy(service.url, uids.study)).toMatchObject({
        state: 'failed',
        reason: expect.stringContaining('is damaged'),
      })
    }
  },
  180_000,
)
