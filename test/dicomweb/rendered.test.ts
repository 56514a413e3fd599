import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { decode } from 'fast-png'
import { request } from 'undici'
import { getParts } from '../fixtures/multipartAnswer.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { http, startTestService, type TestService } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({ endpoints: 'routes: []\n' })
})
afterAll(() => service?.stop())

/** A ramp of 1024 to 1279 over each row, 64 rows of 256: −0 to 255 HU after rescaling. */
const ramp = Buffer.from(Uint16Array.from({ length: 64 * 256 }, (_, i) => 1024 + (i % 256)).buffer)
async function store(elements: Record<string, Buffer> = {}) {
  const uids = freshUids()
  const bytes = instance({
    ...uids,
    rows: 64,
    columns: 256,
    pixels: ramp,
    elements: {
      '00281050': element('00281050', 'DS', '127.5'),
      '00281051': element('00281051', 'DS', '255'),
      '00281052': element('00281052', 'DS', '-1024'),
      '00281053': element('00281053', 'DS', '1'),
      ...elements,
    },
  })
  const { status } = await http(
    'POST',
    `${service.url}/dicom-web/studies`,
    { 'Content-Type': multipartType },
    multipart([bytes]),
  )
  expect(status).toBe(200)
  const study = `${service.url}/dicom-web/studies/${uids.study}`
  return {
    study,
    series: `${study}/series/${uids.series}`,
    url: `${study}/series/${uids.series}/instances/${uids.instance}`,
  }
}

async function get(url: string, accept?: string) {
  const { statusCode, headers, body } = await request(url, { headers: accept ? { Accept: accept } : {} })
  return { status: statusCode, type: String(headers['content-type']), bytes: Buffer.from(await body.arrayBuffer()) }
}
const png = async (url: string) => decode((await get(url, 'image/png')).bytes)

test('a picture shows the image in its window', async () => {
  const { url } = await store()
  const picture = await png(`${url}/rendered`)
  expect(picture).toMatchObject({ width: 256, height: 64, channels: 1, depth: 8 })
  for (const column of [0, 50, 128, 200, 255]) expect(Math.abs(picture.data[column]! - column)).toBeLessThanOrEqual(1)
})

test('another window and a smaller viewport, as asked for', async () => {
  const { url } = await store()
  const narrow = await png(`${url}/rendered?window=100,20&viewport=128,128`)
  expect(narrow).toMatchObject({ width: 128, height: 32 })
  expect([narrow.data[10], narrow.data[49]! > 100 && narrow.data[49]! < 150, narrow.data[120]]).toEqual([0, true, 255])
})

test('MONOCHROME1 is shown dark where its values are high', async () => {
  const { url } = await store({ '00280004': element('00280004', 'CS', 'MONOCHROME1') })
  const { data } = await png(`${url}/rendered`)
  expect(data[0]!).toBeGreaterThan(253)
  expect(data[255]!).toBeLessThan(2)
})

test('JPEG is what is given unless PNG is asked for, and its quality counts', async () => {
  const { url } = await store()
  const [best, worst] = [await get(`${url}/rendered?quality=100`), await get(`${url}/rendered?quality=1`)]
  expect(best.type).toBe('image/jpeg')
  expect(best.bytes.subarray(0, 3)).toEqual(Buffer.from([0xff, 0xd8, 0xff]))
  expect(worst.bytes.length).toBeLessThan(best.bytes.length)
})

describe('thumbnails', () => {
  test.each(['study', 'series', 'url'] as const)('of a %s', async level => {
    const stored = await store()
    expect(await png(`${stored[level]}/thumbnail`)).toMatchObject({ width: 200, height: 50 })
  })
})

test.each([
  ['/rendered?window=a,b', 400],
  ['/rendered?window=10,0', 400],
  ['/rendered?viewport=0,5', 400],
  ['/rendered?viewport=9000,9000', 400],
  ['/rendered?quality=101', 400],
  ['/frames/2/rendered', 404],
  ['/frames/x/rendered', 404],
  ['.9/rendered', 404],
])('%s is answered with %s', async (path, status) => {
  const { url } = await store()
  expect((await get(`${url}${path}`)).status).toBe(status)
})

test('a picture in another form is not available', async () => {
  const { url } = await store()
  expect((await get(`${url}/rendered`, 'image/gif')).status).toBe(406)
})

test('windows of the image by number and explanation, and functions other than linear', async () => {
  const { url } = await store({
    '00281050': element('00281050', 'DS', '127.5\\64'),
    '00281051': element('00281051', 'DS', '255\\32'),
    '00281055': element('00281055', 'LO', 'WIDE\\NARROW'),
  })
  const middle = async (query: string) => (await png(`${url}/rendered${query}`)).data[64]!
  expect(await middle('')).toBeCloseTo(64, -1)
  expect(await middle('?preset=2')).toBeCloseTo(128, -1)
  expect(await middle('?preset=narrow')).toBe(await middle('?preset=2'))
  expect((await get(`${url}/rendered?preset=lung`)).status).toBe(406)
  expect(await middle('?window=64,32,sigmoid')).toBeCloseTo(128, -1)
  const edge = async (shape: string) => (await png(`${url}/rendered?window=64,32,${shape}`)).data[40]!
  expect(await edge('linear')).toBe(0)
  expect(await edge('sigmoid')).toBeGreaterThan(5)
  expect((await get(`${url}/rendered?window=64,32,cubic`)).status).toBe(400)
})

test('overlays are drawn over the picture, where they are', async () => {
  const bits = Buffer.from([0b0000_0011, 0b0000_0001]) // two rows of eight: pixels 0 and 1 of the first, 0 of the second
  const { url } = await store({
    '60000010': element('60000010', 'US', 2),
    '60000011': element('60000011', 'US', 8),
    '60000040': element('60000040', 'CS', 'G'),
    '60000050': element('60000050', 'SS', Buffer.from([11, 0, 21, 0])), // row 11, column 21, from 1
    '60000100': element('60000100', 'US', 1),
    '60000102': element('60000102', 'US', 0),
    '60003000': element('60003000', 'OW', bits),
  })
  const { data, width } = await png(`${url}/rendered`)
  const at = (row: number, column: number) => data[row * width + column]
  expect([at(10, 20), at(10, 21), at(11, 20)]).toEqual([255, 255, 255])
  expect([at(10, 22), at(11, 21), at(9, 20)].every(value => value! < 30)).toBe(true)
})

test('a series as pictures, one in each part', async () => {
  const { study, series } = await store()
  for (const address of [study, series]) {
    const { parts, type } = await getParts(`${address}/rendered`, 'multipart/related; type="image/png"')
    expect(type).toMatch(/^multipart\/related; type="image\/png"/)
    expect(parts.map(part => part.type)).toEqual(['image/png'])
    expect(decode(parts[0]!.bytes).width).toBe(256)
  }
})
