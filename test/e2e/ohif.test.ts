import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from '@jest/globals'
import { decode } from 'fast-png'
import { type Browser, chromium, type Page } from 'playwright-core'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { chromiumFlags, hasOhif, ohifFolder } from '../fixtures/ohif.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, pathOf, testWhere } from '../fixtures/peers.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

const present = hasOhif && hasProgram('chromium')
const testWithViewer = testWhere(present, 'Chromium or the viewer OHIF is absent')
const artifacts = join(process.cwd(), 'artifacts')

const phantom: PhantomOptions = {
  size: 256,
  slices: 60,
  pixelSpacing: 1.3,
  sliceSpacing: 4,
  nodules: [
    { center: [-85, 10, 40], diameter: 16 },
    { center: [70, -20, -30], diameter: 14 },
  ],
  vessels: false,
  noise: 10,
  seed: 3,
  study: 'ohif',
  patientName: 'Viewer^Test',
}

let service: TestService
let browser: Browser
let page: Page
let study: string
const errors: string[] = []
const failures: string[] = []

beforeAll(async () => {
  if (!present) return
  mkdirSync(artifacts, { recursive: true })
  const configuration = join(mkdtempSync(join(tmpdir(), 'radbridge-ohif-')), 'radbridge.yaml')
  writeFileSync(configuration, `viewer: { directory: ${ohifFolder} }\n`)
  service = await startTestService({ configuration })
  const files = await phantomFiles(phantom)
  const outcome = readPart10Header(files[0]!, true)
  if (outcome.outcome !== 'header') throw new Error('the phantom has no header')
  study = outcome.header.studyInstanceUid
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))
  expect((await followStudy(service.url, study, 60)).state).toBe('completed')
  browser = await chromium.launch({ executablePath: pathOf('chromium'), args: chromiumFlags })
  page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
  page.setDefaultTimeout(60_000)
  page.on('response', answer => {
    if (answer.status() >= 400) failures.push(`${answer.status()} ${answer.url()}`)
    if (!answer.url().startsWith(service.url) && !/^(blob|data):/.test(answer.url())) failures.push(answer.url())
  })
  page.on('pageerror', error => errors.push(String(error)))
}, 180_000)
afterAll(async () => {
  await browser?.close()
  await service?.stop()
})

/** Pixels of the picture in the colour of the first segment and of the outlines of a measurement. */
function coloured(png: Uint8Array): { segment: number; measurement: number } {
  const { data, channels, width, height } = decode(png)
  let [segment, measurement] = [0, 0]
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = [data[i * channels]!, data[i * channels + 1]!, data[i * channels + 2]!]
    if (r > 220 && g > 150 && g < 225 && b < 150) segment++
    if (r < 60 && g > 200 && b < 60) measurement++
  }
  return { segment, measurement }
}

/** How bright a picture is: the mean of its green, 0 to 255, and the sum. */
function brightness(png: Uint8Array): { mean: number; sum: number } {
  const { data, channels, width, height } = decode(png)
  let sum = 0
  for (let i = 0; i < width * height; i++) sum += data[i * channels + 1]!
  return { mean: sum / (width * height), sum }
}

async function openSeries(modality: 'SR' | 'SEG'): Promise<void> {
  await page.locator('[data-cy="study-browser-thumbnail-no-image"]').filter({ hasText: modality }).first().dblclick()
}

/** Looks until the picture has what is waited for: nothing in the page says when the viewer has drawn. */
async function untilDrawn(name: string, drawn: (colours: ReturnType<typeof coloured>) => boolean) {
  const viewport = page.locator('[data-cy="viewport-pane"]').first()
  for (let waited = 0; ; waited += 1000) {
    const colours = coloured(await viewport.screenshot())
    if (drawn(colours) || waited >= 60_000) {
      await page.screenshot({ path: join(artifacts, `ohif-${name}.png`) })
      return colours
    }
    await page.waitForTimeout(1000)
  }
}

describe('the viewer OHIF on our archive', () => {
  testWithViewer(
    'lists the study',
    async () => {
      await page.goto(`${service.url}/viewer/`)
      await page.getByText('Viewer, Test').or(page.getByText('Viewer^Test')).first().waitFor()
      await page.screenshot({ path: join(artifacts, 'ohif-list.png') })
      expect(await page.locator('body').textContent()).toContain('Chest CT phantom')
    },
    180_000,
  )

  testWithViewer(
    'shows the series of the study, the results among them',
    async () => {
      await page.goto(`${service.url}/viewer/viewer?StudyInstanceUIDs=${study}`)
      await page.locator('[data-cy="study-browser-thumbnail-no-image"]').first().waitFor()
      await page.getByText('Skip all').click() // the tour for new users
      await page.getByText('Confirm and hide').click()
      const cards = page.locator('[data-cy^="study-browser-thumbnail"]')
      const listed = (await cards.allInnerTexts()).map(text => text.split('\n')[0])
      expect(listed).toEqual(expect.arrayContaining(['CT', 'OT', 'SR', 'SEG']))
    },
    180_000,
  )

  testWithViewer(
    'opens the images: with a thumbnail, by scrolling, and in another window',
    async () => {
      const thumbnail = page.locator('[data-cy="study-browser-thumbnail"]').filter({ hasText: 'CT' }).first()
      await thumbnail.locator('img').waitFor()
      expect(
        await thumbnail.locator('img').evaluate(image => (image as unknown as { naturalWidth: number }).naturalWidth),
      ).toBeGreaterThan(0)
      await thumbnail.dblclick()
      const viewport = page.locator('[data-cy="viewport-pane"]').first()
      const grey = async () => brightness(await viewport.screenshot())
      const first = await until('the image is drawn', async () => {
        const seen = await grey()
        return seen.mean > 8 ? seen : undefined
      })
      await viewport.hover()
      for (let i = 0; i < 12; i++) await page.mouse.wheel(0, 120)
      const other = await until('another slice is drawn', async () => {
        const seen = await grey()
        return seen.sum !== first.sum ? seen : undefined
      })
      const box = (await viewport.boundingBox())!
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
      await page.mouse.move(x, y)
      await page.mouse.down()
      await page.mouse.move(x + 10, y - 120, { steps: 8 })
      await page.mouse.up()
      await until('the window has changed', async () =>
        Math.abs((await grey()).mean - other.mean) > 3 ? true : undefined,
      )
      await page.screenshot({ path: join(artifacts, 'ohif-images.png') })
    },
    180_000,
  )

  testWithViewer(
    'draws the segmentation',
    async () => {
      await openSeries('SEG')
      await page.locator('[data-cy="yes-hydrate-btn"]').waitFor()
      expect((await untilDrawn('seg', colours => colours.segment > 300)).segment).toBeGreaterThan(300)
    },
    180_000,
  )

  testWithViewer(
    'shows the measurements of the report at their outline',
    async () => {
      await openSeries('SR')
      await page
        .getByText(/Long axis: 15\.\d+ mm/)
        .first()
        .waitFor()
      const told = await page.locator('body').textContent()
      expect(told).toMatch(/Volume: \d+(\.\d+)? mm3/)
      expect(told).toMatch(/Attenuation Coefficient: -\d+/)
      expect((await untilDrawn('sr', colours => colours.measurement > 300)).measurement).toBeGreaterThan(300)
    },
    180_000,
  )

  testWithViewer('asked for nothing that it did not get, and met no error', () => {
    expect(failures).toEqual([])
    expect(errors).toEqual([])
  })
})
