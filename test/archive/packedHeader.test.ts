import { expect, test } from '@jest/globals'
import { headerText, packHeader, withHeaders } from '../../src/archive/packedHeader.js'

test('a header of any length is given back as it was; what PostgreSQL cannot hold as text is replaced', async () => {
  for (const length of [0, 100, 1_000_000]) {
    const header = {
      '00081030': { vr: 'LO', Value: ['Röntgen 胸部', 'odd\0'] },
      '00204000': { vr: 'LT', Value: ['x'.repeat(length)] },
    }
    const packed = await packHeader(header)
    expect(packed.length).toBeLessThan(5000)
    const [row] = await withHeaders([{ uid: '1.2', header: packed }])
    expect(row).toEqual({
      uid: '1.2',
      header: { ...header, '00081030': { vr: 'LO', Value: ['Röntgen 胸部', 'odd\ufffd'] } },
    })
    expect(JSON.parse(await headerText(packed))).toEqual(row!.header)
  }
})

test('a header that is not packed is read as well', async () => {
  const text = '{"00081030": {"vr": "LO", "Value": ["Thorax"]}}'
  expect(await headerText(Buffer.from(text))).toBe(text)
})

test('others have their turn while many headers are unpacked', async () => {
  const header = await packHeader({ '00080060': { vr: 'CS', Value: ['CT'] } })
  let turns = 0
  const other = setInterval(() => turns++, 0)
  await withHeaders(Array.from({ length: 20_000 }, () => ({ header })))
  clearInterval(other)
  expect(turns).toBeGreaterThan(1)
})
