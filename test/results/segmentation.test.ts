import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import type { Finding, Findings } from '../../src/analysis/findings.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { type DicomJson, itemsOf, numberOf, numbersOf, textOf } from '../../src/dicom/dicomJson.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import type { ResultContext, SourceInstance } from '../../src/results/resultContext.js'
import { defaultFormat } from '../../src/results/resultFormat.js'
import { type Segmentation, segmentations } from '../../src/results/segmentation.js'
import { structuredReport } from '../../src/results/structuredReport.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-seg-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const rows = 13
const columns = 11
const series = '1.2.3.4.5'
/** An oblique orientation, rows and columns apart by different distances. */
const axis = Math.SQRT1_2
const orientation = [axis, axis, 0, 0, 0, -1]
const normal = [-axis, axis, 0]

function sources({ reversed = false, slices = 6 } = {}): SourceInstance[] {
  return Array.from({ length: slices }, (_, i) => {
    const along = (reversed ? slices - 1 - i : i) * 2.5
    return {
      sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
      sopInstanceUid: `${series}.${i + 1}`,
      seriesInstanceUid: series,
      header: {
        '00080020': { vr: 'DA', Value: ['20260102'] },
        '00080060': { vr: 'CS', Value: ['CT'] },
        '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
        '00100020': { vr: 'LO', Value: ['P1'] },
        '00180050': { vr: 'DS', Value: [2.5] },
        '00200032': { vr: 'DS', Value: normal.map((n, k) => Math.round((n * along + [7, -3, 100][k]!) * 1e6) / 1e6) },
        '00200037': { vr: 'DS', Value: orientation.map(v => Math.round(v * 1e9) / 1e9) },
        '00200052': { vr: 'UI', Value: ['1.2.3.4.6'] },
        '00280010': { vr: 'US', Value: [rows] },
        '00280011': { vr: 'US', Value: [columns] },
        '00280030': { vr: 'DS', Value: [0.7, 0.9] },
      },
    }
  })
}

const context = (over: Partial<ResultContext> = {}): ResultContext => ({
  studyInstanceUid: '1.2.3.4',
  revision: 1,
  route: 'r',
  arm: 'primary',
  sources: sources(),
  analyzedAt: new Date('2026-01-02T03:04:05Z'),
  deviceSerialNumber: 'serial',
  softwareVersion: '1.2.3',
  format: defaultFormat,
  ...over,
})

interface Voxel {
  slice: number
  row: number
  column: number
}

function finding(number: number, voxels: Voxel[]): Finding {
  const bySlice = new Map<number, { row: number; column: number; length: number }[]>()
  for (const { slice, row, column } of voxels)
    bySlice.set(slice, [...(bySlice.get(slice) ?? []), { row, column, length: 1 }])
  const key = voxels[0]!
  const measure = (
    quantity: (typeof c)['volume'] | (typeof c)['longAxis'],
    unit: (typeof c)['millimeter'] | (typeof c)['cubicMillimeter'],
  ) => ({
    quantity,
    value: 12.5,
    unit,
    method: c.segmentedVoxels,
  })
  return {
    trackingIdentifier: `Nodule ${number}`,
    trackingUid: `1.2.9.${number}`,
    type: c.nodule,
    category: c.morphologicallyAbnormalStructure,
    site: c.lung,
    laterality: c.right,
    regions: [
      {
        sopInstanceUid: `${series}.${key.slice + 1}`,
        points: [
          [key.column, key.row],
          [key.column + 1, key.row],
          [key.column + 1, key.row + 1],
          [key.column, key.row + 1],
          [key.column, key.row],
        ],
      },
    ],
    mask: { slices: [...bySlice].map(([slice, runs]) => ({ sopInstanceUid: `${series}.${slice + 1}`, runs })) },
    measurements: [measure(c.longAxis, c.millimeter), measure(c.volume, c.cubicMillimeter)],
    evaluations: [],
  }
}

const findings = (...items: Finding[]): Findings => ({
  algorithm: { name: 'Test', version: '1', manufacturer: 'Maker' },
  status: 'findings',
  lookedFor: [c.nodule],
  items,
})

/** Touches the border, has a hole, a voxel of its own; spans three slices. */
const shape: Voxel[] = [
  ...[0, 1, 2]
    .flatMap(row => [0, 1, 2].map(column => ({ slice: 1, row, column })))
    .filter(v => !(v.row === 1 && v.column === 1)),
  { slice: 2, row: rows - 1, column: columns - 1 },
  { slice: 4, row: 6, column: 5 },
]
const other: Voxel[] = [
  { slice: 2, row: 3, column: 3 },
  { slice: 2, row: 3, column: 4 },
]

/** The voxels of each segment in patient coordinates, read from the bytes by another path than they were written by. */
async function patientVoxels({ bytes }: Segmentation): Promise<Map<number, string[]>> {
  const path = join(scratch, 'read.dcm')
  writeFileSync(path, bytes)
  const source = await openFrames(path)
  const { json } = source.header
  const voxels = new Map<number, string[]>()
  const shared = itemsOf(json, '52009229')[0]!
  const spacing = numbersOf(itemsOf(shared, '00289110')[0]!, '00280030')
  const direction = numbersOf(itemsOf(shared, '00209116')[0]!, '00200037')
  for (let frame = 0; frame < source.image.frames; frame++) {
    const group = itemsOf(json, '52009230')[frame]!
    const position = numbersOf(itemsOf(group, '00209113')[0]!, '00200032')
    const segment = numberOf(itemsOf(group, '0062000A')[0]!, '0062000B')!
    const { samples } = await decodeFrame(source, frame)
    for (const [i, value] of samples.entries()) {
      if (value === 0) continue
      const point = place(position, direction, spacing, Math.floor(i / columns), i % columns)
      voxels.set(segment, [...(voxels.get(segment) ?? []), point])
    }
  }
  await source.close()
  return voxels
}

function place(position: number[], direction: number[], spacing: number[], row: number, column: number): string {
  return [0, 1, 2]
    .map(k => position[k]! + direction[k]! * spacing[1]! * column + direction[k + 3]! * spacing[0]! * row)
    .map(v => v.toFixed(3))
    .join(' ')
}

function expectedVoxels(voxels: Voxel[], from: SourceInstance[]): string[] {
  return voxels
    .map(({ slice, row, column }) => {
      const { header } = from[slice]!
      return place(
        numbersOf(header, '00200032'),
        numbersOf(header, '00200037'),
        numbersOf(header, '00280030'),
        row,
        column,
      )
    })
    .sort()
}

describe.each([
  ['in order', false],
  ['in reverse order', true],
])('a mask on oblique slices %s', (_, reversed) => {
  test('is read back voxel for voxel in patient coordinates', async () => {
    const from = sources({ reversed })
    const [seg] = await segmentations(findings(finding(1, shape), finding(2, other)), context({ sources: from }))
    const read = await patientVoxels(seg!)
    expect(read.get(1)!.sort()).toEqual(expectedVoxels(shape, from))
    expect(read.get(2)!.sort()).toEqual(expectedVoxels(other, from))
  })
})

test('segments have the tracking of the report, whose groups refer to them', async () => {
  const made = await segmentations(findings(finding(1, shape), finding(2, other)), context())
  const report = structuredReport(findings(finding(1, shape), finding(2, other)), context(), made)
  const [seg] = made
  expect(itemsOf(seg!.dataset, '00620002').map(item => [textOf(item, '00620020'), textOf(item, '00620021')])).toEqual([
    ['Nodule 1', '1.2.9.1'],
    ['Nodule 2', '1.2.9.2'],
  ])
  const groups = groupsIn(report.dataset)
  expect(groups.map(group => [group.tracking, group.template, group.segment])).toEqual([
    ['1.2.9.1', '1410', undefined],
    ['1.2.9.1', '1411', 1],
    ['1.2.9.2', '1410', undefined],
    ['1.2.9.2', '1411', 2],
  ])
  const evidence = JSON.stringify(report.dataset['0040A375'])
  expect(evidence).toContain(seg!.sopInstanceUid)
  expect(evidence).toContain(seg!.seriesInstanceUid)
})

test('without masks, or with slices of which only some have a place, there is no segmentation', async () => {
  const { mask: _, ...bare } = finding(1, shape)
  expect(await segmentations(findings(bare), context())).toEqual([])
  const flat = sources().map((source, i) => {
    if (i % 2 === 0) return source
    const { '00200032': __, ...header } = source.header
    return { ...source, header: header as DicomJson }
  })
  expect(await segmentations(findings(finding(1, shape)), context({ sources: flat }))).toEqual([])
})

test('the same findings give the same bytes', async () => {
  const make = async () => (await segmentations(findings(finding(1, shape)), context()))[0]!.bytes
  expect((await make()).equals(await make())).toBe(true)
})

function groupsIn(item: DicomJson): { tracking: string; template: string; segment: number | undefined }[] {
  const children = itemsOf(item, '0040A730')
  const name = (child: DicomJson) => textOf(itemsOf(child, '0040A043')[0] ?? {}, '00080100')
  if (name(item) !== '125007') return children.flatMap(groupsIn)
  const tracking = children.find(child => textOf(child, '0040A040') === 'UIDREF')!
  const reference = children.find(child => name(child) === '121191')
  return [
    {
      tracking: textOf(tracking, '0040A124')!,
      template: textOf(itemsOf(item, '0040A504')[0]!, '0040DB00')!,
      segment: reference && numberOf(itemsOf(reference, '00081199')[0]!, '0062000B'),
    },
  ]
}
