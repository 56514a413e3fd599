import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { fillArchive } from '../fixtures/manyStudies.mjs'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({
    endpoints: `
destinations: [{ name: files, folder: /tmp/radbridge-many-studies }]
routes: [{ name: all, analysis: { primary: reference }, deliverTo: [files] }]
notifications: [{ name: chat, on: [study-failed], webhook: { url: 'http://127.0.0.1:9/none' } }]
`,
  })
  await fillArchive({ query: service.query } as never, 1, 6000, { series: 1, instances: 2 })
  // What is looked at once a minute has seen all of this, however the minutes fall.
  await until('it has looked', async () => {
    await service.query(`select graphile_worker.add_job('observe', '{}')`)
    const rows = await service.query(
      `select 1 from setting where name = 'observed dead letters' and value::bigint >= (select max(id) from study_event)`,
    )
    return rows.length > 0 || undefined
  })
  // The server writes down the plan of each query from here on.
  for (const setting of [
    `session_preload_libraries = 'auto_explain'`,
    'auto_explain.log_min_duration = 0',
    'auto_explain.log_nested_statements = on',
  ])
    await service.query(`alter system set ${setting}`)
  await service.query('select pg_reload_conf()')
  await service
    .query('select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()')
    .catch(() => {})
  await sleep(3000)
}, 180_000)
afterAll(() => service?.stop())

const large = ['study', 'study_revision', 'series', 'instance', 'analysis', 'delivery', 'study_event']

test('of an archive with many studies no table is read as a whole for one study, a query by UID, or what is done each minute', async () => {
  const log = join(service.dataDirectory, 'postgres.log')
  const from = statSync(log).size
  const uids = freshUids()
  const { status } = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart([instance(uids)]),
  )
  expect(status).toBe(200)
  expect(await followStudy(service.url, uids.study)).toMatchObject({ state: 'completed' })
  for (const [path, Accept] of [
    [`dicom-web/studies/${uids.study}`, '*/*'],
    [`dicom-web/studies/${uids.study}/metadata`, 'application/dicom+json'],
    [`dicom-web/studies/${uids.study}/instances`, 'application/dicom+json'],
    [`dicom-web/studies?StudyInstanceUID=${uids.study}`, 'application/dicom+json'],
    ['dicom-web/studies?PatientID=P17', 'application/dicom+json'],
    ['dicom-web/studies?AccessionNumber=A23', 'application/dicom+json'],
    ['dicom-web/studies?limit=20', 'application/dicom+json'],
    [`api/studies/${uids.study}`, 'application/json'],
    ['api/studies?state=failed', 'application/json'],
    ['api/deliveries?state=dead', 'application/json'],
  ] as const) {
    const answer = await http('GET', `${service.url}/${path}`, { Accept })
    expect([path, answer.status]).toEqual([path, 200])
  }
  for (const task of ['observe', 'watchJobs', 'watchProviders'])
    await service.query(`select graphile_worker.add_job($1, '{}')`, [task])
  await sleep(2000)
  const plans = readFileSync(log)
    .subarray(from)
    .toString()
    .split(/\n(?=\S)/)
    .filter(entry => entry.includes('Query Text:'))
  expect(plans.length).toBeGreaterThan(50)
  expect(
    plans.filter(plan => large.some(table => plan.includes(`Index Scan using`) && plan.includes(table))).length,
  ).toBeGreaterThan(10)
  expect(plans.filter(plan => large.some(table => new RegExp(`Seq Scan on ${table}\\b`).test(plan)))).toEqual([])
}, 180_000)
