import { expect, test } from '@jest/globals'
import type { DicomJson } from '../../src/dicom/dicomJson.js'
import { withoutPrivateElements } from '../../src/dicom/privateElements.js'

const header: DicomJson = {
  '00080060': { vr: 'CS', Value: ['CT'] },
  '00090010': { vr: 'LO', Value: ['ACME 1.0'] },
  '00091001': { vr: 'LO', Value: ['secret'] },
  '00090011': { vr: 'LO', Value: ['GOOD'] },
  '00091102': { vr: 'DS', Value: [1.5] },
  '00089215': {
    vr: 'SQ',
    Value: [
      {
        '00080100': { vr: 'SH', Value: ['1'] },
        '00110010': { vr: 'LO', Value: ['ACME 1.0'] },
        '00111000': { vr: 'LO', Value: ['nested'] },
      },
    ],
  },
}

test('private elements are dropped, in sequences too', () => {
  expect(Object.keys(withoutPrivateElements(header))).toEqual(['00080060', '00089215'])
  expect(JSON.stringify(withoutPrivateElements(header))).not.toMatch(/secret|nested|ACME/)
})

test('those of a creator that is allowed stay, with the block that it reserved', () => {
  expect(Object.keys(withoutPrivateElements(header, ['GOOD'])).sort()).toEqual([
    '00080060',
    '00089215',
    '00090011',
    '00091102',
  ])
})
