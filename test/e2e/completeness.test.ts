import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let fake: FakeProvider
let pacs: TestService
let service: TestService
const quietSeconds = 4
beforeAll(async () => {
  fake = await startFakeProvider()
  // Another Radbridge that only archives is the PACS.
  pacs = await startTestService({ endpoints: 'routes: []\n' })
  service = await startTestService({
    environment: { RADBRIDGE_QUIET_SECONDS: String(quietSeconds) },
    endpoints: `
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}', maxRetries: 1 }]
destinations: [{ name: pacs, stow: { url: '${pacs.url}/dicom-web' } }]
routes: [{ name: all, analysis: { primary: remote }, deliverTo: [pacs] }]
completeness: { ask: [pacs], afterSeconds: 0.5 }
`,
  })
}, 180_000)
afterAll(async () => {
  await service?.stop()
  await pacs?.stop()
  fake?.stop()
})

function study(count: number) {
  const uids = freshUids()
  const files = Array.from({ length: count }, (_, i) =>
    instance({ ...uids, instance: `${uids.instance.slice(0, 60)}.${i + 1}` }),
  )
  return { uid: uids.study, files }
}
async function push(to: TestService, files: readonly Buffer[]) {
  const { status } = await http(
    'POST',
    `${to.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(files),
  )
  expect(status).toBe(200)
}

test('a study that is whole by what the PACS has goes on at once', async () => {
  const { uid, files } = study(4)
  await push(pacs, files)
  const before = Date.now()
  await push(service, files)
  const ended = await followStudy(service.url, uid)
  expect(Date.now() - before).toBeLessThan(quietSeconds * 1000)
  expect(ended.state).toBe('completed')
  expect(ended.evidence).toMatchObject([{ kind: 'complete', reason: 'all 4 instances that pacs has are here' }])
  // Our results are in the PACS by now: they are none of the study's images that we lack.
  const late = instance({ ...freshUids(), study: uid })
  await push(pacs, [late])
  await push(service, [late])
  const again = await followStudy(service.url, uid)
  expect(again.evidence.map(entry => entry.reason)).toContain('all 5 instances that pacs has are here')
}, 180_000)

test('what got lost on the way is fetched from the PACS, and the study is analysed once, with all of it', async () => {
  const { uid, files } = study(5)
  await push(pacs, files)
  await push(service, files.slice(0, 3))
  const ended = await followStudy(service.url, uid)
  expect([ended.state, ended.instances, ended.revision]).toEqual(['completed', 5, 1])
  expect(ended.timeline.find(({ kind }) => kind === 'missing instances fetched')!.detail).toMatchObject({
    missing: 2,
    fetched: 2,
  })
  expect(ended.evidence.map(entry => entry.kind)).toEqual(['complete'])
  expect((await fake.log()).filter(request => request.images?.length === 5)).toHaveLength(2)
}, 180_000)

test('what the PACS cannot give makes the study partial, and its report says so', async () => {
  const { uid, files } = study(3)
  await push(pacs, files)
  const [row] = await pacs.query<{ key: string }>(
    `select blob_key key from instance where study_instance_uid = $1 order by sop_instance_uid desc limit 1`,
    [uid],
  )
  rmSync(join(pacs.dataDirectory, 'archive', row!.key))
  await push(service, files.slice(0, 2))
  const ended = await followStudy(service.url, uid)
  expect(ended.evidence).toMatchObject([{ kind: 'partial', reason: '1 of 3 instances that pacs has are missing' }])
  expect(ended.analyses[0]!.status).toBe('incomplete')
}, 180_000)

test('a study that the PACS does not know waits for its quiet period', async () => {
  const { uid, files } = study(2)
  const before = Date.now()
  await push(service, files)
  const ended = await followStudy(service.url, uid)
  expect(Date.now() - before).toBeGreaterThanOrEqual(quietSeconds * 1000 - 200)
  expect(ended.evidence).toMatchObject([{ kind: 'presumed' }])
}, 180_000)

test('a PACS that is away keeps no study waiting for more than the quiet period', async () => {
  await pacs.stop()
  pacs = undefined as never
  const { uid, files } = study(2)
  await push(service, files)
  await until('it has settled', async () => {
    const { json } = await http('GET', `${service.url}/api/studies/${uid}`)
    return json.timeline?.some((entry: { kind: string }) => entry.kind === 'settled') || undefined
  })
}, 180_000)
