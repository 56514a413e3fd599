import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from '@jest/globals'
import { type Browser, chromium, type Page } from 'playwright-core'
import { chromiumFlags } from '../fixtures/ohif.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

const present = hasProgram('chromium')
const testInBrowser = testWhere(present, 'Chromium is not installed')
let page: Page
let browser: Browser
let origin: Server
let service: TestService

/** A page of another origin than the service's, with the client in it: what a web viewer is. */
beforeAll(async () => {
  if (!present) return
  origin = createServer(
    (_req, res) => void res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>viewer</title>'),
  )
  await new Promise<void>(resolve => origin.listen(0, '127.0.0.1', resolve))
  const address = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`
  const configuration = join(tmpdir(), `radbridge-cors-${process.pid}.yaml`)
  writeFileSync(configuration, `http: { corsOrigins: ['${address}'] }\n`)
  service = await startTestService({ endpoints: 'routes: []\n', configuration })
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: chromiumFlags })
  page = await browser.newPage()
  await page.goto(address)
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve('dicomweb-client') })
}, 180_000)
afterAll(async () => {
  await browser?.close()
  origin?.close()
  await service?.stop()
})

testInBrowser(
  'dicomweb-client stores, searches and retrieves, from a page of another origin',
  async () => {
    const uids = freshUids()
    const file = instance(uids)
    const other = instance({ ...uids, instance: `${uids.instance.slice(0, 60)}.2` })
    await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart([file]))
    const result = await page.evaluate(
      async ({ url, study, series, uid, bytes }) => {
        // biome-ignore lint/suspicious/noExplicitAny: a script of the page
        const { api } = (globalThis as any).DICOMwebClient
        const client = new api.DICOMwebClient({ url })
        const sizeOf = (buffer: ArrayBuffer) => buffer.byteLength
        const ids = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: uid }
        await client.storeInstances({ datasets: [new Uint8Array(bytes).buffer] })
        const studies = await client.searchForStudies({ queryParams: { StudyInstanceUID: study } })
        const allSeries = await client.searchForSeries({ studyInstanceUID: study })
        const instances = await client.searchForInstances({ studyInstanceUID: study })
        const metadata = await client.retrieveStudyMetadata({ studyInstanceUID: study })
        const retrieved = await client.retrieveStudy({ studyInstanceUID: study })
        const ofSeries = await client.retrieveSeries({ studyInstanceUID: study, seriesInstanceUID: series })
        const single = await client.retrieveInstance(ids)
        const frames = await client.retrieveInstanceFrames({ ...ids, frameNumbers: [1] })
        const bulk = await client.retrieveBulkData({ BulkDataURI: metadata[0]['7FE00010'].BulkDataURI })
        const [rendered] = await client.retrieveInstanceRendered(ids)
        return {
          counts: [studies, allSeries, instances, metadata, retrieved, ofSeries].map(list => list.length),
          single: sizeOf(single),
          frame: sizeOf(frames[0]),
          bulk: sizeOf(bulk[0] ?? bulk),
          jpeg: [...new Uint8Array(rendered).slice(0, 2)],
        }
      },
      {
        url: `${service.url}/dicom-web`,
        study: uids.study,
        series: uids.series,
        uid: uids.instance,
        bytes: [...other],
      },
    )
    expect(result).toEqual({
      counts: [1, 1, 2, 2, 2, 2],
      single: file.length,
      frame: 512,
      bulk: 512,
      jpeg: [0xff, 0xd8],
    })
  },
  180_000,
)
