import { describe, expect, test } from '@jest/globals'
import type { Findings } from '../../src/analysis/findings.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { type DicomJson, itemsOf, numbersOf, type PersonName, textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import type { ResultContext, SourceInstance } from '../../src/results/resultContext.js'
import { defaultFormat } from '../../src/results/resultFormat.js'
import { structuredReport } from '../../src/results/structuredReport.js'

const study = '1.2.3.4'
const series = '1.2.3.4.5'
const ct = '1.2.840.10008.5.1.4.1.1.2'

function sources(name: PersonName = { Alphabetic: 'Doe^Jane' }, count = 4): SourceInstance[] {
  return Array.from({ length: count }, (_, i) => ({
    sopClassUid: ct,
    sopInstanceUid: `${series}.${i + 1}`,
    seriesInstanceUid: series,
    header: {
      '00080020': { vr: 'DA', Value: ['20260102'] },
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00100010': { vr: 'PN', Value: [name] },
      '00100020': { vr: 'LO', Value: ['P1'] },
      '00200052': { vr: 'UI', Value: ['1.2.3.4.6'] },
    },
  }))
}
const context = (over: Partial<ResultContext> = {}): ResultContext => ({
  studyInstanceUid: study,
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
const square: [number, number][] = [
  [10, 10],
  [12, 10],
  [12, 12],
  [10, 12],
  [10, 10],
]
const findings = (over: Partial<Findings> = {}): Findings => ({
  algorithm: { name: 'Test', version: '1', manufacturer: 'Maker' },
  status: 'findings',
  lookedFor: [c.nodule],
  items: [
    {
      trackingIdentifier: 'Nodule 1',
      trackingUid: '1.2.9.1',
      type: c.nodule,
      category: c.morphologicallyAbnormalStructure,
      site: c.lung,
      laterality: c.left,
      regions: [
        { sopInstanceUid: `${series}.2`, points: square },
        { sopInstanceUid: `${series}.3`, points: square },
      ],
      measurements: [
        { quantity: c.longAxis, value: Math.PI * 1.23456789e-5, unit: c.millimeter, method: c.inPlaneExtent },
      ],
      evaluations: [],
    },
    {
      trackingIdentifier: 'Left lung',
      trackingUid: '1.2.9.2',
      type: c.lung,
      site: c.lung,
      regions: [],
      sources: [{ sopInstanceUid: `${series}.1` }],
      measurements: [{ quantity: c.volume, value: 2000, unit: c.milliliter, method: c.segmentedVoxels }],
      evaluations: [],
    },
  ],
  conclusion: 'One nodule.',
  ...over,
})

/** The report as a reader gets it: written, and parsed again. */
function written(f: Findings, k: ResultContext): DicomJson {
  const outcome = readPart10Header(structuredReport(f, k).bytes, true)
  if (outcome.outcome !== 'header') throw new Error(JSON.stringify(outcome))
  return outcome.header.json
}
function everyItem(item: DicomJson): DicomJson[] {
  return [item, ...itemsOf(item, '0040A730').flatMap(everyItem)]
}
const nameOf = (item: DicomJson) => textOf(itemsOf(item, '0040A043')[0] ?? {}, '00080100')

describe('the report', () => {
  test('is preliminary, unverified, and says which algorithm made it', () => {
    const report = written(findings(), context())
    expect(textOf(report, '0040A493')).toBe('UNVERIFIED')
    expect(textOf(report, '0040A496')).toBe('PRELIMINARY')
    expect(textOf(report, '0040A491')).toBe('COMPLETE')
    const equipment = itemsOf(report, '0018A001')[0]!
    expect([textOf(equipment, '00081090'), textOf(equipment, '00181020')]).toEqual(['Test', '1'])
  })

  test('lists every instance that it refers to as evidence', () => {
    const report = written(findings(), context())
    const evidence = itemsOf(report, '0040A375')
      .flatMap(s => itemsOf(s, '00081115'))
      .flatMap(e => itemsOf(e, '00081199'))
    const listed = evidence.map(item => textOf(item, '00081155')).sort()
    const referred = new Set(
      everyItem(report)
        .flatMap(item => itemsOf(item, '00081199'))
        .map(item => textOf(item, '00081155')),
    )
    expect(listed).toEqual([...referred].sort())
    expect(listed).toHaveLength(4)
  })

  test('has the same bytes whenever it is made again, and other UIDs for another revision', () => {
    const first = structuredReport(findings(), context())
    expect(structuredReport(findings(), context()).bytes.equals(first.bytes)).toBe(true)
    expect(structuredReport(findings(), context({ revision: 2 })).sopInstanceUid).not.toBe(first.sopInstanceUid)
  })

  test('can be loaded by OHIF: containers, tracking UIDs, names, something under each number', () => {
    const report = written(findings(), context())
    const children = itemsOf(report, '0040A730')
    expect(children.map(nameOf)).toEqual(expect.arrayContaining(['126010', '111028']))
    expect(children.every(child => nameOf(child))).toBe(true)
    const groups = itemsOf(children.find(child => nameOf(child) === '126010')!, '0040A730').filter(
      g => nameOf(g) === '125007',
    )
    expect(groups).toHaveLength(2)
    for (const group of groups) {
      const items = itemsOf(group, '0040A730')
      expect(items.every(item => nameOf(item))).toBe(true)
      expect(nameOf(items.find(item => textOf(item, '0040A040') === 'UIDREF')!)).toBe('112040')
      if (items.some(item => textOf(item, '0040A040') === 'SCOORD')) continue
      for (const number of items.filter(item => textOf(item, '0040A040') === 'NUM'))
        expect(itemsOf(number, '0040A730').length).toBeGreaterThan(0)
    }
  })

  test('outlines are closed and have pairs of coordinates', () => {
    for (const item of everyItem(written(findings(), context())).filter(i => textOf(i, '0040A040') === 'SCOORD')) {
      const values = numbersOf(item, '00700022')
      expect(values.slice(0, 2)).toEqual(values.slice(-2))
      expect(values.length % 2).toBe(0)
    }
  })

  test('every code has the meaning of the one table', () => {
    const table = new Map(Object.values(c).map(concept => [`${concept.scheme} ${concept.value}`, concept.meaning]))
    const codes = everyItem(written(findings(), context())).flatMap(item => [
      ...itemsOf(item, '0040A043'),
      ...itemsOf(item, '0040A168'),
      ...itemsOf(item, '0040A300').flatMap(m => itemsOf(m, '004008EA')),
    ])
    expect(codes.length).toBeGreaterThan(30)
    for (const code of codes) {
      expect(table.get(`${textOf(code, '00080102')} ${textOf(code, '00080100') ?? textOf(code, '00080119')}`)).toBe(
        textOf(code, '00080104'),
      )
    }
  })

  test('decimal strings have at most 16 characters', () => {
    for (const item of everyItem(written(findings(), context()))) {
      for (const measured of itemsOf(item, '0040A300'))
        expect(textOf(measured, '0040A30A')!.length).toBeLessThanOrEqual(16)
    }
  })

  test.each([
    [{ Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' }],
    [{ Alphabetic: 'Hong^Gildong', Ideographic: '洪^吉洞', Phonetic: '홍^길동' }],
    [{ Alphabetic: 'قباني^لنزار' }],
    [{ Alphabetic: 'Люкceмбypг' }],
    [{ Alphabetic: 'Äneas^Rüdiger' }],
  ] as [PersonName][])('the name %j survives', name => {
    const report = written(findings(), context({ sources: sources(name) }))
    expect(report['00100010']!.Value).toEqual([name])
    expect(textOf(report, '00080005')).toBe('ISO_IR 192')
  })

  test('absence is said when all was looked at, and never when it was not', () => {
    const presence = (f: Findings) =>
      everyItem(written(f, context()))
        .filter(item => nameOf(item) === c.nodule.value)
        .map(item => textOf(itemsOf(item, '0040A168')[0]!, '00080104'))
    const summary = (f: Findings) =>
      everyItem(written(f, context()))
        .filter(item => nameOf(item) === '111017')
        .map(item => textOf(itemsOf(item, '0040A168')[0]!, '00080100'))
    const none = findings({ status: 'no-findings', items: [] })
    const part = findings({ status: 'incomplete', reason: 'slices are missing', items: [] })
    expect(presence(findings())).toEqual(['Present'])
    expect(presence(none)).toEqual(['Absent'])
    expect(presence(part)).toEqual(['Undetermined'])
    expect([summary(findings()), summary(none), summary(part)]).toEqual([['111242'], ['111241'], ['111243']])
    expect(textOf(written(part, context()), '0040A491')).toBe('PARTIAL')
  })

  test('a finding on an image that was not analysed is an error, not a report', () => {
    const foreign = findings()
    foreign.items[0]!.regions[0]!.sopInstanceUid = '9.9.9'
    expect(() => structuredReport(foreign, context())).toThrow(/not analysed/)
  })
})
