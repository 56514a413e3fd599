import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { commandField, field } from '../../src/dimse/command.js'
import { openAssociation } from '../../src/dimse/openAssociation.js'
import { findOperation } from '../../src/dimse/queryScp.js'
import { QueryScu } from '../../src/dimse/queryScu.js'
import { service as sopClasses } from '../../src/dimse/sopClasses.js'
import { silentLog } from '../../src/platform/log.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort, hasProgram, testWhere } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const run = promisify(execFile)
const testWithDcmtk = testWhere(
  hasProgram('movescu') && hasProgram('findscu') && hasProgram('getscu'),
  'dcmtk is not installed',
)
const folder = mkdtempSync(join(tmpdir(), 'radbridge-query-'))
let service: TestService
let port: number
let movePort: number
const study = freshUids().study
const [ct, sr] = [freshUids(), freshUids()]
const files: Buffer[] = []

beforeAll(async () => {
  port = await freePort()
  movePort = await freePort()
  service = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(port) },
    endpoints: `
destinations:
  - { name: movescu, dimse: { aeTitle: MOVESCU, host: 127.0.0.1, port: ${movePort} } }
routes: []
`,
  })
  const common = {
    '00100010': element('00100010', 'PN', 'Doe^Jane'),
    '00100020': element('00100020', 'LO', 'QR-1'),
    '00080050': element('00080050', 'SH', 'A77'),
    '00081030': element('00081030', 'LO', 'Chest'),
  }
  for (let i = 0; i < 3; i++) {
    const elements = { ...common, '00200013': element('00200013', 'IS', String(i + 1)) }
    files.push(instance({ study, series: ct.series, instance: `${ct.instance}.${i}`.slice(0, 64), elements }))
  }
  const other = {
    ...common,
    '00080060': element('00080060', 'CS', 'OT'),
    '00080020': element('00080020', 'DA', '20260303'),
  }
  files.push(instance({ study, series: sr.series, instance: sr.instance, elements: other }))
  files.push(
    instance({
      elements: {
        '00100010': element('00100010', 'PN', 'Roe^Richard'),
        '00100020': element('00100020', 'LO', 'QR-2'),
        '00080020': element('00080020', 'DA', '20250101'),
      },
    }),
  )
  const { status } = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart(files),
  )
  expect(status).toBe(200)
})
afterAll(async () => {
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const peer = () => ({ aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'MOVESCU', timeoutSeconds: 10 })
const query = () => new QueryScu(peer())
const dataSetOf = (bytes: Buffer) => bytes.subarray(132 + 12 + bytes.readUInt32LE(140))
const uidsOf = (bytes: Buffer) => {
  const outcome = readPart10Header(bytes, true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return outcome.header
}

describe('C-FIND', () => {
  test('studies by patient, name with wildcards, and a range of dates; counts and modalities come with them', async () => {
    const scu = query()
    const keys = ['StudyInstanceUID', 'NumberOfStudyRelatedInstances', 'ModalitiesInStudy', 'StudyDescription']
    const byId = await scu.searchStudies({ PatientID: 'QR-1' }, keys)
    expect(byId).toHaveLength(1)
    expect(textOf(byId[0]!, '0020000D')).toBe(study)
    expect(textOf(byId[0]!, '00201208')).toBe('4')
    expect(byId[0]!['00080061']?.Value?.toSorted()).toEqual(['CT', 'OT'])
    expect(textOf(byId[0]!, '00081030')).toBe('Chest')
    expect(textOf(byId[0]!, '00080054')).toBe('RADBRIDGE')
    expect(await scu.searchStudies({ PatientName: 'ROE*' }, keys)).toHaveLength(1)
    expect(await scu.searchStudies({ PatientName: '*', StudyDate: '20240101-20251231' }, keys)).toHaveLength(1)
    expect(await scu.searchStudies({ PatientID: 'nobody' }, keys)).toEqual([])
    await scu.close()
  })
  test('the instances of a study, series by series', async () => {
    const scu = query()
    const found = await scu.searchInstances(study)
    expect(found.map(entry => textOf(entry, '00080018')).toSorted()).toEqual(
      files
        .slice(0, 4)
        .map(file => uidsOf(file).sopInstanceUid)
        .toSorted(),
    )
    expect(new Set(found.map(entry => textOf(entry, '0020000E')))).toEqual(new Set([ct.series, sr.series]))
    await scu.close()
  })
  test('a level that the information model does not have gets A900', async () => {
    const scu = query() as unknown as { find(level: string, query: object): Promise<unknown>; close(): Promise<void> }
    await expect(scu.find('PATIENT', { PatientID: '' })).rejects.toThrow('A900')
    await expect(scu.find('WHATEVER', { PatientID: '' })).rejects.toThrow('A900')
    await expect(scu.find('STUDY', { StudyDate: 'yesterday' })).rejects.toThrow('A900')
    await scu.close()
  })
  testWithDcmtk('dcmtk finds patients and series', async () => {
    const { stdout, stderr } = await run('findscu', [
      ...['-P', '-aec', 'RADBRIDGE', '-k', 'QueryRetrieveLevel=PATIENT', '-k', 'PatientID=QR*', '-k', 'PatientName'],
      ...['127.0.0.1', String(port)],
    ])
    expect(stdout + stderr).toMatch(/Doe\^Jane/)
    expect(stdout + stderr).toMatch(/Roe\^Richard/)
    const series = await run('findscu', [
      ...['-S', '-aec', 'RADBRIDGE', '-k', 'QueryRetrieveLevel=SERIES', '-k', `StudyInstanceUID=${study}`],
      ...[
        '-k',
        'SeriesInstanceUID',
        '-k',
        'Modality=CT',
        '-k',
        'NumberOfSeriesRelatedInstances',
        '127.0.0.1',
        String(port),
      ],
    ])
    expect(series.stdout + series.stderr).toMatch(new RegExp(ct.series.replaceAll('.', '\\.')))
    expect(series.stdout + series.stderr).not.toMatch(new RegExp(sr.series.replaceAll('.', '\\.')))
  })
  test('a query that nobody listens to any more is cancelled, and the association goes on', async () => {
    const proposal = { abstractSyntax: sopClasses.studyRootFind, transferSyntaxes: ['1.2.840.10008.1.2.1'] }
    const { association } = await openAssociation(peer(), [proposal], { log: silentLog })
    const [context] = association.contextsOf(sopClasses.studyRootFind)
    const ask = () =>
      association.ask(
        context!,
        { [field.affectedSopClassUid]: sopClasses.studyRootFind, [field.commandField]: commandField.cFindRequest },
        { '00080052': { vr: 'CS', Value: ['STUDY'] }, '0020000D': { vr: 'UI' } },
      )
    for await (const { status } of ask()) {
      expect(status).toBe(0xff00)
      break
    }
    const statuses: number[] = []
    for await (const { status } of ask()) statuses.push(status)
    expect(statuses.at(-1)).toBe(0)
    expect(statuses.length).toBeGreaterThan(2)
    association.release()
  })
  test('C-CANCEL ends an operation with FE00', async () => {
    const ended = new AbortController()
    const responses: number[] = []
    const respond = async (status: number) => {
      responses.push(status)
      if (responses.length === 1) ended.abort()
    }
    await findOperation(
      { query: async (sql: string, values: unknown[]) => ({ rows: await service.query(sql, values) }) } as never,
      'RADBRIDGE',
    )({
      context: { id: 1, abstractSyntax: sopClasses.studyRootFind, transferSyntax: '1.2.840.10008.1.2.1' },
      dataSet: () => ({ '00080052': { vr: 'CS', Value: ['STUDY'] } }),
      ended: ended.signal,
      respond,
    } as never)
    expect(responses).toEqual([0xff00, 0xfe00])
  })
})

describe('retrieving', () => {
  const received = (directory: string) =>
    readdirSync(directory)
      .map(name => readFileSync(join(directory, name)))
      .filter(bytes => bytes.toString('latin1', 128, 132) === 'DICM')

  /** Has a study sent to itself; with `+B` it writes into the folder that it is called in. */
  const movescu = (target: string, uid: string, ...options: string[]) =>
    run(
      'movescu',
      [
        ...['-S', '-aec', 'RADBRIDGE', '-aet', 'MOVESCU', '-aem', 'MOVESCU', '+P', String(movePort), '+B', ...options],
        ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${uid}`, '127.0.0.1', String(port)],
      ],
      { cwd: target },
    )

  testWithDcmtk('C-MOVE brings a study to a configured application entity, byte for byte', async () => {
    const target = join(folder, 'moved')
    mkdirSync(target)
    await movescu(target, study)
    const came = new Map(received(target).map(bytes => [uidsOf(bytes).sopInstanceUid, bytes]))
    expect(came.size).toBe(4)
    for (const file of files.slice(0, 4))
      expect(dataSetOf(came.get(uidsOf(file).sopInstanceUid)!).equals(dataSetOf(file))).toBe(true)
  })
  testWithDcmtk('C-GET brings a series over the same association', async () => {
    const target = join(folder, 'got')
    mkdirSync(target)
    await run('getscu', [
      ...['-S', '-aec', 'RADBRIDGE', '-od', target, '+B', '-k', 'QueryRetrieveLevel=SERIES'],
      ...['-k', `StudyInstanceUID=${study}`, '-k', `SeriesInstanceUID=${ct.series}`, '127.0.0.1', String(port)],
    ])
    expect(received(target)).toHaveLength(3)
  })
  test('an unknown move destination gets A801, one that is away A702, and nothing found is a success', async () => {
    await expect(query().move({ study }, 'NOBODY')).rejects.toThrow('A801')
    await expect(query().move({ study }, 'MOVESCU')).rejects.toThrow('A702')
    expect(await query().move({ study: '1.2.3.4' }, 'MOVESCU')).toEqual({ completed: 0, failed: 0 })
  })
  test('our own C-GET fills a store', async () => {
    const stored: string[] = []
    const store = {
      async begin() {
        const parts: Buffer[] = []
        return {
          write: (part: Buffer) => void parts.push(Buffer.from(part)),
          async end() {
            stored.push(String(Buffer.concat(parts).length))
            return { status: 0 }
          },
          async abort() {},
        }
      },
    }
    const came = await query().get({ study, series: ct.series }, ['1.2.840.10008.5.1.4.1.1.2'], store)
    expect(came).toEqual({ completed: 3, failed: 0 })
    expect(stored).toEqual(files.slice(0, 3).map(file => String(dataSetOf(file).length)))
  })
  testWithDcmtk('what a peer does not take as it is stored is decoded for it', async () => {
    const { study: compressed } = freshUids()
    const plain = join(folder, 'plain.dcm')
    const packed = join(folder, 'packed.dcm')
    const pixels = Buffer.from(Uint16Array.from({ length: 256 }, (_, i) => i * 5).buffer)
    const original = instance({ study: compressed, pixels })
    writeFileSync(plain, original)
    await run('dcmcjpeg', ['+e1', plain, packed])
    await http(
      'POST',
      `${service.url}/dicom-web/studies`,
      { 'Content-Type': multipartType },
      multipart([readFileSync(packed)]),
    )
    const target = join(folder, 'decoded')
    mkdirSync(target)
    await movescu(target, compressed, '+xi')
    const [came] = received(target)
    const header = uidsOf(came!)
    expect(header.transferSyntax.uid).toBe('1.2.840.10008.1.2')
    expect(came!.subarray(header.pixelData!.offset, header.pixelData!.offset + 512).equals(pixels)).toBe(true)
  })
})
