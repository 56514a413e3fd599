import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from '@jest/globals'
import type { Finding, Findings } from '../../src/analysis/findings.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { readFindings } from '../../src/results/readFindings.js'
import { type ReadSegmentation, readSegmentation } from '../../src/results/readSegmentation.js'
import { hasSamples, samples, testWhere } from '../fixtures/peers.js'

const test = testWhere(hasSamples, 'sample files are absent')
const path = (name: string) => join(samples, name)

function findingsOf(name: string, segmentations: ReadSegmentation[] = []): Findings {
  const outcome = readPart10Header(readFileSync(path(name)), true)
  if (outcome.outcome !== 'header') throw new Error(name)
  return readFindings(outcome.header.json, segmentations)!
}
const brief = ({ trackingIdentifier, type, regions, measurements }: Finding) => [
  trackingIdentifier,
  type.meaning,
  regions.map(region => region.points.length),
  measurements.map(({ quantity, value, unit }) => `${quantity.meaning} ${value} ${unit.value}`),
]

describe('reports of other makers', () => {
  test('a report with groups of several templates', () => {
    const findings = findingsOf('highdicom/sr_document_with_multiple_groups.dcm')
    expect(findings.status).toBe('findings')
    expect(findings.items.map(brief)).toEqual([
      ['Image0001', 'Lesion', [], ["Intensity Histogram Mean -119.0738525390625 [hnsf'U]"]],
      ['LungNodule0001', 'Nodule', [65], ['Diameter 10 mm']], // a circle, as a polygon
      ['Aorta0001', 'Aorta', [4], ['Diameter 20 mm']],
      ['Vertebra0001', 'Vertebra', [], ['Volume 200 mm3']],
    ])
    expect(findings.items[0]!.sources).toHaveLength(1)
    const circle = findings.items[1]!.regions[0]!.points
    const [center, radius] = [circle[0]![0] - circle[32]![0], circle[16]![1] - circle[48]![1]]
    expect(Math.abs(center)).toBeCloseTo(Math.abs(radius), 5)
  })

  test('a report with one planar group', () => {
    const { items, algorithm } = findingsOf('highdicom/sr_document.dcm')
    expect(items).toHaveLength(1)
    expect(items[0]!.type.meaning).toBe('Spinal cord')
    expect(algorithm.manufacturer).toBe('Manufacturer')
  })

  test('planar and volumetric groups of one tracking UID are one finding', () => {
    for (const name of ['nodules-comprehensive-3d.dcm', 'nodules-comprehensive.dcm']) {
      const { items, algorithm, conclusion, lookedFor } = findingsOf(`sr-reference/${name}`)
      expect(algorithm).toEqual({
        name: 'LungNoduleNet',
        version: '2.3.1',
        manufacturer: 'ACME',
        parameters: 'threshold=0.5',
      })
      expect(new Set(items.map(item => item.trackingUid)).size).toBe(items.length)
      expect(items[0]!.measurements.map(({ quantity }) => quantity.meaning)).toEqual(
        expect.arrayContaining(['Long axis', 'Volume']),
      )
      expect(items[0]!.probability).toBeGreaterThan(0)
      expect([conclusion, lookedFor[0]!.meaning]).toEqual(['One solid nodule, right upper lobe.', 'Nodule'])
    }
  })

  test('a report without findings', () => {
    expect(findingsOf('sr-reference/no-findings.dcm')).toMatchObject({ status: 'no-findings', items: [] })
  })
})

describe('segmentations of other makers', () => {
  const voxels = ({ segments }: ReadSegmentation) =>
    Object.fromEntries(
      segments.map(({ number, mask }) => [
        number,
        (mask?.slices ?? []).flatMap(slice => slice.runs).reduce((sum, run) => sum + run.length, 0),
      ]),
    )

  test('every one of them is read, and no frame lacks its source', async () => {
    const names = readdirSync(path('highdicom')).filter(name => name.startsWith('seg_'))
    expect(names.length).toBeGreaterThanOrEqual(12)
    for (const name of names) {
      const read = await readSegmentation(path(`highdicom/${name}`))
      expect([name, read.segments.length > 0, read.framesWithoutSource]).toEqual([name, true, 0])
    }
  })

  test('a label map, also one in colour, holds the voxels of its binary twin', async () => {
    const [binary, labelmap, palette] = await Promise.all(
      ['', '_labelmap', '_labelmap_palette_color'].map(kind =>
        readSegmentation(path(`highdicom/seg_image_sm_control${kind}.dcm`)),
      ),
    )
    const { 0: _, ...labelled } = voxels(labelmap!)
    expect(labelled).toEqual(voxels(binary!))
    expect(voxels(palette!)).toEqual(voxels(labelmap!))
    expect(Object.values(voxels(binary!)).filter(count => count > 0).length).toBeGreaterThan(5)
  })

  test('fractions are kept', async () => {
    const read = await readSegmentation(path('highdicom/seg_image_ct_true_fractional.dcm'))
    const [segment] = read.segments
    expect(segment!.mask!.fractional).toBe('PROBABILITY')
    const fractions = segment!.mask!.slices.flatMap(slice => slice.runs).flatMap(run => run.fractions!)
    expect(new Set(fractions).size).toBeGreaterThan(1)
    const binary = await readSegmentation(path('highdicom/seg_image_ct_binary_fractional.dcm'))
    expect(
      new Set(binary.segments[0]!.mask!.slices.flatMap(slice => slice.runs).flatMap(run => run.fractions!)),
    ).toEqual(new Set([255]))
  })

  test('segments that overlap are told apart', async () => {
    const read = await readSegmentation(path('highdicom/seg_image_ct_binary_overlap.dcm'))
    expect(voxels(read)).toEqual({ 1: 64, 2: 16 })
  })
})
