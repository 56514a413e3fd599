import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from '@jest/globals'
import { readPart10Header } from '../../src/dicom/part10.js'
import { QueryScu } from '../../src/dimse/queryScu.js'
import { storeScu } from '../../src/dimse/storeScu.js'
import { getParts } from '../fixtures/multipartAnswer.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { freePort, hasSamples, samples, testWhere } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const testWithSamples = testWhere(hasSamples, 'the sample files are not there')
const folder = mkdtempSync(join(tmpdir(), 'radbridge-round-'))
let web: TestService
let dimse: TestService
let far: TestService
let port: number

beforeAll(async () => {
  if (!hasSamples) return
  port = await freePort()
  const farPort = await freePort()
  const replace = { RADBRIDGE_DUPLICATE_POLICY: 'replace', RADBRIDGE_QUIET_SECONDS: '3600' }
  web = await startTestService({ endpoints: 'routes: []\n', environment: replace })
  far = await startTestService({
    endpoints: 'routes: []\n',
    environment: { ...replace, RADBRIDGE_DIMSE_PORT: String(farPort), RADBRIDGE_AE_TITLE: 'FAR' },
  })
  dimse = await startTestService({
    endpoints: `
destinations: [{ name: far, dimse: { aeTitle: FAR, host: 127.0.0.1, port: ${farPort} } }]
routes: []
`,
    environment: { ...replace, RADBRIDGE_DIMSE_PORT: String(port) },
  })
})
afterAll(async () => {
  await Promise.all([web?.stop(), dimse?.stop(), far?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

const allFiles = (path: string): string[] =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap(name => allFiles(join(path, name))) : [path]

/** The bytes behind group 0002, which each writes for itself. */
const dataSetOf = (bytes: Buffer) => {
  const outcome = readPart10Header(bytes, true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return bytes.subarray(outcome.header.dataSetOffset)
}

testWithSamples(
  'what was stored is what is returned, byte for byte: STOW-RS to WADO-RS, C-STORE to WADO-RS, C-STORE to C-MOVE',
  async () => {
    const peer = { aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'TEST', timeoutSeconds: 20 }
    const scu = storeScu(peer)
    const query = new QueryScu(peer)
    const accept = 'application/dicom; transfer-syntax=*'
    const differing: string[] = []
    let compared = 0
    for (const path of allFiles(samples)) {
      const bytes = readFileSync(path)
      const header = readPart10Header(bytes, true)
      if (header.outcome !== 'header') continue
      const { studyInstanceUid: study, seriesInstanceUid: series, sopInstanceUid, sopClassUid } = header.header
      const answer = await http(
        'POST',
        `${web.url}/dicom-web/studies`,
        { 'Content-Type': multipartType },
        multipart([bytes]),
      )
      if (answer.status !== 200 && answer.status !== 202) continue // what is refused is the subject of other tests
      const where = `/dicom-web/studies/${study}/series/${series}/instances/${sopInstanceUid}`
      const fromWeb = await getParts(web.url + where, accept)
      if (!fromWeb.parts[0]!.bytes.equals(bytes)) differing.push(`STOW-RS to WADO-RS: ${path}`)

      const object = {
        studyInstanceUid: study,
        seriesInstanceUid: series,
        sopInstanceUid,
        sopClassUid,
        byteLength: bytes.length,
      }
      const local = join(folder, 'one.dcm')
      writeFileSync(local, bytes)
      const outcome = await scu.deliver({ ...object, path: local })
      if (outcome.outcome !== 'delivered') differing.push(`${outcome.detail}: ${path}`)
      const fromDimse = await getParts(dimse.url + where, accept)
      if (!dataSetOf(fromDimse.parts[0]!.bytes).equals(dataSetOf(bytes))) differing.push(`C-STORE to WADO-RS: ${path}`)

      await query.move({ study, series, instance: sopInstanceUid }, 'FAR')
      const moved = await getParts(far.url + where, accept)
      if (!dataSetOf(moved.parts[0]!.bytes).equals(dataSetOf(bytes))) differing.push(`C-STORE to C-MOVE: ${path}`)
      compared++
    }
    await scu.close()
    expect(differing).toEqual([])
    expect(compared).toBeGreaterThan(150)
  },
  180_000,
)
