import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { z } from 'zod'
import { findingsSchema } from '../../src/analysis/findingsSchema.js'
import { element, freshUids, instance } from '../fixtures/part10.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-report-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))
const images = join(scratch, 'images')
const uids: string[] = []

beforeAll(() => {
  mkdirSync(images)
  const { study, series } = freshUids()
  for (let z = 0; z < 3; z++) {
    const { instance: uid } = freshUids()
    uids.push(uid)
    const elements = {
      '00200032': element('00200032', 'DS', `0\\0\\${z * 2}`),
      '00200037': element('00200037', 'DS', '1\\0\\0\\0\\1\\0'),
      '00200052': element('00200052', 'UI', '1.2.3.4'),
      '00280030': element('00280030', 'DS', '1\\1'),
    }
    writeFileSync(join(images, `${z}.dcm`), instance({ study, series, instance: uid, elements }))
  }
})

function radbridge(...args: string[]) {
  return spawnSync(process.execPath, ['dist/cli/index.js', ...args], { encoding: 'utf8' })
}

function writeFindings(
  change: (document: { items: { regions: { sopInstanceUid: string }[] }[]; status: string }) => void = () => {},
) {
  const code = (value: string, scheme: string, meaning: string) => ({ value, scheme, meaning })
  const mm = code('mm', 'UCUM', 'millimeter')
  const document = {
    algorithm: { name: 'Lung AI', version: '2.1', manufacturer: 'ACME' },
    status: 'findings',
    lookedFor: [code('27925004', 'SCT', 'Nodule')],
    items: [
      {
        trackingIdentifier: 'Nodule 1',
        trackingUid: '1.2.9.1',
        type: code('27925004', 'SCT', 'Nodule'),
        regions: [
          {
            sopInstanceUid: uids[1]!,
            points: [
              [4, 4],
              [8, 4],
              [8, 8],
              [4, 8],
              [4, 4],
            ],
          },
        ],
        mask: {
          slices: [{ sopInstanceUid: uids[1]!, runs: [4, 5, 6, 7].map(row => ({ row, column: 4, length: 4 })) }],
        },
        measurements: [
          { quantity: code('103339001', 'SCT', 'Long axis'), value: 5.7, unit: mm },
          { quantity: code('118565006', 'SCT', 'Volume'), value: 32, unit: code('mm3', 'UCUM', 'cubic millimeter') },
        ],
        probability: 0.94,
      },
    ],
  }
  change(document)
  const path = join(scratch, 'findings.json')
  writeFileSync(path, JSON.stringify(document))
  return path
}

test('a Findings document becomes a report and a segmentation, which are shown as a tree', () => {
  const out = join(scratch, 'out')
  const made = radbridge('report', writeFindings(), images, '-o', out)
  expect(made.stderr).toBe('')
  expect(made.status).toBe(0)
  expect(readdirSync(out)).toEqual(['sc-1.dcm', 'sc-2.dcm', 'seg-1.dcm', 'sr.dcm'])
  const shown = radbridge('show', join(out, 'sr.dcm'))
  expect(shown.status).toBe(0)
  expect(shown.stdout).toContain('[COMPLETE, UNVERIFIED, PRELIMINARY]')
  for (const line of ['Long axis: 5.7 mm', 'Volume: 32 mm3', 'Certainty of Finding: 94 %', 'Algorithm Name: Lung AI'])
    expect(shown.stdout).toContain(line)
  const segmentation = radbridge('show', join(out, 'seg-1.dcm'))
  expect(segmentation.status).toBe(1)
  expect(segmentation.stderr).toMatch(/not a Structured Report/)
})

test('report and segmentation are read back into the Findings they were made of', () => {
  const out = join(scratch, 'again')
  const path = writeFindings()
  expect(radbridge('report', path, images, '-o', out, '--results', 'sr,seg').status).toBe(0)
  const read = radbridge('show', '--json', join(out, 'sr.dcm'), join(out, 'seg-1.dcm'))
  expect(read.stderr).toBe('')
  expect(JSON.parse(read.stdout).items).toMatchObject(JSON.parse(readFileSync(path, 'utf8')).items)
})

test('every kind of result, in another language and compressed', () => {
  const out = join(scratch, 'all')
  const options = [
    '--results',
    'sr,seg,sc,gsps,map,pdf',
    '--language',
    'de',
    '--report',
    'comprehensive',
    '--compression',
    'deflated',
  ]
  expect(radbridge('report', writeFindings(), images, '-o', out, ...options).stderr).toBe('')
  expect(readdirSync(out)).toEqual(['gsps-1.dcm', 'pdf-1.dcm', 'sc-1.dcm', 'sc-2.dcm', 'seg-1.dcm', 'sr.dcm'])
  expect(radbridge('show', join(out, 'sr.dcm')).stdout).toContain('Lange Achse: 5.7 mm')
  const wrong = radbridge('report', writeFindings(), images, '-o', out, '--language', 'la')
  expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining('expected en, de, fr, es, ja, zh, not la')])
})

test('what leaves its image is refused, and said where', () => {
  const path = writeFindings(document => {
    const [item] = document.items as unknown as { regions: { points: number[][] }[] }[]
    item!.regions[0]!.points[1] = [9999, 4]
  })
  const { status, stderr } = radbridge('report', path, images, '-o', join(scratch, 'none'))
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(/an outline leaves the \d+ columns and \d+ rows of image/),
  ])
})

test('a document that is none says where and what was expected', () => {
  const path = writeFindings(document => {
    document.status = 'maybe'
  })
  const { status, stderr } = radbridge('report', path, images, '-o', join(scratch, 'none'))
  expect(status).toBe(1)
  expect(stderr).toMatch(/not a Findings document/)
  expect(stderr).toMatch(/"findings"\|"no-findings"/)
  expect(stderr).toMatch(/at status/)
})

test('a finding on an image that was not given is refused', () => {
  const path = writeFindings(document => {
    document.items[0]!.regions[0]!.sopInstanceUid = '1.2.3'
  })
  const { status, stderr } = radbridge('report', path, images, '-o', join(scratch, 'none'))
  expect(status).toBe(1)
  expect(stderr).toContain('Nodule 1 refers to image 1.2.3, which is not among the images given')
})

test('docs/findings.schema.json is the schema of the code', () => {
  const written = JSON.parse(readFileSync('docs/findings.schema.json', 'utf8'))
  expect(written).toEqual({ title: 'Findings', ...z.toJSONSchema(findingsSchema, { io: 'input' }) })
})

test('docs/conformance.md is the statement of the code', () => {
  expect(readFileSync('docs/conformance.md', 'utf8')).toBe(radbridge('conformance').stdout)
})

test('each row of the conformance table names a test that there is', () => {
  const rows = readFileSync('docs/conformance.md', 'utf8').matchAll(/\| (test\/[\w/]+\.test\.ts)(?:: (.+?))? \|$/gm)
  const named = [...rows]
  expect(named.length).toBeGreaterThan(15)
  for (const [, file, name] of named) {
    const text = readFileSync(file!, 'utf8')
    if (name) expect([file, name, text.includes(`'${name}'`)]).toEqual([file, name, true])
  }
})
