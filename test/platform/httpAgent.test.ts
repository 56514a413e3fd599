import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import { request } from 'undici'
import { httpAgent } from '../../src/platform/httpAgent.js'

/** Sends an answer and closes the connection behind it, as servers without keep-alive do. */
async function closingServer(length: number, sent = length) {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`)
      socket.end(Buffer.alloc(sent, 7))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() }
}

test.each([64 * 1024, 200 * 1024, 3 * 1024 * 1024])(
  'an answer of %i bytes comes whole, though the server closes the connection before it is read',
  async length => {
    const server = await closingServer(length)
    const agent = httpAgent()
    const { body } = await request(server.url, { dispatcher: agent })
    await sleep(300) // the end of the connection has been seen by now: undici 7 by itself ends the process here
    let read = 0
    for await (const chunk of body) {
      read += (chunk as Buffer).length
      if (read % 3 === 0) await sleep(5)
    }
    expect(read).toBe(length)
    await agent.close()
    server.close()
  },
)

test('an answer that is cut short is an error', async () => {
  const server = await closingServer(300_000, 200_000)
  const agent = httpAgent()
  const { body } = await request(server.url, { dispatcher: agent })
  await sleep(200)
  await expect(body.arrayBuffer()).rejects.toThrow()
  await agent.close()
  server.close()
})
