import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32, deflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { element, fileMeta, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { type Answer, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
beforeAll(async () => {
  service = await startTestService({
    environment: {
      RADBRIDGE_QUIET_SECONDS: '3600',
      RADBRIDGE_MAX_REQUEST_BYTES: '4000000',
      RADBRIDGE_IDLE_SECONDS: '1',
    },
  })
})
afterAll(() => service?.stop())

const studies = () => `${service.url}/dicom-web/studies`
const post = (body: Buffer, headers: Record<string, string> = {}, path = '') =>
  http('POST', studies() + path, { 'Content-Type': multipartType, ...headers }, body)
const failures = (answer: Answer) => (answer.json?.['00081198']?.Value ?? []) as Record<string, { Value: unknown[] }>[]
const others = (answer: Answer) => (answer.json?.['0008119A']?.Value ?? []) as Record<string, { Value: unknown[] }>[]
const stored = (answer: Answer) => (answer.json?.['00081199']?.Value ?? []) as Record<string, { Value: unknown[] }>[]
const reasons = (answer: Answer) => [...failures(answer), ...others(answer)].map(item => item['00081197']!.Value[0])
const retrieve = async (uids: { study: string; series: string; instance: string }) => {
  const url = `${studies()}/${uids.study}/series/${uids.series}/instances/${uids.instance}`
  const response = await fetch(url, { headers: { Accept: 'application/dicom; transfer-syntax=*' } })
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) }
}

describe('what is stored', () => {
  test('an instance is answered with 200 and its addresses, and retrieved byte for byte', async () => {
    const uids = freshUids()
    const bytes = instance(uids)
    const answer = await post(multipart([bytes]))
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toMatch(/^application\/dicom\+json/)
    expect(answer.json['00081190'].Value).toEqual([`${studies()}/${uids.study}`])
    expect(stored(answer)[0]!['00081155']!.Value).toEqual([uids.instance])
    expect(stored(answer)[0]!['00081190']!.Value).toEqual([
      `${studies()}/${uids.study}/series/${uids.series}/instances/${uids.instance}`,
    ])
    expect(answer.json).not.toHaveProperty('00081198')
    const again = await retrieve(uids)
    expect(again.status).toBe(200)
    expect(again.bytes.equals(bytes)).toBe(true)
    const [row] = await service.query<{ crc32: string }>('select crc32 from instance where sop_instance_uid = $1', [
      uids.instance,
    ])
    expect(Number(row!.crc32)).toBe(crc32(bytes))
  })

  test('a single part of application/dicom', async () => {
    const uids = freshUids()
    const answer = await post(instance(uids), { 'Content-Type': 'application/dicom' }, `/${uids.study}`)
    expect(answer.status).toBe(200)
  })

  test.each([
    ['type without quotes', 'multipart/related; type=application/dicom; boundary=BOUNDARY'],
    ['other order and case', 'Multipart/Related; BOUNDARY="BOUNDARY"; Type="application/dicom"; start=x'],
    ['no type', 'multipart/related; boundary=BOUNDARY'],
  ])('Content-Type with %s', async (_name, type) => {
    expect((await post(multipart([instance()]), { 'Content-Type': type })).status).toBe(200)
  })

  test('preamble and epilogue text, blanks after the boundary', async () => {
    const body = Buffer.concat([Buffer.from('hello\r\n'), multipart([instance()]), Buffer.from('bye')])
    const padded = Buffer.from(body.toString('latin1').replace('--BOUNDARY\r\n', '--BOUNDARY  \t\r\n'), 'latin1')
    expect((await post(padded)).status).toBe(200)
  })

  test('part headers with bare line feeds', async () => {
    const body = Buffer.concat([
      Buffer.from('--BOUNDARY\nContent-Type: application/dicom\n\n'),
      instance(),
      Buffer.from('\n--BOUNDARY--\n'),
    ])
    expect((await post(body)).status).toBe(200)
  })

  test('bytes that look like a boundary within pixel data', async () => {
    const uids = freshUids()
    const pixels = Buffer.alloc(512)
    pixels.write('\r\n--BOUNDARYX\r\n--BOUNDAR\r\n--', 100)
    const bytes = instance({ ...uids, pixels })
    expect((await post(multipart([bytes]))).status).toBe(200)
    expect((await retrieve(uids)).bytes.equals(bytes)).toBe(true)
  })

  test('a boundary of 73 characters, as Orthanc sends', async () => {
    const boundary = 'b'.repeat(73)
    const answer = await post(multipart([instance()], boundary), {
      'Content-Type': `multipart/related; boundary=${boundary}`,
    })
    expect(answer.status).toBe(200)
  })

  test('a boundary in quotes with punctuation', async () => {
    const boundary = "a:b'c(d)+_,-./=?"
    const answer = await post(multipart([instance()], boundary), {
      'Content-Type': `multipart/related; boundary="${boundary}"; type="application/dicom"`,
    })
    expect(answer.status).toBe(200)
  })

  test('the last part of a body without closing delimiter, if it is whole', async () => {
    expect((await post(multipart([instance()], 'BOUNDARY', false))).status).toBe(200)
  })

  test('the same bytes again: success, one row, no new job', async () => {
    const uids = freshUids()
    const body = multipart([instance(uids)])
    await post(body)
    const jobs = () => service.query(`select run_at from graphile_worker.jobs where key = 'settle:${uids.study}'`)
    const before = await jobs()
    expect((await post(body)).status).toBe(200)
    expect(await service.query('select 1 from instance where sop_instance_uid = $1', [uids.instance])).toHaveLength(1)
    expect(await jobs()).toEqual(before)
  })

  test('the same instance twice in one request: one entry', async () => {
    const bytes = instance()
    const answer = await post(multipart([bytes, bytes]))
    expect(answer.status).toBe(200)
    expect(stored(answer)).toHaveLength(1)
  })

  test('the same data set with another file meta group is no duplicate', async () => {
    const uids = freshUids()
    const bytes = instance(uids)
    await post(multipart([bytes]))
    const dataset = bytes.subarray(fileMeta(uids.instance).length)
    const other = Buffer.from(fileMeta(uids.instance))
    other.write('polyglot', 0)
    expect((await post(multipart([Buffer.concat([other, dataset])]))).status).toBe(200)
  })

  test('ten identical requests at once store one instance', async () => {
    const uids = freshUids()
    const body = multipart([instance(uids)])
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(body)))
    expect(answers.map(answer => answer.status)).toEqual(Array(10).fill(200))
    expect(await service.query('select 1 from instance where sop_instance_uid = $1', [uids.instance])).toHaveLength(1)
  })
})

describe('what is refused of one instance does not cost the others', () => {
  const deflated = '1.2.840.10008.1.2.1.99'
  const uid65 = `1.${'2'.repeat(63)}`
  const nested = (depth: number): Buffer => {
    let item: Buffer = Buffer.alloc(0)
    for (let i = 0; i < depth; i++) {
      const header = Buffer.alloc(8)
      header.writeUInt32LE(0xe000fffe, 0)
      header.writeUInt32LE(item.length, 4)
      item = element('00081140', 'SQ', Buffer.concat([header, item]))
    }
    return item
  }
  const longLength = (bytes: number) => {
    const raw = element('00091010', 'UN', Buffer.alloc(4))
    raw.writeUInt32LE(bytes, 8)
    return raw
  }
  const cut = (bytes: Buffer, n: number) => bytes.subarray(0, bytes.length - n)
  const cases: [string, () => Buffer, number][] = [
    ['text instead of DICOM', () => Buffer.from('hello'), 0xc000],
    ['an HTML page', () => Buffer.from(`<html>${' '.repeat(500)}</html>`), 0xc000],
    ['a ZIP', () => Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(500)]), 0xc000],
    ['an empty part', () => Buffer.alloc(0), 0xc000],
    ['no preamble', () => instance().subarray(132), 0xc000],
    ['no transfer syntax', () => instance({ transferSyntax: null }), 0xc000],
    ['an unknown transfer syntax', () => instance({ transferSyntax: '1.2.3' }), 0xc122],
    ['another SOP Instance UID in the meta group', () => instance({ mediaStorageInstance: '1.2.3.4.5' }), 0xa900],
    ['no SOP Instance UID', () => instance({ elements: { '00080018': null } }), 0xa900],
    ['no Study Instance UID', () => instance({ elements: { '0020000D': null } }), 0xa900],
    [
      'an empty Series Instance UID',
      () => instance({ elements: { '0020000E': element('0020000E', 'UI', '') } }),
      0xa900,
    ],
    ['a UID of 65 characters', () => instance({ elements: { '0020000D': element('0020000D', 'UI', uid65) } }), 0xa900],
    ['a UID with a path', () => instance({ elements: { '0020000D': element('0020000D', 'UI', '../../etc') } }), 0xa900],
    [
      'a UID with a leading zero',
      () => instance({ elements: { '0020000D': element('0020000D', 'UI', '1.02.3') } }),
      0xa900,
    ],
    [
      'a UID that is there twice',
      () => instance({ elements: { '0020000D2': element('0020000D', 'UI', '1.2.3') } }),
      0xc000,
    ],
    ['an element longer than the file', () => instance({ elements: { '00091010': longLength(0x7fffffff) } }), 0xc000],
    [
      'undefined length without a delimiter',
      () => instance({ elements: { '00091010': longLength(0xffffffff), '7FE00010': null } }),
      0xc000,
    ],
    ['a value of 4 GB', () => instance({ elements: { '00091010': longLength(0xfffffffe) } }), 0xc000],
    ['a file that ends in its pixels', () => cut(instance(), 100), 0xc000],
    ['a file that ends in its header', () => cut(instance(), 512 + 30), 0xc000],
    ['VR ??', () => instance({ elements: { '00091010': element('00091010', '??', 'abcd') } }), 0xc000],
    ['sequences nested 1,000 deep', () => instance({ elements: { '00081140': nested(1000) } }), 0xc000],
    ['sequences nested 10,000 deep', () => instance({ elements: { '00081140': nested(3000) } }), 0xc000],
    [
      'Explicit VR declared, Implicit VR inside',
      () => Buffer.concat([fileMeta('1.2'), Buffer.from('08001600020000003100', 'hex'), Buffer.alloc(64, 1)]),
      0xc000,
    ],
    [
      'a corrupt deflated data set',
      () => Buffer.concat([fileMeta('1.2', { transferSyntax: '1.2.840.10008.1.2.1.99' }), Buffer.alloc(200, 0xff)]),
      0xc000,
    ],
    [
      'a deflate bomb',
      () =>
        Buffer.concat([
          fileMeta('1.2', { transferSyntax: deflated }),
          deflateRawSync(element('00091010', 'UN', Buffer.alloc(300_000_000))),
        ]),
      0xa700,
    ],
  ]
  test.each(cases)('%s', async (_name, make, reason) => {
    const neighbour = freshUids()
    const answer = await post(multipart([make(), instance(neighbour)]))
    expect(answer.status).toBe(202)
    expect(reasons(answer)).toEqual([reason])
    expect(stored(answer).map(item => item['00081155']!.Value[0])).toEqual([neighbour.instance])
    expect((await retrieve(neighbour)).status).toBe(200)
    expect((await post(multipart([make()]))).status).toBe(409)
  })

  test.each([
    ['trailing NUL and space in UIDs', { '00080060': element('00080060', 'CS', 'CT') }],
    ['an odd group length of the meta group', {}],
    [
      '100,000 elements',
      {
        '00091010': Buffer.concat(
          Array.from({ length: 60_000 }, (_, i) =>
            element(`0009${(0x1010 + (i % 60000)).toString(16).padStart(4, '0').slice(-4)}`, 'LO', 'x'),
          ),
        ),
      },
    ],
    ['a name of 10,000 characters', { '00100010': element('00100010', 'PN', 'x'.repeat(10_000)) }],
    ['an unknown character set', { '00080005': element('00080005', 'CS', 'KLINGON') }],
    [
      'dates and times that are none',
      { '00080020': element('00080020', 'DA', '2025-13-45'), '00080030': element('00080030', 'TM', '250000') },
    ],
    ['elements out of order', { '00000000': element('00280010', 'US', 16), '00280010': null }],
    ['Number of Frames that is no number', { '00280008': element('00280008', 'IS', '-1') }],
    ['PALETTE COLOR without tables', { '00280004': element('00280004', 'CS', 'PALETTE COLOR') }],
    ['pixel data shorter than Rows × Columns', { '7FE00010': element('7FE00010', 'OW', Buffer.alloc(10)) }],
  ] as [string, Record<string, Buffer | null>][])('stored all the same: %s', async (_name, elements) => {
    const uids = freshUids()
    const bytes = instance({ ...uids, elements })
    const answer = await post(multipart([bytes]))
    expect(reasons(answer)).toEqual([])
    expect(answer.status).toBe(200)
    expect((await retrieve(uids)).bytes.equals(bytes)).toBe(true)
  })

  test('a wrong meta group length is recovered from', async () => {
    const bytes = Buffer.from(instance())
    bytes.writeUInt32LE(7, 140)
    expect((await post(multipart([bytes]))).status).toBe(200)
  })

  test('encapsulated pixels without a fragment are stored with warning B007', async () => {
    const empty = Buffer.from('fe ff 00 e0 00 00 00 00 fe ff dd e0 00 00 00 00'.replaceAll(' ', ''), 'hex')
    const pixel = Buffer.concat([
      Buffer.from('e07f1000', 'hex'),
      Buffer.from('OB\0\0'),
      Buffer.from('ffffffff', 'hex'),
      empty,
    ])
    const answer = await post(
      multipart([instance({ transferSyntax: '1.2.840.10008.1.2.4.90', elements: { '7FE00010': pixel } })]),
    )
    expect(answer.status).toBe(202)
    expect(stored(answer)[0]!['00081196']!.Value).toEqual([0xb007])
  })

  test('a study UID other than the URL: A901, and the right one is stored', async () => {
    const right = freshUids()
    const answer = await post(multipart([instance(), instance(right)]), {}, `/${right.study}`)
    expect(answer.status).toBe(202)
    expect(reasons(answer)).toEqual([0xa901])
    expect(stored(answer)).toHaveLength(1)
  })

  test('the same UID with other pixels: 0111, the first stays', async () => {
    const uids = freshUids()
    const first = instance(uids)
    await post(multipart([first]))
    const answer = await post(multipart([instance({ ...uids, pixels: Buffer.alloc(512, 9) })]))
    expect(answer.status).toBe(409)
    expect(reasons(answer)).toEqual([0x0111])
    expect((await retrieve(uids)).bytes.equals(first)).toBe(true)
  })

  test('the same SOP Instance UID in another study: A900', async () => {
    const uids = freshUids()
    await post(multipart([instance(uids)]))
    const answer = await post(multipart([instance({ instance: uids.instance })]))
    expect(reasons(answer)).toEqual([0xa900])
  })

  test('a part of another type fails by itself', async () => {
    const body = Buffer.concat([
      Buffer.from('--BOUNDARY\r\nContent-Type: image/jpeg\r\n\r\nxx\r\n'),
      multipart([instance()]),
    ])
    const answer = await post(body)
    expect(answer.status).toBe(202)
    expect(others(answer)).toHaveLength(1)
  })

  test('answers hold no patient name', async () => {
    const answer = await post(multipart([cut(instance(), 100)]))
    expect(answer.text).not.toMatch(/Test|T-1/)
  })
})

describe('what is refused as a whole', () => {
  test.each([
    ['no Content-Type', {}, 415],
    ['text/plain', { 'Content-Type': 'text/plain' }, 415],
    ['multipart/form-data', { 'Content-Type': 'multipart/form-data; boundary=BOUNDARY' }, 415],
    ['multipart of PDF', { 'Content-Type': 'multipart/related; type="application/pdf"; boundary=BOUNDARY' }, 415],
    ['no boundary', { 'Content-Type': 'multipart/related; type="application/dicom"' }, 400],
    ['a boundary of 201 characters', { 'Content-Type': `multipart/related; boundary=${'b'.repeat(201)}` }, 400],
    ['an impossible Accept', { 'Content-Type': multipartType, Accept: 'image/png' }, 406],
    ['an unknown Content-Encoding', { 'Content-Type': multipartType, 'Content-Encoding': 'br' }, 415],
    ['a Content-Encoding that is none', { 'Content-Type': multipartType, 'Content-Encoding': 'deflate' }, 400],
  ] as [string, Record<string, string>, number][])('%s', async (_name, headers, status) => {
    const body = multipart([instance()])
    const answer = await http('POST', studies(), headers, body)
    expect(answer.status).toBe(status)
    expect(answer.json.detail).toMatch(/\w/)
  })

  test.each(['abc', '1..2', '1.02', '1'.repeat(65)])('the study UID %s in the URL', async uid => {
    expect((await post(multipart([instance()]), {}, `/${uid}`)).status).toBe(400)
  })

  test('an empty body, no parts, and a body without the boundary', async () => {
    expect((await post(Buffer.alloc(0))).status).toBe(400)
    expect((await post(Buffer.from('--BOUNDARY--\r\n'))).status).toBe(400)
    expect((await post(Buffer.from('nothing of the kind'))).status).toBe(400)
  })

  test('a part header of 1 MB', async () => {
    const answer = await post(Buffer.from(`--BOUNDARY\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`))
    expect(answer.status).toBe(400)
  })

  test('10,000 empty parts', async () => {
    const answer = await post(Buffer.from(`${'--BOUNDARY\r\n\r\n\r\n'.repeat(10_000)}--BOUNDARY--`))
    expect(answer.status).toBe(409)
    expect(others(answer)).toHaveLength(10_000)
  })

  test('a Content-Length over the limit, before reading', async () => {
    const answer = await post(Buffer.alloc(5_000_000))
    expect(answer.status).toBe(413)
  })

  test('a chunked body over the limit: what was committed before is told', async () => {
    const uids = freshUids()
    const body = multipart([instance(uids), Buffer.alloc(5_000_000)])
    const reply = await raw([
      `POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${multipartType}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      ...chunked(body),
    ])
    expect(reply).toMatch(/^HTTP\/1.1 202 /)
    expect(reply).toContain(uids.instance)
  })

  test('other methods are answered with 405 and Allow', async () => {
    const answer = await http('PUT', studies(), {}, 'x')
    expect(answer.status).toBe(405)
    expect(answer.headers.allow).toContain('POST')
  })
})

describe('senders that break off', () => {
  test('hanging up in mid-part stores nothing of it, and marks the study', async () => {
    const [whole, half] = [freshUids(), freshUids()]
    half.study = whole.study
    half.series = whole.series
    const body = multipart([instance(whole), instance(half)])
    const socket = net.connect(Number(new URL(service.url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(
      `POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${multipartType}\r\nContent-Length: ${body.length}\r\n\r\n`,
    )
    socket.write(body.subarray(0, body.length - 200))
    await sleep(300)
    socket.destroy()
    const [row] = await until('evidence', async () => {
      const rows = await service.query<{ evidence: { kind: string; reason: string }[] }>(
        `select evidence from study_revision where study_instance_uid = $1 and evidence <> '[]'`,
        [whole.study],
      )
      return rows.length > 0 ? rows : undefined
    })
    expect(row!.evidence[0]).toMatchObject({ kind: 'partial', reason: 'a request was cut' })
    expect((await retrieve(whole)).status).toBe(200)
    expect((await retrieve(half)).status).toBe(404)
    await until('no leftovers', async () => {
      const files = readdirSync(join(service.dataDirectory, 'archive'), { recursive: true, withFileTypes: true })
      const [row] = await service.query<{ count: number }>('select count(*)::int count from instance')
      return files.filter(entry => entry.isFile()).length === row!.count ? true : undefined
    })
  })

  test('one byte a second, and silence, end with 408', async () => {
    const reply = await raw(
      [
        `POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${multipartType}\r\nContent-Length: 1000\r\n\r\n`,
        '-',
        '-',
      ],
      400,
    )
    expect(reply).toMatch(/^HTTP\/1.1 408 /)
  })
})

test('QIDO-RS finds what was stored, and refuses what it cannot understand', async () => {
  const uids = freshUids()
  await post(multipart([instance({ ...uids, elements: { '00100020': element('00100020', 'LO', 'QIDO_1%') } })]))
  const find = (query: string) => http('GET', `${studies()}?${query}`)
  for (const query of [
    `StudyInstanceUID=${uids.study}`,
    'PatientID=QIDO_1%25',
    'PatientID=QIDO*&StudyDate=20250101-20261231&ModalitiesInStudy=CT',
    `PatientName=test*&0020000D=${uids.study}`,
  ]) {
    const answer = await find(query)
    expect(answer.json.map((s: Record<string, { Value: string[] }>) => s['0020000D']!.Value[0])).toEqual([uids.study])
    expect(answer.json[0]['00201208'].Value).toEqual([1])
  }
  expect((await find('PatientID=QIDOx1%25')).json).toEqual([]) // _ and % are no wildcards
  expect((await find('offset=1000000000')).json).toEqual([])
  for (const query of ['limit=-1', 'limit=abc', 'StudyDate=yesterday', 'PatientID=a%00b'])
    expect((await find(query)).status).toBe(400)
  const series = await http('GET', `${studies()}/${uids.study}/series`)
  expect(series.json[0]['0020000E'].Value).toEqual([uids.series])
  const instances = await http('GET', `${service.url}/dicom-web/instances?SOPInstanceUID=${uids.instance}`)
  expect(instances.json[0]['00280010'].Value).toEqual([16])
  const metadata = await http('GET', `${studies()}/${uids.study}/metadata`)
  expect(metadata.json[0]['00100010'].Value).toEqual([{ Alphabetic: 'Test^Patient' }])
})

test('nothing that a sender says becomes a path or a log line', () => {
  const walk = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap(e =>
      e.isDirectory() ? walk(join(directory, e.name)) : [join(directory, e.name)],
    )
  const files = walk(join(service.dataDirectory, 'archive'))
  expect(files.length).toBeGreaterThan(10)
  for (const file of files) expect(file).toMatch(/archive\/\d{4}\/\d{2}\/\d{2}\/\d{4}\/[0-9a-f-]{36}\.dcm$/)
  expect(readFileSync(files[0]!).subarray(128, 132).toString()).toBe('DICM')
})

function chunked(body: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < body.length; at += 60_000) {
    const piece = body.subarray(at, at + 60_000)
    pieces.push(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]))
  }
  return [...pieces, Buffer.from('0\r\n\r\n')]
}

/** Writes to a bare socket, with a pause after each piece, and returns what comes back. */
function raw(pieces: readonly (string | Buffer)[], pauseMilliseconds = 0): Promise<string> {
  return new Promise(resolve => {
    const socket = net.connect(Number(new URL(service.url).port), '127.0.0.1')
    let reply = ''
    socket.on('data', data => {
      reply += data.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(reply))
    void (async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return
        if (!socket.write(piece)) await Promise.race([new Promise(r => socket.once('drain', r)), sleep(1000)])
        if (pauseMilliseconds) await sleep(pauseMilliseconds)
      }
    })()
    setTimeout(() => socket.destroy(), 8000).unref()
  })
}
