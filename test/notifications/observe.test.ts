import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({
    endpoints: `
providers:
  - { name: metered, kind: imaging-rest, baseUrl: 'http://127.0.0.1:9', price: { perMillionUnits: 10, currency: EUR }, budget: { perDay: 100 } }
routes: []
notifications: [{ name: money-and-models, on: [budget, drift, canary-step], webhook: { url: 'http://127.0.0.1:9/none' } }]
`,
  })
})
afterAll(() => service?.stop())

async function analyses(count: number, daysAgo: number, status: string, units: number): Promise<void> {
  await service.query(
    `with s as (insert into study (study_instance_uid, attributes) select '2.25.' || gen_random_uuid(), '{}' from generate_series(1, $1) returning study_instance_uid uid)
     insert into analysis (study_instance_uid, revision, route, provider, status, units, finished_at)
     select uid, 1, 'all', 'metered', $3, $4::float8, now() - make_interval(days => $2) from s`,
    [count, daysAgo, status, units],
  )
}
const told = async () =>
  (
    await service.query<{ event: string; summary: string }>(
      `select event, summary from notification where event in ('budget', 'drift') order by id`,
    )
  ).map(({ event, summary }) => `${event}: ${summary}`)
const look = async () => {
  await service.query(`select graphile_worker.add_job('observe', '{}', job_key => 'observe')`)
  await until('the look', async () =>
    (await service.query(`select 1 from graphile_worker.jobs where key = 'observe'`)).length === 0 ? true : undefined,
  )
}

test('a budget is told of when four fifths are spent, and when all of it is; each once', async () => {
  await analyses(1, 0, 'failed', 7_000_000)
  await look()
  expect(await told()).toEqual([])
  await analyses(1, 0, 'failed', 1_500_000)
  await look()
  await look()
  expect(await told()).toEqual(['budget: Provider metered has cost 85.00 of 100 EUR today'])
  await analyses(1, 0, 'failed', 2_000_000)
  await look()
  expect((await told())[1]).toBe('budget: Provider metered has cost 105.00 of 100 EUR today: the budget is spent')
}, 180_000)

test('a model that finds much more than before is told of, looked for once an hour', async () => {
  await analyses(300, 30, 'no-findings', 0)
  await analyses(30, 30, 'findings', 0)
  await analyses(60, 1, 'no-findings', 0)
  await look() // within the hour of the look before
  const drifted = async () => (await told()).filter(text => text.startsWith('drift'))
  expect(await drifted()).toEqual([])
  await analyses(40, 1, 'findings', 0)
  await look()
  expect(await drifted()).toEqual([]) // not yet: it reads two months
  await service.query(
    `update setting set value = (now() - interval '61 minutes')::text where name = 'looked for drift'`,
  )
  await look()
  await look()
  expect(await drifted()).toEqual(['drift: positive studies of metered (primary): 40 % lately, 9 % before'])
}, 180_000)

test('what a transaction was still at work on when it was looked is told when it has ended', async () => {
  const step = (route: string, seconds: number) =>
    service.query(
      `with step as (insert into canary_decision (route, provider, from_percent, to_percent, reason) values ($1, 'metered', 0, 10, 'by hand') returning id)
       select pg_sleep($2) from step`,
      [route, seconds],
    )
  const steps = async () =>
    (
      await service.query<{ detail: { route: string } }>(
        `select detail from notification where event = 'canary-step' order by id`,
      )
    ).map(({ detail }) => detail.route)
  await step('before', 0)
  await look()
  const slow = step('slow', 1)
  await until(
    'the slow one has its id',
    async () =>
      (
        await service.query(`select 1 from pg_stat_activity where wait_event = 'PgSleep' and backend_xid is not null`)
      )[0],
  )
  await step('quick', 0)
  await look()
  await slow
  await look()
  await look()
  expect((await steps()).filter(route => route !== 'before')).toEqual(['slow', 'quick'])
}, 180_000)
