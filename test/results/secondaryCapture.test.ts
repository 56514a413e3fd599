import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import type { Finding, Findings } from '../../src/analysis/findings.js'
import type { NormalizedImage } from '../../src/analysis/normalizedStudy.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { textOf } from '../../src/dicom/dicomJson.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { drawText, glyphWidth } from '../../src/results/bitmapFont.js'
import { drawPicture, imageToDraw } from '../../src/results/keyImage.js'
import type { ResultContext } from '../../src/results/resultContext.js'
import { defaultFormat } from '../../src/results/resultFormat.js'
import { secondaryCaptures } from '../../src/results/secondaryCapture.js'
import { hasProgram, sharedFolder, testWhere } from '../fixtures/peers.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-sc-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** A ramp from left to right: −1024 to 1023, window 0 ± 512. */
function image(photometric = 'MONOCHROME2'): NormalizedImage {
  const [rows, columns] = [150, 128]
  const mirrored = photometric === 'MONOCHROME1'
  const stored = Int16Array.from({ length: rows * columns }, (_, i) => (i % columns) * 16 - 1024)
  return {
    sopInstanceUid: '1.2.3.1',
    sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
    frame: 1,
    rows,
    columns,
    imageType: [],
    // As the pipeline gives them: mirrored samples, with the rescale that keeps their values.
    rescale: { slope: mirrored ? -1 : 1, intercept: mirrored ? -1 : 0, unit: 'HU' },
    header: {
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
      '00280004': { vr: 'CS', Value: [photometric] },
      '00281050': { vr: 'DS', Value: [0] },
      '00281051': { vr: 'DS', Value: [1024] },
    },
    pixels: async () => ({
      samples: mirrored ? stored.map(v => -1 - v) : stored,
      photometric: 'MONOCHROME2',
      bitsStored: 16,
      signed: true,
    }),
  }
}

const finding = (number: number): Finding => ({
  trackingIdentifier: `Nodule ${number}`,
  trackingUid: `1.2.9.${number}`,
  type: c.nodule,
  regions: [
    {
      sopInstanceUid: '1.2.3.1',
      points: [
        [20, 60],
        [40, 60],
        [40, 80],
        [20, 80],
        [20, 60],
      ],
    },
  ],
  measurements: [{ quantity: c.longAxis, value: 9.876, unit: c.millimeter }],
  evaluations: [],
})
const findings: Findings = {
  algorithm: { name: 'Test', version: '1', manufacturer: 'Maker' },
  status: 'findings',
  lookedFor: [c.nodule],
  items: [finding(1), finding(2), { ...finding(3), regions: [] }],
}
const context: ResultContext = {
  studyInstanceUid: '1.2.3',
  revision: 1,
  route: 'r',
  arm: 'primary',
  sources: [],
  analyzedAt: new Date('2026-01-02T03:04:05Z'),
  deviceSerialNumber: 'serial',
  softwareVersion: '1',
  format: defaultFormat,
}

async function picture(drawn: NormalizedImage, legend: string[] = []) {
  return drawPicture({ image: await imageToDraw(drawn), outlines: [], legend })
}

test('each finding with an outline gets a picture that says what it is', async () => {
  const captures = await secondaryCaptures(findings, context, () => image(), drawPicture)
  expect(captures.map(capture => textOf(capture.dataset, '00204000'))).toEqual([
    'Nodule 1: Long axis 9.88 mm. AI result, not verified.',
    'Nodule 2: Long axis 9.88 mm. AI result, not verified.',
  ])
  expect(new Set(captures.map(capture => capture.seriesInstanceUid)).size).toBe(1)
  expect(new Set(captures.map(capture => capture.sopInstanceUid)).size).toBe(2)
  const path = join(scratch, 'sc.dcm')
  writeFileSync(path, captures[0]!.bytes)
  const source = await openFrames(path)
  const { samples, rows, columns, photometric } = await decodeFrame(source, 0)
  await source.close()
  expect({ columns, photometric }).toEqual({ columns: 512, photometric: 'RGB' })
  expect(rows).toBeGreaterThan(600)
  const at = (x: number, y: number) => [...samples.slice((y * columns + x) * 3, (y * columns + x) * 3 + 3)]
  expect(at(20 * 4, 70 * 4)).toEqual([255, 176, 0]) // the outline's left edge
  expect(at(10 * 4, 70 * 4)).toEqual([0, 0, 0]) // below the window
  expect(at(120 * 4, 70 * 4)).toEqual([255, 255, 255]) // above it
})

test('MONOCHROME1 looks as its viewer shows it: high values dark', async () => {
  const upright = await picture(image())
  const inverted = await picture(image('MONOCHROME1'))
  for (const i of [0, 300, 768, 1200, 1533]) expect(inverted.rgb[i]! + upright.rgb[i]!).toBeGreaterThanOrEqual(254)
  expect(inverted.rgb[0]).toBe(255)
})

test('long lines are broken, none is cut', async () => {
  const short = await picture(image(), ['ONE LINE'])
  const long = await picture(image(), ['WORD '.repeat(30).trim(), 'X'.repeat(100)])
  const lines = (drawn: { rows: number }) => (drawn.rows - 600 - 4) / 18
  expect(lines(short)).toBe(1)
  expect(lines(long)).toBe(4 + 3)
})

test('text without glyphs is told by question marks, accents are dropped', () => {
  const drawn = (line: string) => {
    const pixels: string[] = []
    drawText(line, (x, y) => pixels.push(`${x},${y}`))
    return pixels.join(' ')
  }
  expect(drawn('é')).toBe(drawn('E'))
  expect(drawn('肺')).toBe(drawn('?'))
  expect(drawn(' A')).toBe(drawn('A').replace(/(\d+),/g, (_, x) => `${Number(x) + glyphWidth},`))
})

const validator = join(sharedFolder, 'tools', 'validate-sr')
testWhere(existsSync(validator) && hasProgram('dciodvfy'), 'the validators are absent')(
  'a validator finds no error',
  async () => {
    const [capture] = await secondaryCaptures(findings, context, () => image(), drawPicture)
    const path = join(scratch, 'valid.dcm')
    writeFileSync(path, capture!.bytes)
    expect(execFileSync(validator, [path], { encoding: 'utf8' })).toMatch(/: valid/)
  },
  180_000,
)
