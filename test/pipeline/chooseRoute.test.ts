import { describe, expect, test } from '@jest/globals'
import { ageInYears, chooseRoute, type StudyTraits } from '../../src/pipeline/chooseRoute.js'
import { parseEndpoints } from '../../src/platform/readEndpoints.js'

const traits: StudyTraits = {
  modalities: ['CT'],
  bodyParts: ['CHEST'],
  sources: ['main-pacs'],
  sopClasses: ['1.2.840.10008.5.1.4.1.1.2'],
  stations: ['CT01'],
  descriptions: ['Thorax nativ für Müller', 'Lung 1.0'],
  age: 61.5,
  headers: [
    {
      '00100040': { vr: 'CS', Value: ['F'] },
      '00180060': { vr: 'DS', Value: [120] },
      '00080008': { vr: 'CS', Value: ['ORIGINAL', 'PRIMARY', 'AXIAL'] },
    },
  ],
}

const routeOf = (match: string) =>
  parseEndpoints(`routes: [{ name: r, match: ${match}, analysis: { primary: reference } }]`, 'endpoints.yaml').routes

describe('a route matches', () => {
  test.each([
    '{}',
    '{ modality: [MR, CT], bodyPart: [CHEST] }',
    '{ source: [main-pacs], station: [CT01, CT02], sopClass: [1.2.840.10008.5.1.4.1.1.2] }',
    "{ description: 'thorax|chest' }",
    '{ age: { from: 50, below: 75 } }',
    '{ attributes: [{ attribute: PatientSex, values: [F] }, { attribute: ImageType, values: [AXIAL] }] }',
    "{ attributes: [{ attribute: '00180060', pattern: '^1[0-4]0$' }] }",
  ])('%s', match => {
    expect(chooseRoute(routeOf(match), traits)).toMatchObject({
      route: { name: 'r' },
      explanation: [{ matches: true }],
    })
  })
})

describe('a route does not, and says why without a value that may name the patient', () => {
  test.each([
    ['{ modality: [MR] }', 'modality is CT, not MR'],
    ['{ station: [CT02] }', 'station is CT01, not CT02'],
    ['{ sopClass: [1.2.3] }', 'SOP class is 1.2.840.10008.5.1.4.1.1.2, not 1.2.3'],
    ['{ description: abdomen }', 'no description is like abdomen'],
    ['{ age: { below: 18 } }', 'the age is 18 years or more'],
    ['{ age: { from: 65 } }', 'the age is below 65 years'],
    ['{ attributes: [{ attribute: PatientSex, values: [M] }] }', 'PatientSex has another value'],
    ['{ attributes: [{ attribute: ContrastBolusAgent, pattern: . }] }', 'ContrastBolusAgent is absent'],
  ])('%s', (match, reason) => {
    expect(chooseRoute(routeOf(match), traits)).toMatchObject({
      reason: `no route matched (r: ${reason})`,
      explanation: [{ route: 'r', matches: false, reason }],
    })
  })
  test('an age that is not known is none that a route asks for', () => {
    const choice = chooseRoute(routeOf('{ age: { from: 0 } }'), { ...traits, age: undefined })
    expect(choice).toMatchObject({ reason: 'no route matched (r: the age is not known)' })
  })
})

test('a pattern that is none, and a keyword that is none, are refused with file and line', () => {
  expect(() => routeOf("{ description: '[' }")).toThrow(/endpoints.yaml:1.*expected a regular expression/)
  expect(() => routeOf('{ attributes: [{ attribute: patient-sex }] }')).toThrow(/expected a keyword/)
})

test('age by Patient’s Age, else by dates', () => {
  expect(ageInYears('061Y', null, null)).toBe(61)
  expect(ageInYears('006M', '19000101', '20200101')).toBe(0.5)
  expect(ageInYears(null, '19600701', '20200701')).toBeCloseTo(60, 1)
  expect(ageInYears('old', '2020', '20200701')).toBeUndefined()
})
