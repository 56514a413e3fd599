import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let fake: FakeProvider
let pacs: TestService
let service: TestService
beforeAll(async () => {
  fake = await startFakeProvider()
  // Another Radbridge that only archives is the PACS.
  pacs = await startTestService({ endpoints: 'routes: []\n' })
  service = await startTestService({
    endpoints: `
providers:
  - { name: remote, kind: imaging-rest, endpoint: analyze, longitudinalReport: true, baseUrl: '${fake.url}', maxRetries: 1 }
destinations:
  - { name: pacs, stow: { url: '${pacs.url}/dicom-web' } }
routes:
  - name: chest
    analysis: { primary: remote, priors: { max: 10, within: P3Y, from: [pacs] } }
    results: [sr, longitudinal]
`,
  })
}, 180_000)
afterAll(async () => {
  await service?.stop()
  await pacs?.stop()
  fake?.stop()
})

async function push(to: TestService, patient: string, date: string, images: number, bodyPart = 'CHEST') {
  const uids = freshUids()
  const files = Array.from({ length: images }, (_, i) =>
    instance({
      ...uids,
      instance: `${uids.instance.slice(0, 58)}.${i + 1}`,
      elements: {
        '00080020': element('00080020', 'DA', date),
        '00100020': element('00100020', 'LO', patient),
        '00180015': element('00180015', 'CS', bodyPart),
        '00200032': element('00200032', 'DS', `0\\0\\${i * 5}`),
        '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
        '00200052': element('00200052', 'UI', '1.2.3.4'),
        '00280030': element('00280030', 'DS', '1\\1'),
      },
    }),
  )
  const type = { 'Content-Type': multipartType }
  const { status } = await http('POST', `${to.url}/dicom-web/studies`, type, multipart(files))
  expect(status).toBe(200)
  return uids.study
}

test('earlier examinations of another archive are fetched, analysed and compared, and progress is told as it happens', async () => {
  const size = (diameter: number) => [
    { label: 'nodule', box: [4, 4, 9, 9], measurements: [{ name: 'diameter', value: diameter, unit: 'mm' }] },
  ]
  await fake.behave({ latency: 100, findings: { 1: size(6) } })
  const wanted = [await push(pacs, 'P-1', '20230105', 3), await push(pacs, 'P-1', '20240105', 4)]
  const unwanted = [
    await push(pacs, 'P-1', '20150105', 3), // too long ago
    await push(pacs, 'P-2', '20240105', 3), // somebody else
    await push(pacs, 'P-1', '20240605', 3, 'KNEE'),
  ]
  const uid = await push(service, 'P-1', '20250105', 5)
  await until('it is there', async () => {
    const { status } = await http('GET', `${service.url}/api/studies/${uid}`)
    return status === 200 || undefined
  })
  const cli = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
  const { stdout } = await promisify(execFile)('node', [cli, 'follow', uid, '--at', service.url])
  expect(stdout).toMatch(/priors fetched {2}from: pacs {2}studies: 3/) // QIDO-RS knows no body part of a study
  expect(stdout).toMatch(/\d+ of \d+ images, \d+ findings/)
  expect(stdout.match(/prior analysed/g)).toHaveLength(2)
  expect(stdout).toMatch(/completed/)

  const study = await followStudy(service.url, uid)
  const rows = await service.query<{ study: string; arm: string }>(
    `select study_instance_uid study, arm from analysis where arm like 'prior:%' order by study_instance_uid`,
  )
  expect(rows.map(row => row.study)).toEqual([...wanted].sort())
  const [analysis] = await service.query<{
    findings: { conclusion: string; comparison: { prior: object; lesions: object[] } }
  }>(`select findings from analysis where study_instance_uid = $1 and arm = 'primary'`, [uid])
  expect(analysis!.findings.comparison.prior).toEqual({ studyInstanceUid: wanted[1], studyDate: '20240105' })
  expect(analysis!.findings.comparison.lesions).toMatchObject([{ change: 'stable' }])
  expect(analysis!.findings.conclusion).toBe('1 lesion after 366 days: stable')
  expect(study.results).toHaveLength(2)
  const fetched = await http('GET', `${service.url}/api/studies/${wanted[0]}`)
  for (const other of unwanted.slice(0, 2))
    expect((await http('GET', `${service.url}/api/studies/${other}`)).status).toBe(404)
  // They are no work of their own.
  const ended = await followStudy(service.url, wanted[0]!)
  expect([fetched.status, ended.state, ended.reason]).toEqual([
    200,
    'ignored',
    'fetched as an earlier examination of a patient',
  ])
  // Again for the next examination nothing is fetched or analysed twice.
  await fake.log()
  await fake.behave({ findings: { 1: size(6) }, noSummary: true })
  expect((await followStudy(service.url, await push(service, 'P-1', '20250606', 2))).state).toBe('completed')
  const requests = await fake.log()
  expect(requests.filter(({ path }) => path.endsWith('/analyze'))).toHaveLength(2)
  const asked = requests.map(({ body }) => Buffer.from(body ?? '', 'base64').toString())
  expect(asked.join()).not.toContain(uid)
}, 180_000)

test('an archive that is away costs nothing but the comparison', async () => {
  await fake.behave({})
  await pacs.stop()
  const uid = await push(service, 'P-3', '20250105', 2)
  const study = await followStudy(service.url, uid)
  expect(study.state).toBe('completed')
  const event = study.timeline.find(({ kind }) => kind === 'priors fetched')
  expect(event!.detail).toMatchObject({ studies: 0, problems: ['pacs: ECONNREFUSED'] })
  pacs = undefined as never
}, 180_000)
