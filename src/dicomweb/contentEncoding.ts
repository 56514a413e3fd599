import type { IncomingMessage } from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import { MalformedMultipart } from './multipartSplitter.js'

const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate }

const encodingOf = (req: IncomingMessage) => (req.headers['content-encoding'] ?? 'identity').trim().toLowerCase()

/** Can a body of this Content-Encoding (RFC 9110 8.4) be read? */
export function isKnownEncoding(req: IncomingMessage): boolean {
  const encoding = encodingOf(req)
  return encoding === 'identity' || Object.hasOwn(decoders, encoding)
}

/**
 * The body without its Content-Encoding, no faster than it is read: how much may come out of it is the reader's to limit.
 * What cannot be expanded ends it with MalformedMultipart.
 */
export function decodedBody(req: IncomingMessage): Readable {
  const encoding = encodingOf(req)
  if (!Object.hasOwn(decoders, encoding)) return req
  const decoder = decoders[encoding as keyof typeof decoders]()
  const body = new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) })
  decoder.on('error', () => body.destroy(new MalformedMultipart(`the body is no ${encoding}, or was cut`)))
  req.once('close', () => {
    if (!req.complete) body.destroy(new Error('the sender hung up'))
  })
  body.once('close', () => {
    req.unpipe(decoder)
    decoder.destroy()
  })
  req.pipe(decoder).pipe(body)
  return body
}
