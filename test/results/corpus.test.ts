import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parseFindings } from '../../src/analysis/findingsSchema.js'
import { imagesOf } from '../../src/analysis/normalizedImages.js'
import { concepts as c, conceptTable } from '../../src/dicom/concepts.js'
import { itemsOf, numberOf, textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { sopClass } from '../../src/dicom/sopClasses.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { type ContentItem, readContentItem } from '../../src/results/contentItem.js'
import { resultObjects } from '../../src/results/index.js'
import { drawPicture } from '../../src/results/keyImage.js'
import { readFindings } from '../../src/results/readFindings.js'
import { readSegmentation } from '../../src/results/readSegmentation.js'
import type { ResultObject } from '../../src/results/resultObject.js'
import { type CorpusCase, corpus } from '../fixtures/corpus.js'
import { hasProgram, sharedFolder, testWhere } from '../fixtures/peers.js'
import { shortStart, startSrValidator } from '../fixtures/srValidator.js'

const run = promisify(execFile)
const scratch = process.env.CORPUS_OUT ?? mkdtempSync(join(tmpdir(), 'radbridge-corpus-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

interface Made extends CorpusCase {
  folder: string
  objects: ResultObject[]
  paths: string[]
}

const cases = corpus()
const made: Made[] = []

beforeAll(async () => {
  for (const [i, entry] of cases.entries()) {
    const folder = join(scratch, String(i))
    mkdirSync(folder)
    for (const [n, bytes] of entry.files.entries()) writeFileSync(join(folder, `source-${n}.dcm`), bytes)
    const objects = await resultObjects(
      entry.findings,
      entry.context,
      ['sr', 'seg', 'sc', 'gsps', 'map', 'pdf', 'longitudinal'],
      {
        imageOf: ({ sopInstanceUid, frame = 1 }) => {
          const n = entry.context.sources.findIndex(source => source.sopInstanceUid === sopInstanceUid)
          return imagesOf(entry.context.sources[n]!, async index => {
            const frames = await openFrames(join(folder, `source-${n}.dcm`))
            try {
              return await decodeFrame(frames, index)
            } finally {
              await frames.close()
            }
          })[frame - 1]
        },
        draw: drawPicture,
      },
    )
    const paths = objects.map((object, n) => {
      const path = join(folder, `result-${n}.dcm`)
      writeFileSync(path, object.bytes)
      return path
    })
    made.push({ ...entry, folder, objects, paths })
  }
}, 180_000)

const reports = () =>
  made.map(entry => ({ ...entry, report: entry.objects.find(({ dataset }) => textOf(dataset, '00080060') === 'SR')! }))

test('the corpus is as large and as varied as it is meant to be', () => {
  expect(cases.length).toBeGreaterThanOrEqual(40)
  expect(new Set(cases.map(({ context }) => context.sources[0]!.sopClassUid)).size).toBe(8)
  expect(Math.max(...cases.map(({ findings }) => findings.items.length))).toBe(500)
  for (const { name, findings } of cases)
    expect({ name, ...parseFindings(JSON.parse(JSON.stringify(findings))) }).toMatchObject({
      name,
      outcome: 'findings',
    })
})

describe('every code', () => {
  const standard = new Map<string, { meanings: Set<string>; groups: Set<string> }>()
  for (const line of readFileSync('test/results/codes.tsv', 'utf8').trim().split('\n').slice(1)) {
    const [scheme, value, meaning, groups = ''] = line.split('\t')
    const entry = standard.get(`${scheme} ${value}`) ?? { meanings: new Set(), groups: new Set() }
    entry.meanings.add(meaning!)
    for (const group of groups.split(' ')) entry.groups.add(group)
    standard.set(`${scheme} ${value}`, entry)
  }
  /** In TID 1500 and RFC 5646 by these meanings; the code table that codes.tsv was made from has them not, or as another edition has it. */
  const elsewhere = ['UMLS C0034375', 'UMLS C2348792', 'UCUM ml', 'SCT 276214006']

  test('of the table has the meaning and the context group that PS3.16 gives it', () => {
    for (const { concept, source } of conceptTable) {
      const key = `${concept.scheme} ${concept.value}`
      if (concept.scheme.startsWith('99') || concept.scheme === 'RFC5646' || elsewhere.includes(key)) continue
      expect([key, ...(standard.get(key)?.meanings ?? [])]).toContain(concept.meaning)
      const group = /^CID (\d+)$/.exec(source)?.[1]
      if (group) expect([key, ...standard.get(key)!.groups]).toContain(group)
    }
  })

  test('that a report has is of the table, or comes from the findings', () => {
    const table = new Map(conceptTable.map(({ concept }) => [`${concept.scheme} ${concept.value}`, concept.meaning]))
    for (const { name, report, findings, context } of reports()) {
      if (context.format.language !== 'en') continue
      const given = JSON.stringify(findings)
      for (const { name: concept, value } of everyItem(readContentItem(report.dataset))) {
        const used = [concept, value.type === 'CODE' ? value.code : value.type === 'NUM' ? value.unit : undefined]
        for (const code of used) {
          if (!code || given.includes(JSON.stringify(code))) continue
          expect([name, code.value, code.meaning]).toEqual([
            name,
            code.value,
            table.get(`${code.scheme} ${code.value}`),
          ])
        }
      }
    }
  })
})

test('reports keep the ten rules of OHIF', () => {
  for (const { name, report } of reports()) {
    const root = readContentItem(report.dataset)
    const named = (parent: ContentItem, code: { value: string }) =>
      parent.children.filter(child => child.name?.value === code.value)
    expect([name, root.name?.value]).toEqual([name, '126000'])
    const [measurements] = named(root, c.imagingMeasurements)
    const [library] = named(root, c.imageLibrary)
    expect(named(library!, c.imageLibraryGroup).length).toBeGreaterThan(0)
    expect(root.children.every(child => child.name)).toBe(true)
    const byTracking = new Map<string, ContentItem[]>()
    for (const group of named(measurements!, c.measurementGroup)) {
      expect(group.children.every(child => child.name)).toBe(true)
      const first = group.children.find(child => child.value.type === 'UIDREF')!
      expect(first.name?.value).toBe(c.trackingUid.value)
      expect(named(group, c.trackingIdentifier)).toHaveLength(1)
      for (const region of group.children.filter(child => child.value.type === 'SCOORD'))
        expect(region.children.filter(child => child.value.type === 'IMAGE')).toHaveLength(1)
      const uid = (first.value as { uid: string }).uid
      byTracking.set(uid, [...(byTracking.get(uid) ?? []), ...group.children])
    }
    for (const children of byTracking.values()) {
      if (children.some(child => child.value.type === 'SCOORD')) continue
      for (const number of children.filter(child => child.value.type === 'NUM'))
        expect([name, number.children.length]).not.toEqual([name, 0])
    }
  }
})

test('every coordinate lies inside of its image, and frames of multi-frame images are named', () => {
  for (const { name, report, context } of reports()) {
    for (const item of everyItem(readContentItem(report.dataset))) {
      if (item.value.type !== 'SCOORD') continue
      const reference = item.children[0]!.value
      if (reference.type !== 'IMAGE') throw new Error(name)
      const { header } = context.sources.find(source => source.sopInstanceUid === reference.image.sopInstanceUid)!
      expect(reference.image.frame !== undefined).toBe((numberOf(header, '00280008') ?? 1) > 1)
      for (const [x, y] of item.value.points) {
        expect(x >= 0 && x <= numberOf(header, '00280011')!).toBe(true)
        expect(y >= 0 && y <= numberOf(header, '00280010')!).toBe(true)
      }
      expect(item.value.points.at(-1)).toEqual(item.value.points[0])
    }
  }
})

test('template identifiers, tracking UIDs of report and segmentations, frames of reference: one says what the other says', () => {
  for (const { name, report, objects, context } of reports()) {
    const root = readContentItem(report.dataset)
    expect(root.value).toEqual({ type: 'CONTAINER', template: '1500' })
    const groups = everyItem(root).filter(item => item.name?.value === c.measurementGroup.value)
    for (const group of groups) {
      const regions = group.children.filter(child => child.value.type === 'SCOORD').length
      const segments = group.children.filter(child => child.value.type === 'IMAGE' && child.value.image.segment).length
      const template = group.value.type === 'CONTAINER' ? group.value.template : undefined
      expect([name, template]).toEqual([name, segments > 0 || regions > 1 ? '1411' : regions === 1 ? '1410' : '1501'])
    }
    for (const segmentation of objects.filter(object => textOf(object.dataset, '00080060') === 'SEG')) {
      const tracking = new Map(
        itemsOf(segmentation.dataset, '00620002').map(item => [numberOf(item, '00620004')!, textOf(item, '00620021')!]),
      )
      expect([...tracking.keys()]).toEqual([...tracking.keys()].map((_, i) => i + 1))
      expect(textOf(segmentation.dataset, '00200052')).toBe(textOf(context.sources[0]!.header, '00200052'))
      for (const group of groups) {
        const uid = group.children.find(child => child.value.type === 'UIDREF')!.value as { uid: string }
        for (const { value } of group.children) {
          if (value.type !== 'IMAGE' || value.image.sopInstanceUid !== segmentation.sopInstanceUid) continue
          expect(tracking.get(value.image.segment!)).toBe(uid.uid)
        }
      }
    }
  }
})

test('absence is said only where everything was looked at', () => {
  for (const { name, report, findings } of reports()) {
    const said = everyItem(readContentItem(report.dataset)).flatMap(({ name: concept, value }) =>
      concept &&
      value.type === 'CODE' &&
      value.code.value === c.absent.value &&
      findings.lookedFor.some(l => l.value === concept.value)
        ? [name]
        : [],
    )
    if (findings.status !== 'findings' && findings.status !== 'no-findings') expect(said).toEqual([])
    expect(textOf(report.dataset, '0040A491')).toBe(
      ['findings', 'no-findings'].includes(findings.status) ? 'COMPLETE' : 'PARTIAL',
    )
  }
})

test('findings, written as report and segmentations and read again, are the same', async () => {
  for (const { name, findings, paths, objects, context } of made) {
    const { language, groups } = context.format
    if (language !== 'en' || groups !== 'both') continue // meanings are translated, or a geometry is left out on purpose
    const segmentations = []
    for (const [i, path] of paths.entries())
      if (textOf(objects[i]!.dataset, '00080060') === 'SEG') segmentations.push(await readSegmentation(path))
    const report = paths[objects.findIndex(({ dataset }) => textOf(dataset, '00080060') === 'SR')]!
    const outcome = readPart10Header(readFileSync(report), true)
    if (outcome.outcome !== 'header') throw new Error(name)
    const read = readFindings(outcome.header.json, segmentations)!
    const { maps: _, ...told } = findings // maps are in objects of their own
    expect({ name, read }).toEqual({ name, read: told })
  }
})

const validator = join(sharedFolder, 'tools', 'validate-sr')
const canValidate = existsSync(validator) && hasProgram('dciodvfy') && hasProgram('DicomSRValidator')

const deflatedFrames = '1.2.840.10008.1.2.8.1'
type Applies = (object: ResultObject, context: CorpusCase['context']) => boolean
const groupsOf = ({ dataset }: ResultObject) => JSON.stringify(dataset['0040A730'] ?? '').split('"125007"').length
/** More of them PixelMed cannot read with any memory there is: it is let fail soon. */
const mostGroups = 400
const memoryFor = (object: ResultObject) => (groupsOf(object) > mostGroups ? '300m' : '3g')

/** What the validators say that is not a fault of the object: the words, why, and of which objects it may be said. */
const explained: readonly [RegExp, string, Applies][] = [
  [
    /^Error - Information Object Not found/,
    'dciodvfy does not know Label Map Segmentations yet',
    object => object.sopClassUid === sopClass.labelMapSegmentation,
  ],
  [
    /^Error - (Undefined value length of other byte|Dicom dataset read failed|Missing attribute Type 1C .*<PixelData>)/,
    'dciodvfy does not know Deflated Image Frame Compression yet',
    object => object.transferSyntaxUid === deflatedFrames,
  ],
  [
    /Code \(816094009,SCT,"[^"]*"\) not found in context group 4031/,
    'a known limit, which validate-sr knows by its English meaning',
    (_, { format }) => format.language !== 'en',
  ],
  [
    /^Error: Template 1410 .*Missing conditional content item/,
    'a known limit, for which validate-sr counts the segments by their English meaning',
    (_, { format }) => format.language !== 'en',
  ],
  [
    /^Error: Template 1410 .*Missing conditional content item/,
    'PixelMed asks each group for the region of TID 1410 as soon as one has it; TID 1500 allows groups of TID 1501 beside',
    object =>
      ['1410', '1501'].every(template => JSON.stringify(object.dataset['0040A730']).includes(`["${template}"]`)),
  ],
  [
    /OutOfMemoryError|^no root template recognized/,
    'PixelMed needs more memory than there is for hundreds of groups; it has seen fifty',
    object => groupsOf(object) > mostGroups,
  ],
]

const hasComparison: Applies = object => JSON.stringify(object.dataset['0040A730']).includes('"126011"')
/**
 * What PixelMed warns of, why that is no fault, and of which reports it may be said. All the templates are extensible: its tables of 2022 do not know
 * what was added to them since, nor what is added here.
 */
const explainedWarnings: readonly [RegExp, string, Applies][] = [
  [/\(276214006,SCT,"[^"]*"\): Content Item not in template$/, 'Finding category: in the template since', () => true],
  [
    /has different code meaning/,
    'meanings are in the language that TID 1204 names',
    (_, { format }) => format.language !== 'en',
  ],
  [
    /CODE \((111037,DCM|INVERTEDLOOK,99RADBRIDGE),"[^"]*"\): Content Item not in template$/,
    'qualitative evaluations in a group: in the template since',
    () => true,
  ],
  [
    /IMAGE \(121112,DCM,"[^"]*"\): Content Item not in template$/,
    'the image below a number of a group without a region (TID 320), for viewers that want something there',
    () => true,
  ],
  [
    /(TEXT \(C2348792,UMLS|TEXT \(112039,DCM|UIDREF \(112040,DCM|NUM \(118565006,SCT|NUM \(103339001,SCT|[A-Z]+ \((CHANGE|CHANGEABS|CHANGEREL|DOUBLINGTIME|PRIORSTUDY|PRIORDATE),99RADBRIDGE),"[^"]*"\): Content Item not in template$/,
    'the comparison with a prior examination: values, lesions and time points that changes are inferred from',
    hasComparison,
  ],
]

testWhere(canValidate, 'the validators are absent')(
  'the validators find no error in any object of the corpus, and warn of nothing that is not explained',
  async () => {
    const problems: string[] = []
    const work = made.flatMap(({ name, paths, objects, context }) =>
      paths.map((path, i) => ({ name, path, context, object: objects[i]! })),
    )
    let next = 0
    const validate = async (running: Awaited<ReturnType<typeof startSrValidator>>) => {
      while (next < work.length) {
        const { name, path, object, context } = work[next++]!
        const isLarge = groupsOf(object) > mostGroups
        const environment = running && !isLarge ? running.environment : shortStart(memoryFor(object))
        const output = await run(validator, [path], { env: { ...environment, VERBOSE: '1' } }).then(
          ({ stdout }) => stdout,
          (error: { stdout: string }) => error.stdout,
        )
        // The verdict and the errors come first; then, of reports, all that the validator of templates says.
        const [verdict = '', ...said] = output.split(/^(?=Found|Warning|IOD validation)/m)
        const lines = verdict.split('\n').filter(line => line !== '' && !/: (valid|INVALID)|^\s+at /.test(line))
        for (const line of said.flatMap(part => part.split('\n').filter(text => /^Warning/.test(text))))
          if (!explainedWarnings.some(([pattern, , applies]) => pattern.test(line) && applies(object, context)))
            problems.push(`${name}, ${object.sopClassUid}: ${line}`)
        for (const line of lines)
          if (!explained.some(([pattern, , applies]) => pattern.test(line) && applies(object, context)))
            problems.push(`${name}, ${object.sopClassUid}: ${line}`)
      }
    }
    await Promise.all(
      cpus().map(async () => {
        const running = await startSrValidator()
        await validate(running).finally(() => running?.stop())
      }),
    )
    expect(problems).toEqual([])
  },
  900_000,
)

const unreadable = explained[1]![0]

testWhere(hasProgram('dcentvfy'), 'dcentvfy is absent')(
  'source and results agree about patient, study, series and frame of reference',
  async () => {
    const problems: string[] = []
    for (const { name, paths, files, folder, objects } of made) {
      const compressed = objects.some(object => object.transferSyntaxUid === deflatedFrames)
      const all = [...files.map((_, n) => join(folder, `source-${n}.dcm`)), ...paths]
      const { stderr, stdout } = await run('dcentvfy', all).catch(error => error as { stderr: string; stdout: string })
      for (const line of `${stdout}${stderr}`.split('\n'))
        if (/^Error/.test(line) && !(compressed && unreadable.test(line))) problems.push(`${name}: ${line}`)
    }
    expect(problems).toEqual([])
  },
  300_000,
)

function everyItem(item: ContentItem): ContentItem[] {
  return [item, ...item.children.flatMap(everyItem)]
}
