import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Remote } from '../../src/analysis/calling/remote.js'
import { startTestDatabase } from '../fixtures/database.js'

let base: Awaited<ReturnType<typeof startTestDatabase>>
const seen: string[] = []
const server = () =>
  createServer((req, res) => {
    seen.push(`${req.headers.host} ${req.url} ${req.headers.authorization}`)
    res.end('{}')
  })
const [own, other] = [server(), server()]
const addressOf = (of: typeof own) => `http://127.0.0.1:${(of.address() as AddressInfo).port}`

beforeAll(async () => {
  base = await startTestDatabase()
  for (const one of [own, other]) await new Promise<void>(resolve => one.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  for (const one of [own, other]) one.close()
  await base?.stop()
})

test('the key of a provider goes to its own address only', async () => {
  const remote = new Remote(
    {
      name: 'remote',
      baseUrl: `${addressOf(own)}/v1`,
      apiKey: 'its key',
      timeoutSeconds: 5,
      concurrency: 2,
      breaker: { failures: 5, openSeconds: 1 },
    },
    base,
  )
  const { signal } = new AbortController()
  expect((await remote.call({ method: 'GET', address: '/v1/later/7', signal })).status).toBe(200)
  for (const address of [`${addressOf(other)}/v1/later/7`, '//127.0.0.1:9/x', 'https://elsewhere.example/'])
    await expect(remote.call({ method: 'GET', address, signal })).rejects.toThrow(/not its own address/)
  expect(seen).toEqual([`${new URL(addressOf(own)).host} /v1/later/7 Bearer its key`])
  await remote.close()
})
