import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readPart10Header } from '../../src/dicom/part10.js'
import { allowsAddress } from '../../src/dimse/addresses.js'
import { commandField, decodeCommand, encodeCommand, field } from '../../src/dimse/command.js'
import { echo } from '../../src/dimse/echo.js'
import { openAssociation } from '../../src/dimse/openAssociation.js'
import { associateRequest, ProtocolError, readAssociateRequest } from '../../src/dimse/pdu.js'
import { judge, placeOf, proposed, storeOver, storeScu } from '../../src/dimse/storeScu.js'
import { silentLog } from '../../src/platform/log.js'
import { startTestDatabase } from '../fixtures/database.js'
import { startFakeProvider } from '../fixtures/fakeProvider.js'
import { element, freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { freePort, hasProgram, testWhere } from '../fixtures/peers.js'
import { followStudy, http, startTestService, type TestService, until } from '../fixtures/service.js'

let service: TestService
let port: number
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'radbridge-dimse-'))
  port = await freePort()
  service = await startTestService({ environment: { RADBRIDGE_DIMSE_PORT: String(port) } })
})
afterAll(async () => {
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const peer = (over = {}) => ({
  aeTitle: 'RADBRIDGE',
  host: '127.0.0.1',
  port,
  callingAeTitle: 'TEST',
  timeoutSeconds: 5,
  ...over,
})

let files = 0
function file(
  bytes: Buffer,
  uids: { study: string; series: string; instance: string },
  sopClassUid = '1.2.840.10008.5.1.4.1.1.2',
) {
  const path = join(folder, `${++files}.dcm`)
  writeFileSync(path, bytes)
  return {
    path,
    byteLength: bytes.length,
    sopClassUid,
    sopInstanceUid: uids.instance,
    seriesInstanceUid: uids.series,
    studyInstanceUid: uids.study,
  }
}

async function stored({ study, series, instance: uid }: { study: string; series: string; instance: string }) {
  const { status, headers } = await http(
    'GET',
    `${service.url}/dicom-web/studies/${study}/series/${series}/instances/${uid}`,
    { Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
  )
  if (status !== 200) return undefined
  const [row] = await service.query<{ key: string }>('select blob_key key from instance where sop_instance_uid = $1', [
    uid,
  ])
  expect(headers['content-type']).toContain('multipart/related')
  return readFileSync(join(service.dataDirectory, 'archive', row!.key))
}
/** The data set of a Part 10 file: what is behind its group 0002. */
const dataSetOf = (bytes: Buffer) => bytes.subarray(132 + 12 + bytes.readUInt32LE(140))

test('C-ECHO is answered', async () => {
  await echo(peer())
})

test('what C-STORE brings is stored with its data set byte for byte, and analysed', async () => {
  const uids = freshUids()
  const bytes = instance({
    ...uids,
    elements: { '00091001': element('00091001', 'UN', 'odd'), '00100020': element('00100020', 'LO', 'P\\Q') },
  })
  const scu = storeScu(peer())
  expect(await scu.deliver(file(bytes, uids))).toEqual({ outcome: 'delivered', detail: 'stored (C-STORE 0000)' })
  expect(await scu.deliver(file(bytes, uids))).toMatchObject({ outcome: 'delivered' }) // over the association that was kept
  await scu.close()
  expect(dataSetOf((await stored(uids))!).equals(dataSetOf(bytes))).toBe(true)
  expect((await followStudy(service.url, uids.study)).state).toBe('completed')
})

test('large instances arrive whole, however they are cut into fragments', async () => {
  const uids = freshUids()
  const pixels = Buffer.from(Uint16Array.from({ length: 1500 * 1500 }, (_, i) => i * 7).buffer)
  const bytes = instance({ ...uids, rows: 1500, columns: 1500, pixels })
  const scu = storeScu(peer())
  expect(await scu.deliver(file(bytes, uids))).toMatchObject({ outcome: 'delivered' })
  await scu.close()
  expect(dataSetOf((await stored(uids))!).equals(dataSetOf(bytes))).toBe(true)
})

describe('what cannot be stored gets its status, and the association goes on', () => {
  test.each([
    ['another instance than announced', { over: { sopInstanceUid: '1.2.3.9' } }, /A900/],
    ['another SOP class than announced', { over: { sopClassUid: '1.2.840.10008.5.1.4.1.1.4' } }, /A900/],
  ])(
    '%s',
    async (_, { over = {}, elements = {} }: { over?: object; elements?: Record<string, Buffer | null> }, status) => {
      const uids = freshUids()
      const scu = storeScu(peer())
      const outcome = await scu.deliver({ ...file(instance({ ...uids, elements }), uids), ...over })
      expect(outcome).toMatchObject({ outcome: 'refused', detail: expect.stringMatching(status) })
      const fine = freshUids()
      expect(await scu.deliver(file(instance(fine), fine))).toMatchObject({ outcome: 'delivered' })
      await scu.close()
      expect(await stored(uids)).toBeUndefined()
    },
  )
})

describe('associations', () => {
  test('another AE title than ours is refused, with the reason; case counts', async () => {
    for (const aeTitle of ['SOMEBODY', 'radbridge', ' '])
      await expect(echo(peer({ aeTitle }))).rejects.toThrow('it has another AE title than the one we called')
  })
  test('a SOP class that is none of storage is not accepted', async () => {
    const uids = freshUids()
    const scu = storeScu(peer())
    const outcome = await scu.deliver(file(instance(uids), uids, '1.2.840.10008.5.1.4.31'))
    expect(outcome).toMatchObject({
      outcome: 'refused',
      detail: expect.stringContaining('it does not take objects of SOP class'),
    })
    await scu.close()
  })
  test('with sources, only their AE titles from their addresses', async () => {
    const guarded = await freePort()
    const other = await startTestService({
      environment: { RADBRIDGE_DIMSE_PORT: String(guarded), RADBRIDGE_AE_TITLE: 'GUARDED' },
      endpoints: `
sources:
  - { name: ct, dimse: { aeTitle: CT01, addresses: [127.0.0.0/8] } }
  - { name: far, dimse: { aeTitle: FAR, addresses: [10.0.0.0/8] } }
routes:
  - { name: r, match: { source: [ct] }, analysis: { primary: reference } }
`,
    })
    const there = (callingAeTitle: string) => peer({ aeTitle: 'GUARDED', port: guarded, callingAeTitle })
    await echo(there('CT01'))
    await expect(echo(there('FAR'))).rejects.toThrow('it does not know our AE title')
    await expect(echo(there('WHO'))).rejects.toThrow('it does not know our AE title')
    await expect(echo(there(' '))).rejects.toThrow('it does not know our AE title')
    const uids = freshUids()
    const scu = storeScu(there('CT01'))
    expect(await scu.deliver(file(instance(uids), uids))).toMatchObject({ outcome: 'delivered' })
    await scu.close()
    const [row] = await other.query<{ source: string }>('select source from instance')
    expect(row!.source).toBe('ct')
    await other.stop()
  })
})

test('with sources that come by STOW-RS only nobody may associate', async () => {
  const guarded = await freePort()
  process.env.PACS_TOKEN = 'a token'
  const other = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(guarded) },
    endpoints: 'sources: [{ name: pacs, stow: { token: env:PACS_TOKEN } }]\n',
  })
  for (const callingAeTitle of ['ANY', ' '])
    await expect(echo(peer({ port: guarded, callingAeTitle }))).rejects.toThrow('it does not know our AE title')
  await other.stop()
})

test('while nothing can be stored C-STORE is answered with A700, and the rest of the association goes on', async () => {
  const full = await freePort()
  const other = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(full), RADBRIDGE_MINIMUM_FREE_BYTES: String(2 ** 50) },
  })
  const uids = freshUids()
  const scu = storeScu(peer({ port: full }))
  expect(await scu.deliver(file(instance(uids), uids))).toEqual({
    outcome: 'failed',
    detail: 'the destination answered C-STORE with A700: the disk is nearly full',
  })
  await scu.close()
  await other.stop()
})

test('while too much is on its way C-STORE is answered with A700, and a moment later it is taken', async () => {
  const busy = await freePort()
  const other = await startTestService({
    environment: { RADBRIDGE_DIMSE_PORT: String(busy), RADBRIDGE_MAX_BYTES_IN_FLIGHT: '1' },
  })
  const body = multipart([instance()])
  const headers = { 'Content-Type': multipartType, 'Content-Length': body.length }
  const slow = request(`${other.url}/dicom-web/studies`, { method: 'POST', headers })
  const answered = new Promise<number>(resolve => slow.on('response', res => resolve(res.resume().statusCode!)))
  slow.write(body.subarray(0, 1000))
  const scu = storeScu(peer({ port: busy }))
  const send = () => {
    const uids = freshUids()
    return scu.deliver(file(instance(uids), uids))
  }
  const refused = await until('a refusal', async () => {
    const outcome = await send()
    return outcome.outcome === 'failed' ? outcome : undefined
  })
  expect(refused.detail).toContain('A700: too much is on its way in')
  slow.end(body.subarray(1000))
  expect(await answered).toBe(200)
  expect(await send()).toMatchObject({ outcome: 'delivered' })
  await scu.close()
  await other.stop()
}, 180_000)

test('a service that stops ends a quiet association soon, and takes nobody for one who was cut off', async () => {
  const base = await startTestDatabase()
  const { host, port: databasePort, user, database } = base.database.options
  const stopping = await freePort()
  const other = await startTestService({
    environment: {
      RADBRIDGE_DIMSE_PORT: String(stopping),
      RADBRIDGE_QUIET_SECONDS: '3600',
      DATABASE_URL: `postgresql://${user}@localhost:${databasePort}/${database}?host=${encodeURIComponent(host!)}`,
    },
  })
  const uids = freshUids()
  const object = file(instance(uids), uids)
  const placed = { ...object, ...(await placeOf(object.path)) }
  const { association, closed } = await openAssociation(
    peer({ port: stopping }),
    proposed(object.sopClassUid, placed.transferSyntax, false),
    { log: silentLog },
  )
  expect(await storeOver(association, placed, {})).toMatchObject({ outcome: 'delivered' })
  await other.stop() // the association stays open for the next instance
  expect(await closed).toBeDefined()
  const { rows } = await base.database.query<{ evidence: object[] }>(
    'select evidence from study_revision where study_instance_uid = $1',
    [uids.study],
  )
  expect(rows[0]!.evidence).toEqual([])
  await base.stop()
}, 180_000)

describe('TLS', () => {
  const pem = (name: string) => `test/fixtures/tls/${name}`
  const text = (name: string) => readFileSync(pem(name), 'utf8')
  let guarded: number
  let other: TestService
  beforeAll(async () => {
    guarded = await freePort()
    const configuration = join(folder, 'tls.yaml')
    const tls = `{ cert: ${pem('server.pem')}, key: 'file:${pem('server.key')}', ca: ${pem('ca.pem')} }`
    writeFileSync(configuration, `dimse: { port: ${guarded}, tls: ${tls} }\n`)
    other = await startTestService({ environment: { RADBRIDGE_DIMSE_PORT: String(guarded) }, configuration })
  })
  afterAll(() => other?.stop())
  const client = () => ({ ca: text('ca.pem'), cert: text('client.pem'), key: text('client.key') })
  test('a sender with a certificate of the authority is served', async () => {
    const uids = freshUids()
    const scu = storeScu(peer({ port: guarded, tls: client() }))
    expect(await scu.deliver(file(instance(uids), uids))).toMatchObject({ outcome: 'delivered' })
    await scu.close()
  })
  test('one without, one in plain, and one that does not trust us are not', async () => {
    await expect(echo(peer({ port: guarded, tls: { ca: text('ca.pem') } }))).rejects.toThrow()
    await expect(echo(peer({ port: guarded }))).rejects.toThrow()
    const { ca: _, ...strange } = client()
    await expect(echo(peer({ port: guarded, tls: strange }))).rejects.toThrow(/certificate/)
    await echo(peer({ port: guarded, tls: client() }))
  })
  testWhere(hasProgram('echoscu'), 'dcmtk is not installed')('dcmtk’s echoscu and storescu by TLS', async () => {
    const args = [
      '-aec',
      'RADBRIDGE',
      '+tls',
      pem('client.key'),
      pem('client.pem'),
      '+cf',
      pem('ca.pem'),
      '127.0.0.1',
      String(guarded),
    ]
    expect(await run('echoscu', args)).toEqual({ code: 0, output: '' })
    const uids = freshUids()
    expect(await run('storescu', [...args, file(instance(uids), uids).path])).toEqual({ code: 0, output: '' })
    expect((await run('echoscu', ['-aec', 'RADBRIDGE', '127.0.0.1', String(guarded)])).code).not.toBe(0)
  })
})

test('an association that breaks off in the middle of an instance stores nothing of it, and marks the study', async () => {
  const uids = freshUids()
  const second = { ...uids, instance: `${uids.instance.slice(0, 60)}.2` }
  const socket = await associated()
  const send = (bytes: Buffer, uid: string, most: number) => {
    socket.write(pData(storeCommand(uid), 3))
    socket.write(pData(dataSetOf(bytes).subarray(0, most), most < bytes.length ? 0 : 2))
  }
  send(instance(uids), uids.instance, Number.MAX_SAFE_INTEGER)
  await until('the first is there', async () => ((await stored(uids)) ? true : undefined))
  send(instance({ ...second, rows: 64, columns: 64 }), second.instance, 5000)
  await new Promise(resolve => setTimeout(resolve, 200))
  socket.destroy()
  const study = await followStudy(service.url, uids.study)
  expect(study.instances).toBe(1)
  expect(study.evidence.map(entry => entry.kind)).toContain('partial')
})

function storeCommand(sopInstanceUid: string): Buffer {
  return encodeCommand({
    [field.affectedSopClassUid]: '1.2.840.10008.5.1.4.1.1.2',
    [field.commandField]: commandField.cStoreRequest,
    [field.messageId]: 1,
    [field.priority]: 0,
    [field.commandDataSetType]: 1,
    [field.affectedSopInstanceUid]: sopInstanceUid,
  })
}

/** One fragment as a P-DATA; control 1: command, 2: last. */
function pData(bytes: Buffer, control: number): Buffer {
  const header = Buffer.alloc(12)
  header[0] = 4
  header.writeUInt32BE(bytes.length + 6, 2)
  header.writeUInt32BE(bytes.length + 2, 6)
  header[10] = 1
  header[11] = control
  return Buffer.concat([header, bytes])
}

async function associated(): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(
    associateRequest('RADBRIDGE', 'TEST', [
      { id: 1, abstractSyntax: '1.2.840.10008.5.1.4.1.1.2', transferSyntaxes: ['1.2.840.10008.1.2.1'] },
    ]),
  )
  await new Promise(resolve => socket.once('data', resolve))
  return socket
}

test('a release that is answered without having been asked for, in the middle of an instance: nothing of it is left', async () => {
  const socket = await associated()
  const uids = freshUids()
  const storing = { 2: '1.2.840.10008.5.1.4.1.1.2', 256: 1, 272: 1, 1792: 0, 2048: 1, 4096: uids.instance }
  socket.write(Buffer.concat([pData(encodeCommand(storing), 3), pData(instance(uids).subarray(400, 900), 0)]))
  const files = () =>
    readdirSync(join(service.dataDirectory, 'archive'), { recursive: true }).filter(name =>
      String(name).endsWith('.dcm'),
    )
  const before = new Set(
    (await service.query<{ key: string }>('select blob_key key from instance')).map(({ key }) => key),
  )
  const strange = () => files().filter(name => !before.has(String(name))).length
  await until('its file is there', async () => (strange() > 0 ? true : undefined))
  socket.write(Buffer.from([6, 0, 0, 0, 0, 4, 0, 0, 0, 0]))
  await until('it is gone', async () => (strange() === 0 ? true : undefined), 10)
  socket.destroy()
})

describe('bad input over the socket', () => {
  const answers = async (bytes: Buffer, afterAssociation: boolean): Promise<Buffer> => {
    const socket = afterAssociation ? await associated() : connect(port, '127.0.0.1')
    socket.on('error', () => {})
    const parts: Buffer[] = []
    socket.on('data', part => parts.push(part))
    socket.write(bytes)
    await new Promise(resolve => socket.once('close', resolve))
    return Buffer.concat(parts)
  }
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), false],
    ['an association of two gigabytes', Buffer.from([1, 0, 0x7f, 255, 255, 255]), false],
    ['an item that is longer than its message', cutItem(), false],
    ['a presentation context with an even number', requestWith([2]), false],
    ['two presentation contexts of one number', requestWith([1, 1]), false],
    [
      'more than 128 presentation contexts',
      requestWith(Array.from({ length: 129 }, (_, i) => (2 * i + 1) % 256)),
      false,
    ],
    ['a fragment of a context that was not accepted', Buffer.from([4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 9, 3, 0, 0]), true],
    ['a fragment that is longer than its P-DATA', Buffer.from([4, 0, 0, 0, 0, 8, 0, 0, 0, 99, 1, 3, 0, 0]), true],
    ['a command that is none', pData(Buffer.from('this is no command'), 3), true],
    ['a command of two gigabytes', Buffer.from([4, 0, 0x7f, 255, 255, 255, 0x7f, 255, 255, 0, 1, 3]), true],
    ['a data set without its command', pData(Buffer.alloc(20), 2), true],
    ['a PDU of an unknown type', Buffer.from([0x77, 0, 0, 0, 0, 0]), true],
  ])('%s is answered with A-ABORT', async (_, bytes, afterAssociation) => {
    const answer = await answers(bytes, afterAssociation)
    expect(answer.at(0)).toBe(7)
  })
  test('after all of that it still answers', async () => {
    await echo(peer())
  })
  test('an instance without Study Instance UID gets A900 and its reason', async () => {
    const uids = freshUids()
    const socket = await associated()
    const answer = new Promise<Buffer>(resolve => socket.once('data', resolve))
    const bytes = instance({ ...uids, elements: { '0020000D': null } })
    socket.write(pData(storeCommand(uids.instance), 3))
    socket.write(pData(dataSetOf(bytes), 2))
    const command = decodeCommand((await answer).subarray(12))
    expect(command).toMatchObject({
      [field.status]: 0xa900,
      [field.errorComment]: expect.stringContaining('Study Instance UID'),
    })
    socket.destroy()
  })
  test('an operation that is not offered gets 0211', async () => {
    const socket = await associated()
    const answer = new Promise<Buffer>(resolve => socket.once('data', resolve))
    socket.write(pData(encodeCommand({ 2: '1.2.3', 256: 0x20, 272: 7, 1792: 0, 2048: 1 }), 3)) // C-FIND over a context of Storage
    socket.write(pData(Buffer.alloc(16), 2))
    const command = decodeCommand((await answer).subarray(12))
    expect(command).toMatchObject({
      [field.commandField]: 0x8020,
      [field.messageIdBeingRespondedTo]: 7,
      [field.status]: 0x0211,
    })
    socket.destroy()
  })
})

/** An association request with contexts of these numbers. */
function requestWith(ids: readonly number[]): Buffer {
  const transferSyntaxes = ['1.2.840.10008.1.2']
  return associateRequest(
    'RADBRIDGE',
    'TEST',
    ids.map(id => ({ id, abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes })),
  )
}

function cutItem(): Buffer {
  const bytes = associateRequest('RADBRIDGE', 'TEST', [
    { id: 1, abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes: ['1.2'] },
  ])
  bytes.writeUInt16BE(60_000, 6 + 68 + 2)
  return bytes
}

test('association requests that are changed at random are read, or refused as such', () => {
  const good = associateRequest('RADBRIDGE', 'TEST', [
    { id: 1, abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes: ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1'] },
  ]).subarray(6)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(good.length),
      (changes, length) => {
        const bytes = Buffer.from(good.subarray(0, length))
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        try {
          readAssociateRequest(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      },
    ),
    { numRuns: 10_000 },
  )
})

test('commands come back as they were', () => {
  const command = { 2: '1.2.840.10008.1.1', 256: 0x8030, 288: 65_535, 2048: 0x0101, 2304: 0, 2306: 'odd' }
  expect(decodeCommand(encodeCommand(command))).toEqual({ 0: expect.anything(), ...command })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        decodeCommand(Buffer.from(bytes))
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError)
      }
    }),
    { numRuns: 5000 },
  )
})

test('statuses of C-STORE', () => {
  expect(judge(0x0000, '').outcome).toBe('delivered')
  expect(judge(0xb007, '').outcome).toBe('delivered')
  expect(judge(0xa701, 'disk full')).toEqual({
    outcome: 'failed',
    detail: 'the destination answered C-STORE with A701: disk full',
  })
  for (const status of [0xa900, 0xc000, 0x0122, 0x0124]) expect(judge(status, '').outcome).toBe('refused')
})

test('addresses and networks', () => {
  expect(allowsAddress(undefined, '8.8.8.8')).toBe(true)
  expect(allowsAddress(['10.0.0.0/8'], '10.200.3.4')).toBe(true)
  expect(allowsAddress(['10.0.0.0/8'], '::ffff:10.1.1.1')).toBe(true)
  expect(allowsAddress(['10.0.0.0/8', '192.168.1.5'], '192.168.1.6')).toBe(false)
  expect(allowsAddress(['fd00::/8'], 'fd12::1')).toBe(true)
})

const run = (program: string, args: string[]) =>
  new Promise<{ code: number; output: string }>(resolve =>
    execFile(program, args, { env: { ...process.env, TCP_NODELAY: '1' } }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
    ),
  )

describe('dcmtk', () => {
  const testDcmtk = testWhere(hasProgram('storescu'), 'dcmtk is not installed')
  testDcmtk('echoscu and storescu, 30 instances over one association', async () => {
    expect((await run('echoscu', ['-aec', 'RADBRIDGE', '127.0.0.1', String(port)])).code).toBe(0)
    const uids = freshUids()
    const folderOfStudy = join(folder, 'study')
    mkdirSync(folderOfStudy)
    for (let n = 1; n <= 30; n++)
      writeFileSync(
        join(folderOfStudy, `${n}.dcm`),
        instance({ ...uids, instance: `${uids.instance.slice(0, 58)}.${n}` }),
      )
    const sent = await run('storescu', ['-aec', 'RADBRIDGE', '+sd', '127.0.0.1', String(port), folderOfStudy])
    expect(sent).toEqual({ code: 0, output: '' })
    expect((await followStudy(service.url, uids.study)).instances).toBe(30)
  })
  const compressors: readonly (readonly [syntax: string, option: string, program: string, ...args: string[]])[] = [
    ['1.2.840.10008.1.2', '-xi', 'dcmconv', '+ti'],
    ['1.2.840.10008.1.2.1', '-xe', 'dcmconv', '+te'],
    ['1.2.840.10008.1.2.2', '-xb', 'dcmconv', '+tb'],
    ['1.2.840.10008.1.2.1.99', '-xd', 'dcmconv', '+td'],
    ['1.2.840.10008.1.2.4.50', '-xy', 'dcmcjpeg', '+eb', '+un'],
    ['1.2.840.10008.1.2.4.51', '-xx', 'dcmcjpeg', '+ee', '+un'],
    ['1.2.840.10008.1.2.4.70', '-xs', 'dcmcjpeg', '+e1'],
    ['1.2.840.10008.1.2.4.80', '-xt', 'dcmcjpls', '+el'],
    ['1.2.840.10008.1.2.4.81', '-xu', 'dcmcjpls', '+en', '+un'],
    ['1.2.840.10008.1.2.4.90', '-xv', 'gdcmconv', '--j2k'],
    ['1.2.840.10008.1.2.5', '-xr', 'dcmcrle'],
  ]
  testDcmtk.each(compressors.map(row => [row[0], row] as const))(
    'storescu in transfer syntax %s: stored in it, value for value',
    async (syntax, [, option, program, ...args]) => {
      const uids = freshUids()
      const { path } = file(instance({ ...uids, rows: 32, columns: 32, pixels: Buffer.alloc(2048, 3) }), uids)
      const encoded = `${path}.encoded`
      expect((await run(program, [...args, path, encoded])).output).not.toMatch(/^[EF]:/m)
      const sent = await run('storescu', ['-aec', 'RADBRIDGE', '-R', option, '127.0.0.1', String(port), encoded])
      expect(sent).toEqual({ code: 0, output: '' })
      const came = readPart10Header((await stored(uids))!, true)
      const original = readPart10Header(readFileSync(encoded), true)
      if (came.outcome !== 'header' || original.outcome !== 'header') throw new Error('not readable')
      expect(came.header.transferSyntax.uid).toBe(syntax)
      // storescu writes lengths of sequences and padding its own way where it can: values are compared.
      expect(came.header.json).toEqual(original.header.json)
      expect(came.header.pixelData!.length).toBe(original.header.pixelData!.length)
    },
  )
  testWhere(hasProgram('gdcmscu'), 'gdcm is not installed')('gdcmscu: C-ECHO and C-STORE', async () => {
    const to = ['127.0.0.1', String(port), '--call', 'RADBRIDGE']
    expect((await run('gdcmscu', ['--echo', ...to])).code).toBe(0)
    const uids = freshUids()
    const { path } = file(instance(uids), uids)
    expect((await run('gdcmscu', ['--store', ...to, path])).code).toBe(0)
    expect(await stored(uids)).toBeDefined()
  })
  testDcmtk('to a storescp that knows Implicit VR only the same values go in that', async () => {
    const there = await freePort()
    const received = join(folder, 'implicit')
    mkdirSync(received)
    const scp = spawn('storescp', ['+xi', '-od', received, '+B', String(there)], { stdio: 'ignore' })
    try {
      const uids = freshUids()
      const item = element('00081150', 'UI', '1.2.840.10008.1.1')
      const nested = Buffer.concat([Buffer.from([0xfe, 0xff, 0x00, 0xe0, item.length, 0, 0, 0]), item])
      const elements = { '00081140': element('00081140', 'SQ', nested), '00281052': element('00281052', 'DS', '-1024') }
      const bytes = instance({ ...uids, elements })
      const scu = storeScu(peer({ port: there, aeTitle: 'STORESCP' }))
      await until('storescp listens', async () =>
        (await scu.deliver(file(bytes, uids))).outcome === 'delivered' ? true : undefined,
      )
      await scu.close()
      const read = (path: Buffer) => {
        const outcome = readPart10Header(path, true)
        if (outcome.outcome !== 'header') throw new Error('not readable')
        return outcome.header
      }
      const got = read(readFileSync(join(received, readdirSync(received)[0]!)))
      expect(got.transferSyntax.uid).toBe('1.2.840.10008.1.2')
      expect(got.json).toEqual(read(bytes).json)
      expect(got.pixelData!.length).toBe(read(bytes).pixelData!.length)
    } finally {
      scp.kill()
    }
  })
  testDcmtk(
    'results are delivered to storescp by C-STORE, byte for byte; one that is away is tried again',
    async () => {
      const there = await freePort()
      const received = join(folder, 'received')
      mkdirSync(received)
      const fake = await startFakeProvider()
      await fake.behave({ findings: [{ label: 'nodule', box: [2, 3, 8, 9] }] })
      const sender = await startTestService({
        endpoints: `
destinations: [{ name: pacs, dimse: { aeTitle: STORESCP, host: 127.0.0.1, port: ${there} } }]
providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}' }]
routes: [{ name: r, analysis: { primary: remote }, results: [sr, sc], deliverTo: [pacs] }]
`,
      })
      const uids = freshUids()
      const { status } = await http(
        'POST',
        `${sender.url}/dicom-web/studies`,
        { 'Content-Type': 'application/dicom' },
        instance(uids),
      )
      expect(status).toBe(200)
      await until('it was tried', async () => {
        const rows = await sender.query(`select 1 from delivery where last_error = 'no answer (ECONNREFUSED)'`)
        return rows.length > 0 || undefined
      })
      const scp = spawn('storescp', ['-od', received, '+B', String(there)], { stdio: 'ignore' })
      try {
        const study = await followStudy(sender.url, uids.study, 40)
        expect(study.state).toBe('completed')
        const names = readdirSync(received)
        expect(names.length).toBe(study.results.length)
        const [row] = await sender.query<{ key: string }>(
          `select blob_key key from instance where origin = 'result' and sop_class_uid like '%.88.34'`,
        )
        const ours = dataSetOf(readFileSync(join(sender.dataDirectory, 'archive', row!.key)))
        const theirs = names.map(name => dataSetOf(readFileSync(join(received, name))))
        expect(theirs.some(bytes => bytes.equals(ours))).toBe(true)
      } finally {
        scp.kill()
        fake.stop()
        await sender.stop()
      }
    },
    180_000,
  )
})
