import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'
import { workitemChannel } from '../archive/index.js'
import type { Database } from '../platform/database.js'
import { errorContext, type Log } from '../platform/log.js'

const reconnectMilliseconds = 1000
const pingMilliseconds = 30_000
/** Bytes that wait for a subscriber who reads slowly. */
const maxBuffered = 1024 * 1024

export interface EventChannels {
  /** Takes a request for a WebSocket (PS3.18 11.12), if it is one of ours and allowed. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>
  close(): Promise<void>
}

/** Event channels of subscribers to workitems: what any node tells goes to those who are connected here. */
export function openEventChannels(
  { database, log }: { database: Database; log: Log },
  isAllowed: (req: IncomingMessage) => Promise<boolean>,
): EventChannels {
  const server = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 })
  const bySubscriber = new Map<string, Set<WebSocket>>()
  let listening: Promise<void> | undefined
  let closed = false
  const stop = new AbortController()

  const tell = ({ to, event }: { to: string; event: object }) => {
    for (const socket of bySubscriber.get(to) ?? []) {
      if (socket.bufferedAmount > maxBuffered)
        socket.terminate() // it does not read what it is told
      else socket.send(JSON.stringify(event))
    }
  }
  const listen = async () => {
    const client = await database.connect()
    try {
      const lost = new Promise<void>(resolve => {
        client.once('error', () => resolve())
        client.once('end', () => resolve())
        stop.signal.addEventListener('abort', () => resolve())
      })
      client.on('notification', ({ payload }) => tell(JSON.parse(payload!)))
      await client.query(`listen ${workitemChannel}`)
      if (!closed) await lost
    } finally {
      client.release(true)
    }
  }
  const keepListening = async () => {
    while (!closed) {
      await listen().catch(error => log.warn('events of workitems cannot be listened for', errorContext(error)))
      if (!closed) await sleep(reconnectMilliseconds)
    }
  }
  const pinging = setInterval(() => {
    for (const sockets of bySubscriber.values()) for (const socket of sockets) socket.ping()
  }, pingMilliseconds)
  pinging.unref()

  return {
    async upgrade(req, socket, head) {
      socket.on('error', () => {}) // whoever asked has gone
      const path = /^\/dicom-web\/subscribers\/([^/?]+)$/.exec((req.url ?? '').split('?')[0]!)
      const aeTitle = path && decoded(path[1]!)
      const refuse = (status: string) => socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`)
      if (!aeTitle) return void refuse('404 Not Found')
      if (!(await isAllowed(req).catch(() => false)))
        return void refuse('401 Unauthorized\r\nWWW-Authenticate: Bearer realm="radbridge"')
      listening ??= keepListening()
      server.handleUpgrade(req, socket, head, opened => {
        const sockets = bySubscriber.get(aeTitle) ?? new Set()
        bySubscriber.set(aeTitle, sockets.add(opened))
        opened.on('error', () => {})
        opened.once('close', () => {
          sockets.delete(opened)
          if (sockets.size === 0) bySubscriber.delete(aeTitle)
        })
      })
    },
    async close() {
      closed = true
      clearInterval(pinging)
      for (const sockets of bySubscriber.values()) for (const socket of sockets) socket.terminate()
      stop.abort()
      await listening
      server.close()
    },
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
