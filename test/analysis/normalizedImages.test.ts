import { expect, test } from '@jest/globals'
import { imagesOf } from '../../src/analysis/normalizedImages.js'
import type { DicomJson } from '../../src/dicom/dicomJson.js'
import { invertMonochrome } from '../../src/pixels/photometric.js'

const identity = { sopInstanceUid: '1.2.3', sopClassUid: '1.2.840.10008.5.1.4.1.1.2' }
const header = (over: DicomJson = {}): DicomJson => ({
  '00080060': { vr: 'CS', Value: ['CT'] },
  '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
  '00280010': { vr: 'US', Value: [1] },
  '00280011': { vr: 'US', Value: [3] },
  '00280101': { vr: 'US', Value: [12] },
  '00280103': { vr: 'US', Value: [0] },
  '00281052': { vr: 'DS', Value: [-1024] },
  '00281053': { vr: 'DS', Value: [2] },
  ...over,
})

test.each([
  ['unsigned', 0, Uint16Array.of(0, 100, 4095)],
  ['signed', 1, Int16Array.of(-2048, 5, 2047)],
])('the modality value of each pixel of a MONOCHROME1 image is what it was: %s', async (_, representation, stored) => {
  const mirrored = invertMonochrome(stored.slice(), 12, representation === 1)
  const json = header({
    '00280004': { vr: 'CS', Value: ['MONOCHROME1'] },
    '00280103': { vr: 'US', Value: [representation] },
  })
  const [image] = imagesOf({ ...identity, header: json }, async () => ({
    samples: mirrored,
    photometric: 'MONOCHROME2',
    bitsStored: 12,
    signed: representation === 1,
  }))
  const { samples } = await image!.pixels()
  const { slope, intercept } = image!.rescale
  expect([...samples].map(value => value * slope + intercept)).toEqual([...stored].map(value => value * 2 - 1024))
})

test('frames of an enhanced image have the geometry and rescale of their functional groups', () => {
  const group = (z: number, intercept?: number): DicomJson => ({
    '00209113': { vr: 'SQ', Value: [{ '00200032': { vr: 'DS', Value: [0, 0, z] } }] },
    ...(intercept === undefined
      ? {}
      : {
          '00289145': {
            vr: 'SQ',
            Value: [{ '00281052': { vr: 'DS', Value: [intercept] }, '00281053': { vr: 'DS', Value: [1] } }],
          },
        }),
  })
  const shared: DicomJson = {
    '00209116': { vr: 'SQ', Value: [{ '00200037': { vr: 'DS', Value: [1, 0, 0, 0, 1, 0] } }] },
    '00289110': {
      vr: 'SQ',
      Value: [{ '00280030': { vr: 'DS', Value: [0.5, 0.7] }, '00180050': { vr: 'DS', Value: [3] } }],
    },
    '00289145': {
      vr: 'SQ',
      Value: [
        {
          '00281052': { vr: 'DS', Value: [-1000] },
          '00281053': { vr: 'DS', Value: [1] },
          '00281054': { vr: 'LO', Value: ['HU'] },
        },
      ],
    },
  }
  const json = header({
    '00280008': { vr: 'IS', Value: [2] },
    '52009229': { vr: 'SQ', Value: [shared] },
    '52009230': { vr: 'SQ', Value: [group(10), group(13, -500)] },
  })
  const images = imagesOf({ ...identity, header: json }, async () => {
    throw new Error('nobody asked for pixels')
  })
  expect(images.map(image => [image.frame, image.geometry?.position[2], image.geometry?.sliceThickness])).toEqual([
    [1, 10, 3],
    [2, 13, 3],
  ])
  expect(images.map(image => image.rescale.intercept)).toEqual([-1000, -500])
  expect(images[0]!.geometry?.spacing).toEqual([0.5, 0.7])
})

test('what has no rows and columns is no image', () => {
  const { '00280010': _, ...report } = header()
  expect(imagesOf({ ...identity, header: report as DicomJson }, async () => Promise.reject())).toEqual([])
})
