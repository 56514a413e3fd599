import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect } from '@jest/globals'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { StowClient } from '../../src/delivery/index.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { sopClass } from '../../src/dicom/sopClasses.js'
import { QueryScu } from '../../src/dimse/queryScu.js'
import { openFrames } from '../../src/pixels/frames.js'
import { resultObjects } from '../../src/results/index.js'
import { drawPicture } from '../../src/results/keyImage.js'
import type { ResultObject } from '../../src/results/resultObject.js'
import { corpus } from '../fixtures/corpus.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort, hasProgram, hasSamples, samples, sharedFolder, testWhere } from '../fixtures/peers.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'
import { shortStart, startSrValidator } from '../fixtures/srValidator.js'

const plugin = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so'
const hasOrthanc = hasProgram('Orthanc') && existsSync(plugin)
const testWithOrthanc = testWhere(hasOrthanc, 'Orthanc with its DICOMweb plug-in is not installed')
const run = promisify(execFile)
let validating: ReturnType<typeof startSrValidator> | undefined
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-orthanc-'))
let service: TestService
let orthanc: ChildProcess
let pacs: string
let dimsePort: number

beforeAll(async () => {
  if (!hasOrthanc) return
  const port = await freePort()
  pacs = `http://127.0.0.1:${port}`
  dimsePort = await freePort()
  const ownDimsePort = await freePort()
  service = await startTestService({
    environment: { RADBRIDGE_QUIET_SECONDS: '1', RADBRIDGE_DIMSE_PORT: String(ownDimsePort) },
    endpoints: `
destinations:
  - { name: orthanc, stow: { url: '${pacs}/dicom-web' } }
  - { name: modality, dimse: { aeTitle: ORTHANC, host: 127.0.0.1, port: ${dimsePort}, commit: true } }
routes: [{ name: all, analysis: { primary: reference, priors: { max: 3, within: P5Y, from: [orthanc] } }, deliverTo: [orthanc, modality] }]
`,
  })
  const configuration = {
    Name: 'peer',
    StorageDirectory: scratch,
    IndexDirectory: scratch,
    HttpPort: port,
    DicomServerEnabled: true,
    DicomPort: dimsePort,
    DicomAet: 'ORTHANC',
    DicomAlwaysAllowStore: true,
    UnknownSopClassAccepted: true,
    DicomModalities: { radbridge: ['RADBRIDGE', '127.0.0.1', ownDimsePort] },
    RemoteAccessAllowed: false,
    AuthenticationEnabled: false,
    Plugins: [plugin],
    DicomWeb: { Enable: true, Root: '/dicom-web/', Servers: { radbridge: { Url: `${service.url}/dicom-web/` } } },
  }
  writeFileSync(join(scratch, 'orthanc.json'), JSON.stringify(configuration))
  orthanc = spawn('Orthanc', [join(scratch, 'orthanc.json')], { stdio: 'ignore' })
  await until('Orthanc', async () =>
    (await http('GET', `${pacs}/system`).catch(() => undefined))?.status === 200 ? true : undefined,
  )
})
afterAll(async () => {
  ;(await validating)?.stop()
  orthanc?.kill('SIGKILL')
  await service?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

/** Puts files into Orthanc, has it push them to us by its STOW-RS client, and returns the study they belong to. */
async function pushFromOrthanc(files: readonly Buffer[]): Promise<string> {
  const parents = new Set<string>()
  for (const bytes of files) {
    const { json } = await http('POST', `${pacs}/instances`, { 'Content-Type': 'application/dicom' }, bytes)
    parents.add(json.ParentStudy)
  }
  const answer = await http(
    'POST',
    `${pacs}/dicom-web/servers/radbridge/stow`,
    {},
    JSON.stringify({ Resources: [...parents] }),
  )
  expect(answer.status).toBe(200)
  const header = readPart10Header(files[0]!, true)
  if (header.outcome !== 'header') throw new Error('no header')
  return header.header.studyInstanceUid
}

const reportsInOrthanc = (study: string) => resultsInOrthanc(study, 'SR')

/** Finds the study's results in Orthanc by QIDO-RS and fetches them by WADO-RS. */
async function resultsInOrthanc(study: string, modality: 'SR' | 'SEG'): Promise<Buffer[]> {
  const { json } = await http(
    'GET',
    `${pacs}/dicom-web/studies/${study}/instances?Modality=${modality}&includefield=all`,
  )
  return Promise.all(
    (json as Record<string, { Value: string[] }>[]).map(async found => {
      const url = `${pacs}/dicom-web/studies/${study}/series/${found['0020000E']!.Value[0]}/instances/${found['00080018']!.Value[0]}`
      const response = await fetch(url, {
        headers: { Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
      })
      const bytes = Buffer.from(await response.arrayBuffer())
      const start = bytes.indexOf('\r\n\r\n') + 4
      return bytes.subarray(start, bytes.lastIndexOf('\r\n--'))
    }),
  )
}

/** Without the file meta group: that of an object that came by C-STORE is the receiver's, and which of two deliveries came first is chance. */
function dataSetOf(file: Buffer): Buffer {
  return file.subarray(132 + 12 + file.readUInt32LE(140))
}

async function expectValid(report: Buffer): Promise<void> {
  const validator = join(sharedFolder, 'tools', 'validate-sr')
  if (!existsSync(validator) || !hasProgram('dciodvfy') || !hasProgram('DicomSRValidator')) return
  const file = join(scratch, `report-${Math.random()}.dcm`)
  writeFileSync(file, report)
  validating ??= startSrValidator()
  const { stdout } = await run(validator, [file], { env: (await validating)?.environment ?? shortStart() })
  expect(stdout).toMatch(/: valid/)
}

const phantom: PhantomOptions = {
  size: 256,
  slices: 100,
  pixelSpacing: 1.3,
  sliceSpacing: 2.4,
  nodules: [{ center: [-85, 10, 40], diameter: 12 }],
  vessels: true,
  noise: 25,
  seed: 4,
  study: 'orthanc',
  patientName: 'Phantom^Orthanc',
}

describe('Orthanc as PACS', () => {
  const uidsOf = (bytes: Buffer) => {
    const outcome = readPart10Header(bytes, true)
    if (outcome.outcome !== 'header') throw new Error('no header')
    return outcome.header
  }
  const isolated = () =>
    [1, 2].map(number => instance({ ...quiet, instance: `${quiet.instance.slice(0, 60)}.${number}` }))
  const quiet = freshUids()

  testWithOrthanc('it is searched by C-FIND, and gives by C-MOVE and by C-GET', async () => {
    const files = isolated()
    for (const bytes of files) await http('POST', `${pacs}/instances`, { 'Content-Type': 'application/dicom' }, bytes)
    const peer = {
      aeTitle: 'ORTHANC',
      host: '127.0.0.1',
      port: dimsePort,
      callingAeTitle: 'RADBRIDGE',
      timeoutSeconds: 20,
    }
    const scu = new QueryScu(peer)
    const studies = await scu.searchStudies({ StudyInstanceUID: quiet.study }, ['NumberOfStudyRelatedInstances'])
    expect(studies).toHaveLength(1)
    expect((await scu.searchInstances(quiet.study)).map(entry => textOf(entry, '00080018')).toSorted()).toEqual(
      files.map(bytes => uidsOf(bytes).sopInstanceUid).toSorted(),
    )
    expect(await scu.move({ study: quiet.study }, 'RADBRIDGE')).toEqual({ completed: 2, failed: 0 })
    const here = await http('GET', `${service.url}/dicom-web/studies/${quiet.study}/instances`)
    expect(here.json).toHaveLength(2)
    let came = 0
    const store = {
      begin: async () => ({
        write: () => undefined,
        abort: async () => {},
        async end() {
          came++
          return { status: 0 }
        },
      }),
    }
    const wanted = { study: quiet.study, series: quiet.series }
    expect(await scu.get(wanted, [sopClass.ct], store)).toEqual({ completed: 2, failed: 0 })
    expect(came).toBe(2)
    await scu.close()
  })

  testWithOrthanc('it finds studies in us by C-FIND, and has them sent by C-MOVE', async () => {
    const uids = freshUids()
    const bytes = instance({ ...uids, elements: { '00100020': element('00100020', 'LO', 'MOVE-ME') } })
    await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([bytes]))
    const query = await http(
      'POST',
      `${pacs}/modalities/radbridge/query`,
      {},
      JSON.stringify({ Level: 'Study', Query: { PatientID: 'MOVE-*' } }),
    )
    const answers = await http('GET', `${pacs}/queries/${query.json.ID}/answers?expand&simplify`)
    expect(answers.json.map((entry: { StudyInstanceUID: string }) => entry.StudyInstanceUID)).toEqual([uids.study])
    const moved = await http(
      'POST',
      `${pacs}/queries/${query.json.ID}/retrieve`,
      {},
      JSON.stringify({ TargetAet: 'ORTHANC' }),
    )
    expect(moved.status).toBe(200)
    const found = await http('GET', `${pacs}/dicom-web/studies/${uids.study}/instances`)
    expect(found.json).toHaveLength(1)
  })

  testWithOrthanc('its DICOMweb client finds and retrieves a study from us', async () => {
    const uids = freshUids()
    const more = { ...uids, instance: `${uids.instance.slice(0, 60)}.2` }
    const files = [instance(uids), instance(more)]
    await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))
    const ask = (path: string, body: object) =>
      http('POST', `${pacs}/dicom-web/servers/radbridge/${path}`, {}, JSON.stringify(body))
    const found = await ask('qido', { Uri: '/studies', Arguments: { StudyInstanceUID: uids.study } })
    expect(found.json).toHaveLength(1)
    const retrieved = await ask('retrieve', { Resources: [{ Study: uids.study }], Synchronous: true })
    expect(retrieved.status).toBe(200)
    const there = await http('GET', `${pacs}/dicom-web/studies/${uids.study}/instances`)
    expect(there.json).toHaveLength(2)
  })

  testWithOrthanc('it asks us for storage commitment, and gets an answer for each instance', async () => {
    const uids = freshUids()
    await http(
      'POST',
      `${service.url}/dicom-web/studies`,
      { 'Content-Type': multipartType },
      multipart([instance(uids)]),
    )
    const ask = async (instanceUid: string) => {
      const body = { DicomInstances: [{ SOPClassUID: sopClass.ct, SOPInstanceUID: instanceUid }] }
      const { json } = await http('POST', `${pacs}/modalities/radbridge/storage-commitment`, {}, JSON.stringify(body))
      return until('the report', async () => {
        const report = await http('GET', `${pacs}/storage-commitment/${json.ID}`)
        return report.json.Status === 'Pending' ? undefined : report.json
      })
    }
    expect(await ask(uids.instance)).toMatchObject({ Status: 'Success', Success: [{ SOPInstanceUID: uids.instance }] })
    expect(await ask('1.2.3.4.5')).toMatchObject({ Status: 'Failure', Failures: [{ SOPInstanceUID: '1.2.3.4.5' }] })
    // A file that is not as long as it was is nothing to promise.
    const [row] = await service.query<{ key: string }>(
      'select blob_key key from instance where sop_instance_uid = $1',
      [uids.instance],
    )
    truncateSync(join(service.dataDirectory, 'archive', row!.key), 100)
    expect(await ask(uids.instance)).toMatchObject({ Status: 'Failure', Failures: [{ SOPInstanceUID: uids.instance }] })
  })

  testWithOrthanc('pushes a chest CT by its STOW-RS client and finds the valid SR in itself', async () => {
    const study = await pushFromOrthanc(await phantomFiles(phantom))
    const detail = await followStudy(service.url, study, 60)
    expect(detail).toMatchObject({ state: 'completed', instances: 100 })
    const committed = detail.timeline.filter(({ detail: told }) => JSON.stringify(told).includes('committed (storage'))
    expect(committed.length).toBeGreaterThan(0)
    const reports = await reportsInOrthanc(study)
    expect(reports).toHaveLength(1)
    const segmentation = await resultsInOrthanc(study, 'SEG')
    expect(segmentation).toHaveLength(1)
    const ours = await Promise.all(
      detail.results.map(async ({ sopInstanceUid }) => {
        const file = await fetch(`${service.url}/api/studies/${study}/files/${sopInstanceUid}`)
        return Buffer.from(await file.arrayBuffer())
      }),
    )
    expect(ours.map(dataSetOf).sort(Buffer.compare)).toEqual(
      [reports[0]!, segmentation[0]!].map(dataSetOf).sort(Buffer.compare),
    )
    await expectValid(reports[0]!)
    await expectValid(segmentation[0]!)
  })

  testWithOrthanc('pushes a chest CT by C-STORE, and gets the results by C-STORE as well', async () => {
    const files = await phantomFiles({ ...phantom, study: 'by C-STORE' })
    const parents = new Set<string>()
    for (const bytes of files) {
      const { json } = await http('POST', `${pacs}/instances`, { 'Content-Type': 'application/dicom' }, bytes)
      parents.add(json.ParentStudy)
    }
    const echoed = await http('POST', `${pacs}/modalities/radbridge/echo`, {}, '{}')
    expect(echoed.status).toBe(200)
    const sent = await http('POST', `${pacs}/modalities/radbridge/store`, {}, JSON.stringify([...parents]))
    expect(sent.json).toMatchObject({ FailedInstancesCount: 0, InstancesCount: 100 })
    const header = readPart10Header(files[0]!, true)
    if (header.outcome !== 'header') throw new Error('no header')
    const detail = await followStudy(service.url, header.header.studyInstanceUid, 60)
    expect(detail).toMatchObject({ state: 'completed', instances: 100 })
    const byDimse = detail.deliveries.filter(delivery => delivery.destination === 'modality')
    expect(byDimse.map(delivery => delivery.state)).toEqual(detail.results.map(() => 'delivered'))
    for (const { sopInstanceUid } of detail.results) {
      const found = await http('POST', `${pacs}/tools/lookup`, {}, sopInstanceUid)
      expect(found.json).toHaveLength(1)
    }
  })

  testWithOrthanc('gives an earlier examination by QIDO-RS and WADO-RS, and the lesions are followed', async () => {
    const patient = { ...phantom, patientId: 'EARLIER' }
    for (const bytes of await phantomFiles({ ...patient, study: 'earlier', studyDate: '20240110' }))
      await http('POST', `${pacs}/instances`, { 'Content-Type': 'application/dicom' }, bytes)
    const files = await phantomFiles({ ...patient, study: 'now', studyDate: '20250110' })
    await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))
    const header = readPart10Header(files[0]!, true)
    if (header.outcome !== 'header') throw new Error('no header')
    const detail = await followStudy(service.url, header.header.studyInstanceUid, 60)
    const fetched = detail.timeline.find(({ kind }) => kind === 'priors fetched')
    expect(fetched!.detail).toEqual({ from: 'orthanc', studies: 1, problems: [] })
    expect(detail.timeline.map(({ kind }) => kind)).toContain('prior analysed')
    expect(detail.state).toBe('completed')
  })

  testWhere(hasOrthanc && hasSamples, 'Orthanc or the sample files are absent')('real slices of chest CT', async () => {
    const folder = join(samples, 'tcia-ct-chest')
    const bySubject = new Map<string, Buffer[]>()
    for (const name of readdirSync(folder)) {
      const bytes = readFileSync(join(folder, name))
      const header = readPart10Header(bytes, true)
      if (header.outcome !== 'header') throw new Error(`${name} cannot be read`)
      const { studyInstanceUid } = header.header
      bySubject.set(studyInstanceUid, [...(bySubject.get(studyInstanceUid) ?? []), bytes])
    }
    let reported = 0
    for (const files of bySubject.values()) {
      const study = await pushFromOrthanc(files)
      const detail = await followStudy(service.url, study, 60)
      expect(detail.state).toBe('completed')
      // A slice or two are no volume: the report says so instead of "absent". Two of the slices show the abdomen.
      if (detail.results.length === 0) {
        expect(detail.reason).toMatch(/no lungs were found/)
        continue
      }
      reported++
      expect(detail.analyses[0]).toMatchObject({ status: 'incomplete' })
      const reports = await reportsInOrthanc(study)
      expect(reports).toHaveLength(1)
      await expectValid(reports[0]!)
    }
    expect(reported).toBe(4)
  })

  describe.each([
    ['STOW-RS', stowToOrthanc],
    ['C-STORE', cStoreToOrthanc],
  ] as const)('gets every kind of result by %s and gives it back unchanged', (way, send) => {
    testWhere(hasOrthanc && hasProgram('storescu'), 'Orthanc or storescu is absent')(`by ${way}`, async () => {
      const names = [
        'a mask with a hole',
        'label map',
        'fractional mask, probability',
        'fractional mask in rle frames',
        'heat map',
        'DX',
        'name in Japanese',
      ]
      const cases = corpus().filter(({ name }) => names.includes(name))
      expect(cases).toHaveLength(names.length)
      const kinds = new Set<string>()
      for (const { findings, context } of cases) {
        const objects = await resultObjects(findings, { ...context, arm: way }, ['sr', 'seg', 'gsps', 'map', 'pdf'], {
          imageOf: () => undefined,
          draw: drawPicture,
        })
        for (const object of objects) {
          // Deflated frames and label maps are younger than dcmtk 3.6.7: its C-STORE does not propose them.
          if (way === 'C-STORE' && object.sopClassUid === sopClass.labelMapSegmentation) continue
          kinds.add(object.sopClassUid)
          const sent = join(scratch, 'sent.dcm')
          writeFileSync(sent, object.bytes)
          await send(sent, object)
          const { json } = await http('POST', `${pacs}/tools/lookup`, {}, object.sopInstanceUid)
          const got = Buffer.from(await (await fetch(`${pacs}/instances/${json[0].ID}/file`)).arrayBuffer())
          if (way === 'STOW-RS') expect(got.equals(object.bytes)).toBe(true)
          writeFileSync(join(scratch, 'got.dcm'), got)
          expect(await contentOf(join(scratch, 'got.dcm'))).toEqual(await contentOf(sent))
        }
      }
      expect(kinds.size).toBeGreaterThanOrEqual(5)
    })
  })
})

async function stowToOrthanc(path: string, object: ResultObject): Promise<void> {
  const deliverer = new StowClient({ url: `${pacs}/dicom-web`, timeoutSeconds: 30, http2: false, confirm: true })
  const stored = { ...object, path, byteLength: object.bytes.length, origin: 'result' as const, header: object.dataset }
  expect(await deliverer.deliver(stored as never)).toMatchObject({ outcome: 'delivered' })
  await deliverer.close()
}

async function cStoreToOrthanc(path: string): Promise<void> {
  execFileSync('storescu', ['-aec', 'ORTHANC', '-xr', '-R', '127.0.0.1', String(dimsePort), path], { stdio: 'pipe' })
}

/** The data set as JSON and the bytes of its frames: what must not change, however it is encoded. */
async function contentOf(path: string): Promise<unknown> {
  const outcome = readPart10Header(readFileSync(path), true, true)
  if (outcome.outcome !== 'header') throw new Error('cannot be read')
  const { json, pixelData, transferSyntax } = outcome.header
  if (!pixelData) return { json }
  const frames = await openFrames(path)
  const bytes = []
  for (let frame = 0; frame < frames.image.frames; frame++)
    bytes.push((await frames.read(frame)).bytes.toString('base64'))
  await frames.close()
  return { json, bytes, syntax: transferSyntax.uid }
}
