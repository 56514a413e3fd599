import { expect, test } from '@jest/globals'
import { compareWithPrior } from '../../src/analysis/compareWithPrior.js'
import { geometryOf } from '../../src/analysis/normalizedImages.js'
import { concepts as c } from '../../src/dicom/concepts.js'
import { itemsOf, textOf } from '../../src/dicom/dicomJson.js'
import { type ContentItem, readContentItem } from '../../src/results/contentItem.js'
import { resultObjects } from '../../src/results/index.js'
import { drawPicture } from '../../src/results/keyImage.js'
import type { ResultContext } from '../../src/results/resultContext.js'
import { corpus } from '../fixtures/corpus.js'

const named = (root: ContentItem, code: { value: string }): ContentItem[] => [
  ...(root.name?.value === code.value ? [root] : []),
  ...root.children.flatMap(child => named(child, code)),
]

/** The same lesion in two examinations of the corpus, 12 % larger in volume in the later one. */
function twoExaminations() {
  const [before, now] = ['CT with a segmented finding', 'a mask with a hole'].map(
    name => corpus().find(entry => entry.name === name)!,
  )
  const examination = ({ findings, context }: NonNullable<typeof now>, studyDate: string) => ({
    studyInstanceUid: context.studyInstanceUid,
    studyDate,
    findings,
    geometryOf: ({ sopInstanceUid }: { sopInstanceUid: string }) =>
      geometryOf(context.sources.find(source => source.sopInstanceUid === sopInstanceUid)!.header, 0),
  })
  const report = { sopClassUid: '1.2.840.10008.5.1.4.1.1.88.34', sopInstanceUid: '2.25.7', seriesInstanceUid: '2.25.8' }
  const prior = {
    studyInstanceUid: before!.context.studyInstanceUid,
    studyDate: '20250102',
    findings: before!.findings,
    sources: before!.context.sources,
    report,
  }
  now!.findings.items[0]!.measurements[2]!.value *= 2
  const findings = compareWithPrior(examination(now!, '20260102'), examination(before!, '20250102'))
  const context: ResultContext = { ...now!.context, prior }
  return { findings, context, prior }
}

test('the report tells the change from its two values, and names the prior report as other evidence', async () => {
  const { findings, context, prior } = twoExaminations()
  const [report] = await resultObjects(findings, context, ['sr'], { imageOf: () => undefined, draw: drawPicture })
  const root = readContentItem(report!.dataset)
  const [group] = named(root, c.measurementGroup)
  expect(named(group!, c.changeSincePrior).map(item => item.value)).toEqual([{ type: 'CODE', code: c.increaseInSize }])
  const relative = named(root, c.relativeChange).map(item => [
    item.value.type === 'NUM' ? item.value.value : undefined,
    item.children
      .filter(child => child.relationship === 'INFERRED FROM')
      .map(child => [child.name?.meaning, child.value.type === 'NUM' && child.value.value]),
  ])
  expect(relative).toContainEqual([
    100,
    [
      ['Volume', 241],
      ['Volume', 120.5],
    ],
  ])
  expect(named(root, c.doublingTime).map(item => item.value)).toEqual([{ type: 'NUM', value: 365, unit: c.day }])
  const [other] = itemsOf(report!.dataset, '0040A385')
  expect(textOf(other!, '0020000D')).toBe(prior.studyInstanceUid)
  expect(JSON.stringify(other)).toContain(prior.report.sopInstanceUid)
  expect(report!.dataset['0040A360']).toBeUndefined() // it supersedes nothing: a predecessor is of the same examination
})

test('the longitudinal report has a group for each time point under one tracking UID, and the prior’s images as other evidence', async () => {
  const { findings, context, prior } = twoExaminations()
  const objects = await resultObjects(findings, context, ['sr', 'longitudinal'], {
    imageOf: () => undefined,
    draw: drawPicture,
  })
  expect(objects).toHaveLength(2)
  expect(objects[0]!.seriesInstanceUid).not.toBe(objects[1]!.seriesInstanceUid)
  const groups = named(readContentItem(objects[1]!.dataset), c.measurementGroup)
  const told = groups.map(group => [
    group.children.find(child => child.value.type === 'UIDREF')!.value,
    named(group, c.timePoint).map(item => item.value),
  ])
  const uid = { type: 'UIDREF', uid: findings.items[0]!.trackingUid }
  expect(told).toEqual([
    [uid, [{ type: 'TEXT', text: 'prior' }]],
    [uid, [{ type: 'TEXT', text: 'current' }]],
  ])
  const evidence = JSON.stringify(objects[1]!.dataset['0040A385'])
  expect(evidence).toContain(prior.findings.items[0]!.regions[0]!.sopInstanceUid)
  expect(JSON.stringify(objects[1]!.dataset['0040A375'])).not.toContain(prior.studyInstanceUid)
})

test('without a prior examination there is no longitudinal report', async () => {
  const { context } = twoExaminations()
  const { prior: _, ...alone } = context
  const findings = corpus().find(entry => entry.name === 'a mask with a hole')!.findings
  expect(
    await resultObjects(findings, alone, ['longitudinal'], { imageOf: () => undefined, draw: drawPicture }),
  ).toEqual([])
})
