import { expect, test } from '@jest/globals'
import dcmjs from 'dcmjs'
import { readPart10Header } from '../../src/dicom/part10.js'
import { type DataSetToWrite, writePart10 } from '../../src/dicom/writePart10.js'

const uids: DataSetToWrite = {
  '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
  '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.88.34'] },
  '00080018': { vr: 'UI', Value: ['1.2.3'] },
  '0020000D': { vr: 'UI', Value: ['1.2.4'] },
  '0020000E': { vr: 'UI', Value: ['1.2.5'] },
}
/** A value of each kind, of odd and of even length, and sequences in sequences. */
const everything: DataSetToWrite = {
  ...uids,
  '00080008': { vr: 'CS', Value: ['DERIVED', null, 'X'] },
  '00080054': { vr: 'AE', Value: ['RADBRIDGE'] },
  '00081160': { vr: 'IS', Value: [7] },
  '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎' }, { Phonetic: 'や' }] },
  '00100030': { vr: 'DA' },
  '00101010': { vr: 'AS', Value: ['060Y'] },
  '00104000': { vr: 'LT', Value: [' leading blank stays'] },
  '00180050': { vr: 'DS', Value: [0.1, '2.50', 1 / 3] },
  '00189087': { vr: 'FD', Value: [Math.PI] },
  '00209157': { vr: 'UL', Value: [4_294_967_295, 1] },
  '00209165': { vr: 'AT', Value: ['0062000B', '00200032'] },
  '00280002': { vr: 'US', Value: [65_535] },
  '00280120': { vr: 'SS', Value: [-2000] },
  '00409094': { vr: 'OB', InlineBinary: Buffer.from([1, 2, 3]).toString('base64') },
  '0040A160': { vr: 'UT', Value: ['größer als 5 µm'] },
  '0040A730': {
    vr: 'SQ',
    Value: [{ '0040A730': { vr: 'SQ', Value: [{ '0040A040': { vr: 'CS', Value: ['TEXT'] } }, {}] } }, {}],
  },
  '00700022': { vr: 'FL', Value: [1.5, -2.25] },
  '00700052': { vr: 'SL', Value: [-1, 1] },
}

test('two readers find what was written', () => {
  const bytes = writePart10(everything)
  const outcome = readPart10Header(bytes, true)
  if (outcome.outcome !== 'header') throw new Error(JSON.stringify(outcome))
  const { json } = outcome.header
  for (const [tag, element] of Object.entries(everything)) {
    if (tag === '00180050') expect(json[tag]!.Value).toEqual([0.1, 2.5, 0.33333333333333])
    else if (tag === '00409094') expect(json[tag]!.InlineBinary).toBe(Buffer.from([1, 2, 3, 0]).toString('base64'))
    else expect({ tag, ...json[tag] }).toEqual({ tag, ...element })
  }
  const other = dcmjs.data.DicomMessage.readFile(new Uint8Array(bytes).buffer)
  expect(Object.keys(other.dict).sort()).toEqual(Object.keys(everything).sort())
  expect(other.dict['00189087']!.Value).toEqual([Math.PI])
  expect(other.dict['00209157']!.Value).toEqual([4_294_967_295, 1])
  expect(other.dict['00700052']!.Value).toEqual([-1, 1])
  expect(other.dict['0040A730']!.Value[0]['0040A730'].Value[0]['0040A040'].Value).toEqual(['TEXT'])
  expect(other.meta['00020010']!.Value).toEqual(['1.2.840.10008.1.2.1'])
})

test('what does not fit into sixteen bits of length is written nevertheless', () => {
  const points = Array.from({ length: 20_000 }, (_, i) => i)
  const bytes = writePart10({
    ...uids,
    '00700022': { vr: 'FL', Value: points },
    '00700023': { vr: 'CS', Value: ['POLYLINE'] },
  })
  const outcome = readPart10Header(bytes, true)
  if (outcome.outcome !== 'header') throw new Error(JSON.stringify(outcome))
  expect(bytes.includes(Buffer.from('70002200554e000080380100', 'hex'))).toBe(true) // UN, 80 000 bytes
  expect(outcome.header.json['00700023']!.Value).toEqual(['POLYLINE'])
})

test('compressed frames stand in fragments of their own, behind a table of their offsets', () => {
  const frames = [Uint8Array.from([1, 2, 3]), Uint8Array.from([4, 5])].map(frame => frame.buffer)
  const bytes = writePart10({ ...uids, '7FE00010': { vr: 'OB', Value: frames } }, '1.2.840.10008.1.2.5')
  const pixelData = Buffer.from(
    'e07f10004f420000ffffffff' +
      'feff00e008000000000000000c000000' +
      'feff00e00400000001020300' +
      'feff00e0020000000405' +
      'feffdde000000000',
    'hex',
  )
  expect(bytes.subarray(-pixelData.length).equals(pixelData)).toBe(true)
})
