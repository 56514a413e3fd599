import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from '@jest/globals'
import { DicomwebReader } from '../../src/delivery/index.js'

let server: Server | undefined
afterEach(() => void server?.close())

/** A QIDO-RS server with so many instances, which may not know `limit` and `offset`. */
async function reader(count: number, pages: boolean): Promise<{ reader: DicomwebReader; requests: string[] }> {
  const requests: string[] = []
  server = createServer((req, res) => {
    requests.push(req.url!)
    const { searchParams } = new URL(req.url!, 'http://x')
    const all = Array.from({ length: count }, (_, i) => ({ '00080018': { vr: 'UI', Value: [`1.2.${i}`] } }))
    const offset = Number(searchParams.get('offset'))
    const page = pages ? all.slice(offset, offset + Number(searchParams.get('limit'))) : all
    if (page.length === 0) return void res.writeHead(204).end()
    res.writeHead(200, { 'Content-Type': 'application/dicom+json' }).end(JSON.stringify(page))
  })
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { reader: new DicomwebReader({ url, timeoutSeconds: 5, http2: false, confirm: false }), requests }
}

test.each([
  [2500, true, 3],
  [1000, true, 2],
  [2500, false, 2],
  [0, true, 1],
])('all of %s instances are found, by a server that knows pages: %s', async (count, pages, expected) => {
  const { reader: client, requests } = await reader(count, pages)
  expect(await client.searchInstances('1.2.3')).toHaveLength(count)
  expect(requests).toHaveLength(expected)
  await client.close()
})

test('an answer that is no list, or a refusal, is told in words', async () => {
  server = createServer((req, res) => void res.writeHead(req.url!.startsWith('/studies?') ? 200 : 403).end('{}'))
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = new DicomwebReader({ url, timeoutSeconds: 5, http2: false, confirm: false })
  await expect(client.searchStudies({ PatientID: 'SECRET' })).rejects.toThrow(
    'the answer to a QIDO-RS search is no list',
  )
  const refused = client.searchInstances('1.2.3')
  await expect(refused).rejects.toThrow('a QIDO-RS search was answered with 403')
  await client.close()
})
