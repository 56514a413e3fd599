import { afterEach, expect, test } from '@jest/globals'
import { startFakeProvider } from '../fixtures/fakeProvider.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
let fake: Awaited<ReturnType<typeof startFakeProvider>>
afterEach(async () => {
  await service?.stop()
  fake?.stop()
})

/** As if the job's last attempt had just ended badly, or node after node had died over it. */
async function useUp(key: string): Promise<void> {
  await until('the job', async () => {
    const used = await service.query(
      `update graphile_worker._private_jobs set attempts = max_attempts, locked_at = null, locked_by = null, run_at = now() + interval '1 hour'
        where key like $1 returning id`,
      [key],
    )
    return used.length > 0 ? true : undefined
  })
  await service.query(`select graphile_worker.add_job('watchJobs', '{}')`)
}

test('an analysis and a delivery whose jobs were given up are failures that an administrator sees and takes up again', async () => {
  fake = await startFakeProvider()
  const destination = 'http://127.0.0.1:9/nobody-listens-here'
  service = await startTestService({
    endpoints: `
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}' }]
destinations: [{ name: pacs, stow: { url: '${destination}' } }]
routes: [{ name: all, analysis: { primary: remote }, deliverTo: [pacs] }]
`,
    environment: { RADBRIDGE_QUIET_SECONDS: '1' },
  })
  const uids = freshUids()
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([instance(uids)]))
  // Before it is looked at: there is time to use it up.
  await service.query(`create function radbridge.hold() returns trigger language plpgsql as $$
    begin new.run_at := now() + interval '1 hour'; return new; end $$`)
  await service.query(`create trigger hold before insert on graphile_worker._private_jobs for each row
    when (new.key like 'analyze:%' or new.key like 'deliver:%') execute function radbridge.hold()`)
  await useUp('analyze:%')
  const failed = await followStudy(service.url, uids.study)
  expect(failed).toMatchObject({ state: 'failed', reason: expect.stringContaining('given up after 8 attempts') })

  expect((await http('POST', `${service.url}/api/studies/${uids.study}/retry`)).status).toBe(202)
  await service.query(`update graphile_worker._private_jobs set run_at = now() where key like 'analyze:%'`)
  await useUp('deliver:%')
  const undelivered = await followStudy(service.url, uids.study)
  expect(undelivered).toMatchObject({ state: 'failed', reason: 'not delivered to pacs' })
  const { json } = await http('GET', `${service.url}/api/deliveries?state=dead`)
  expect(JSON.stringify(json)).toContain('given up after 8 attempts')
  expect(await service.query(`select 1 from graphile_worker.jobs where attempts >= max_attempts`)).toHaveLength(0)
}, 180_000)
