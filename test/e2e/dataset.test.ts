import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { packHeader, withHeaders } from '../../src/archive/packedHeader.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import type { StudyLabels } from '../../src/pipeline/dataset.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

let fake: FakeProvider
let service: TestService
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'radbridge-dataset-'))
  fake = await startFakeProvider()
  const endpoints = `
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}', model: fake }]
routes: [{ name: all, analysis: { primary: remote } }]
`
  writeFileSync(join(folder, 'endpoints.yaml'), endpoints)
  service = await startTestService({ endpoints })
})
afterAll(async () => {
  await service?.stop()
  fake?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** The command line, with what it printed. */
function radbridge(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
  const env = { ...process.env, RADBRIDGE_ENDPOINTS: join(folder, 'endpoints.yaml') }
  return new Promise(resolve =>
    execFile('node', [cli, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    ),
  )
}

async function analysed(burnedIn: string) {
  const uids = freshUids()
  const files = [1, 2].map(n =>
    instance({
      ...uids,
      instance: `${uids.instance.slice(0, 60)}.${n}`,
      elements: {
        '00100010': element('00100010', 'PN', 'Geheim^Hannelore'),
        '00280301': element('00280301', 'CS', burnedIn),
      },
    }),
  )
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))
  await followStudy(service.url, uids.study)
  return uids.study
}
const verdict = (study: string, body: object) =>
  http(
    'POST',
    `${service.url}/api/studies/${study}/verdicts`,
    { 'Content-Type': 'application/json' },
    JSON.stringify(body),
  )

test('studies with verdicts are exported without the patient, and a provider trains on them', async () => {
  await fake.behave({ findings: { 1: [{ label: 'nodule', confidence: 0.8, box: [2, 3, 8, 9] }] } })
  const study = await analysed('NO')
  await analysed('NO') // without a verdict
  const [row] = await service.query<{ uid: string }>(
    `select findings #>> '{items,0,trackingUid}' uid from analysis where study_instance_uid = $1`,
    [study],
  )
  await verdict(study, { trackingUid: row!.uid, verdict: 'false-positive' })
  await verdict(study, { verdict: 'missed' })

  const out = join(folder, 'out')
  const exported = await radbridge('dataset', 'export', '-o', out, '--at', service.url)
  expect(exported).toMatchObject({ code: 0, stdout: `1 studies with 2 images in ${out}\n` })
  const [name] = readdirSync(out)
  const labels = JSON.parse(readFileSync(join(out, name!, 'labels.json'), 'utf8')) as StudyLabels
  expect(labels).toMatchObject({ studyInstanceUid: name, missed: 1, findings: [{ verdict: 'false-positive' }] })
  const headers = ['1.dcm', '2.dcm'].map(file => {
    const bytes = readFileSync(join(out, name!, file))
    for (const secret of ['Geheim', study]) expect(bytes.includes(Buffer.from(secret))).toBe(false)
    const outcome = readPart10Header(bytes, true)
    return outcome.outcome === 'header' ? outcome.header.json : {}
  })
  expect(headers.map(json => textOf(json, '0020000D'))).toEqual([name, name])
  expect(headers.map(json => textOf(json, '00080018'))).toContain(labels.findings[0]!.regions[0]!.sopInstanceUid)
  expect(JSON.stringify(labels)).not.toContain(study)

  const created = await radbridge('finetune', 'create', '--provider', 'remote', '--dataset', out)
  expect(created).toMatchObject({ code: 0, stdout: 'ft-1  queued\n' })
  const { json } = await http('GET', `${fake.url}/fine-tuning/jobs`)
  expect(json.jobs[0]).toMatchObject({ model: 'fake', studies: 1 })
  expect(json.jobs[0].files.sort()).toEqual(['1.dcm', '2.dcm', 'labels.json'].map(file => `${name}/${file}`))
  const events = await radbridge('finetune', 'events', 'ft-1', '--provider', 'remote')
  expect(events).toMatchObject({ code: 0, stdout: 'running  epoch 1\nsucceeded\n' })
  await fake.behave({ trainingFails: true })
  expect((await radbridge('finetune', 'events', 'ft-1', '--provider', 'remote')).code).toBe(1)
  expect((await radbridge('finetune', 'events', 'none', '--provider', 'remote')).code).toBe(1)
}, 180_000)

test('a study whose pixels may name the patient is withheld, and said so', async () => {
  const study = await analysed('NO')
  await verdict(study, { verdict: 'missed' })
  const images = await service.query<{ uid: string; header: Buffer }>(
    'select sop_instance_uid uid, header from instance where study_instance_uid = $1',
    [study],
  )
  for (const { uid, header } of await withHeaders(images)) {
    const named = await packHeader({ ...header, '00280301': { vr: 'CS', Value: ['YES'] } })
    await service.query('update instance set header = $2 where sop_instance_uid = $1', [uid, named])
  }
  const exported = await radbridge('dataset', 'export', '-o', join(folder, 'out2'), '--at', service.url)
  expect(exported.code).toBe(1)
  expect(exported.stderr).toContain('not exported: the study is withheld, since its pixels may name the patient')
}, 180_000)
