import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import type { AuditEntry } from '../../src/platform/audit.js'
import { syslogSink } from '../../src/platform/auditSyslog.js'
import { silentLog } from '../../src/platform/log.js'
import { freePort } from '../fixtures/peers.js'
import { until } from '../fixtures/service.js'

const tls = (name: string) => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url))
const entry = (id: number): AuditEntry => ({
  id,
  at: '2026-11-25T12:00:00.000Z',
  event: 'login',
  outcome: 'failure',
  actor: 'Jürgen <admin> & "co"',
  data: { actor: { name: 'Jürgen <admin> & "co"', address: '10.0.0.1' } },
})

/** Takes messages apart by their octet counts (RFC 6587 3.4.1). */
function take(messages: string[]) {
  return (socket: Socket) => {
    let bytes = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', chunk => {
      bytes = Buffer.concat([bytes, chunk])
      for (;;) {
        const space = bytes.indexOf(' ')
        const length = Number(bytes.subarray(0, space).toString())
        if (space < 0 || bytes.length < space + 1 + length) return
        messages.push(bytes.subarray(space + 1, space + 1 + length).toString())
        bytes = bytes.subarray(space + 1 + length)
      }
    })
  }
}

test.each(['tcp', 'tls'] as const)(
  'over %s, counted; what came while the server was away is sent when it is there',
  async protocol => {
    const messages: string[] = []
    const port = await freePort()
    const sink = syslogSink(
      { url: `${protocol}://127.0.0.1:${port}`, ...(protocol === 'tls' ? { ca: tls('ca.pem') } : {}) },
      'RADBRIDGE',
      silentLog,
    )
    sink.send([entry(1), entry(2)])
    const server =
      protocol === 'tcp'
        ? createServer(take(messages))
        : createTlsServer(
            { key: readFileSync(tls('server.key')), cert: readFileSync(tls('server.pem')) },
            take(messages),
          )
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
    await until('what was waiting has come', async () => (messages.length >= 2 ? true : undefined))
    sink.send([entry(3)])
    await until('what is new has come', async () => (messages.length >= 3 ? true : undefined))
    expect(messages[0]).toMatch(/^<84>1 2026-11-25T12:00:00\.000Z \S+ radbridge \d+ DICOM\+RFC3881 - /)
    expect(messages[0]).toContain('UserID="Jürgen &lt;admin&gt; &amp; &quot;co&quot;"')
    sink.close()
    server.close()
  },
)
