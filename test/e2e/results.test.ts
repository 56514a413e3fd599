import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { type DicomJson, itemsOf, textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { sopClass } from '../../src/dicom/sopClasses.js'
import { readFindings } from '../../src/results/readFindings.js'
import { reportTree } from '../../src/results/reportTree.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { followStudy, http, startTestService, type TestService } from '../fixtures/service.js'

const folders = Object.fromEntries(
  ['english', 'german', 'failures'].map(name => [name, mkdtempSync(join(tmpdir(), `radbridge-${name}-`))]),
) as Record<'english' | 'german' | 'failures', string>
let service: TestService

beforeAll(async () => {
  service = await startTestService({
    endpoints: `
destinations:
  - name: english
    folder: ${folders.english}
  - name: german
    format: { language: de, report: comprehensive, segmentation: labelmap, codes: [{ replace: { scheme: SCT, value: '27925004' }, by: { scheme: 99SITE, value: RH, meaning: Rundherd (Haus) } }] }
    folder: ${folders.german}
  - name: failures
    folder: ${folders.failures}
routes:
  - name: told
    match: { modality: [US] }
    analysis: { primary: reference }
    reportOn: [findings, no-findings, incomplete, not-applicable, failed]
    deliverTo: [failures]
  - name: chest
    match: { modality: [CT] }
    analysis: { primary: reference }
    reportOn: [findings, no-findings, incomplete, failed]
    results: [sr, seg, gsps, pdf, longitudinal]
    deliverTo: [english, german]
`,
  })
})
afterAll(async () => {
  await service?.stop()
  for (const folder of Object.values(folders)) rmSync(folder, { recursive: true, force: true })
})

const push = (parts: readonly Buffer[]) =>
  http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(parts))

/** Data sets of what a folder holds, by SOP Class. */
function delivered(folder: string, study: string): Map<string, DicomJson[]> {
  const found = new Map<string, DicomJson[]>()
  for (const path of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!path.isFile()) continue
    const outcome = readPart10Header(readFileSync(join(path.parentPath, path.name)), true)
    if (outcome.outcome !== 'header' || outcome.header.studyInstanceUid !== study) continue
    const { sopClassUid, json } = outcome.header
    found.set(sopClassUid, [...(found.get(sopClassUid) ?? []), json])
  }
  return found
}

const phantom = (study: string, over: Partial<PhantomOptions>): PhantomOptions => ({
  size: 128,
  slices: 60,
  pixelSpacing: 2.6,
  sliceSpacing: 4,
  nodules: [],
  vessels: false,
  noise: 10,
  seed: 3,
  patientId: 'FOLLOW-UP',
  study,
  ...over,
})
const studyOf = (file: Buffer) => {
  const outcome = readPart10Header(file, true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return outcome.header.studyInstanceUid
}

test('a nodule is followed from one examination to the next, in the format that each destination wants', async () => {
  const before = await phantomFiles(
    phantom('before', {
      studyDate: '20250601',
      nodules: [
        { center: [-85, 10, 40], diameter: 16 },
        { center: [70, -20, -30], diameter: 14 },
      ],
    }),
  )
  const now = await phantomFiles(
    phantom('now', {
      studyDate: '20260601',
      origin: [9, -14, 320], // the patient lay otherwise
      nodules: [
        { center: [-85, 10, 40], diameter: 22 },
        { center: [88, 20, 30], diameter: 15 },
      ],
    }),
  )
  expect((await push(before)).status).toBe(200)
  expect((await followStudy(service.url, studyOf(before[0]!), 60)).state).toBe('completed')
  expect((await push(now)).status).toBe(200)
  expect((await followStudy(service.url, studyOf(now[0]!), 60)).state).toBe('completed')

  const prior = readFindings(delivered(folders.english, studyOf(before[0]!)).get(sopClass.comprehensive3dSr)![0]!)!
  expect(prior.comparison).toBeUndefined()
  const english = delivered(folders.english, studyOf(now[0]!))
  expect([...english.keys()].sort()).toEqual(
    [
      sopClass.comprehensive3dSr,
      sopClass.segmentation,
      sopClass.grayscalePresentationState,
      sopClass.encapsulatedPdf,
    ].sort(),
  )
  const [report, timeline] = english
    .get(sopClass.comprehensive3dSr)!
    .sort((a, b) => Number(textOf(a, '00200011')) - Number(textOf(b, '00200011')))
  const current = readFindings(report!)!
  const grown = current.comparison!.lesions.find(lesion => lesion.change === 'grown')!
  const nodule = prior.items.find(item => item.trackingUid === grown.trackingUid)!
  expect(nodule.laterality).toEqual(c.right)
  expect(grown.trackingIdentifier).toBe(nodule.trackingIdentifier)
  expect(grown.quantities.find(({ quantity }) => quantity.value === c.volume.value)!.prior).toBe(
    nodule.measurements.find(({ quantity }) => quantity.value === c.volume.value)!.value,
  )
  // The diameter went from 16 to 22 mm within a year: a doubling in 265 days, as far as coarse voxels can tell.
  expect(Math.abs(grown.doublingDays! - (365 * Math.LN2) / Math.log((22 / 16) ** 3))).toBeLessThan(40)
  expect(current.comparison!.lesions.map(lesion => lesion.change).sort()).toEqual(['grown', 'new', 'resolved'])
  expect(current.comparison!.prior).toEqual({ studyInstanceUid: studyOf(before[0]!), studyDate: '20250601' })
  expect(reportTree(timeline!).filter(line => line.includes('Time Point: prior')).length).toBeGreaterThan(0)
  expect(JSON.stringify(timeline!['0040A385'])).toContain(studyOf(before[0]!))

  const [{ deadlocks }] = (await service.query<{ deadlocks: number }>(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  )) as [{ deadlocks: number }]
  expect(deadlocks).toBe(0) // several deliveries of one study at a time

  const german = delivered(folders.german, studyOf(now[0]!))
  const [other] = german.get(sopClass.comprehensiveSr)!
  expect(german.has(sopClass.labelMapSegmentation)).toBe(true)
  expect(reportTree(other!).join('\n')).toContain('Veränderung zur Voruntersuchung: Größenzunahme')
  expect(reportTree(other!).join('\n')).toContain('Befund: Rundherd (Haus)')
  expect(JSON.stringify(other!['00080110'])).toContain('99SITE')
  expect(textOf(other!, '00080018')).not.toBe(textOf(report!, '00080018'))
}, 180_000)

test('a failure is reported where the route says so, and the study ends as failed', async () => {
  const uids = freshUids()
  // Fewer pixels than rows and columns say: the store takes it, the analysis cannot.
  const cut = Array.from({ length: 20 }, (_, i) =>
    instance({
      ...uids,
      instance: `${uids.instance}${i}`.slice(0, 64),
      pixels: Buffer.alloc(100),
      elements: {
        '00200032': element('00200032', 'DS', `0\\0\\${i}`),
        '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
        '00280030': element('00280030', 'DS', '1\\1'),
      },
    }),
  )
  expect((await push(cut)).status).toBeLessThan(300)
  const study = await followStudy(service.url, uids.study)
  expect(study.state).toBe('failed')
  const [report] = delivered(folders.english, uids.study).get(sopClass.comprehensive3dSr)!
  const read = readFindings(report!)!
  expect([read.status, read.items, read.lookedFor]).toEqual(['failed', [], []])
  expect(read.reason).toMatch(/Pixel Data/)
  expect(textOf(report!, '0040A491')).toBe('PARTIAL')
  expect(reportTree(report!).join('\n')).not.toMatch(/Absent/)
})

test('that an algorithm does not apply is reported where the route says so', async () => {
  const uids = freshUids()
  const image = instance({ ...uids, elements: { '00080060': element('00080060', 'CS', 'US') } })
  expect((await push([image])).status).toBeLessThan(300)
  expect((await followStudy(service.url, uids.study)).state).toBe('completed')
  const [report] = delivered(folders.failures, uids.study).get(sopClass.comprehensive3dSr)!
  expect(readFindings(report!)).toMatchObject({ status: 'not-applicable', reason: expect.stringContaining('CT') })
  expect(itemsOf(report!, '0040A375')).toHaveLength(1)
})
