import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls } from 'node:tls'
import type { AuditEntry, AuditSink } from './audit.js'
import { auditMessage } from './auditMessage.js'
import type { Log } from './log.js'

const maxWaiting = 10_000
const reconnectMilliseconds = 5000
/** Facility 10 (security), severity 5 (notice); 4 (warning) of a failure. */
const priority = (outcome: AuditEntry['outcome']) => 10 * 8 + (outcome === 'success' ? 5 : 4)

/**
 * Sends DICOM audit messages to a syslog server: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425). While the server is away a bounded number waits; the
 * table has them all.
 */
export function syslogSink(
  { url, ca }: { url: string; ca?: string | undefined },
  aeTitle: string,
  log: Log,
): AuditSink {
  const { protocol, hostname: host, port } = new URL(url)
  const lineOf = (entry: AuditEntry) =>
    `<${priority(entry.outcome)}>1 ${entry.at} ${hostname()} radbridge ${process.pid} DICOM+RFC3881 - \uFEFF<?xml version="1.0" encoding="UTF-8"?>${auditMessage(entry, aeTitle)}`
  if (protocol === 'udp:') {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.on('error', error => log.warn('audit messages cannot be sent', { error: error.message }))
    return {
      send(entries) {
        for (const entry of entries) socket.send(Buffer.from(lineOf(entry)), Number(port) || 514, host)
      },
      close: () => socket.close(),
    }
  }
  return streamSink(
    () =>
      protocol === 'tls:'
        ? connectTls({
            host,
            port: Number(port) || 6514,
            minVersion: 'TLSv1.2',
            ...(ca ? { ca: readFileSync(ca) } : {}),
          })
        : connect({ host, port: Number(port) || 514 }),
    protocol === 'tls:' ? 'secureConnect' : 'connect',
    lineOf,
    log,
  )
}

function streamSink(open: () => Socket, ready: string, lineOf: (entry: AuditEntry) => string, log: Log): AuditSink {
  let waiting: string[] = []
  let socket: Socket | undefined
  let isReady = false
  let closed = false
  let retry: NodeJS.Timeout | undefined
  const flush = () => {
    if (!socket || !isReady) return
    // Octet counting: the length of each message before it.
    for (const line of waiting.splice(0)) socket.write(`${Buffer.byteLength(line)} ${line}`)
  }
  const start = () => {
    retry = undefined
    try {
      socket = open()
    } catch (error) {
      log.error('audit messages cannot be sent', { error: (error as Error).message })
      return
    }
    socket.unref()
    socket.once(ready, () => {
      isReady = true
      flush()
    })
    socket.on('error', error => log.warn('the syslog server cannot be reached', { error: error.message }))
    socket.once('close', () => {
      isReady = false
      socket = undefined
      if (!closed) retry = setTimeout(start, reconnectMilliseconds).unref()
    })
  }
  start()
  return {
    send(entries) {
      waiting.push(...entries.map(lineOf))
      if (waiting.length > maxWaiting) {
        log.error('audit messages were not sent: the syslog server is away', { messages: waiting.length - maxWaiting })
        waiting = waiting.slice(-maxWaiting)
      }
      flush()
    },
    close() {
      closed = true
      clearTimeout(retry)
      socket?.end()
    },
  }
}
