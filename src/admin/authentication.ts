import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { NextFunction, Request, Response } from 'express'
import type { Source } from '../platform/endpoints.js'
import { resolveSecret } from '../platform/secret.js'
import { type AdminToken, tokenDigest } from './adminToken.js'

/** Who sends a request: a source by its token, or somebody who may as well; undefined: nobody who may. */
export type DicomwebAccess = (req: IncomingMessage) => { source?: string } | undefined

type Middleware = (req: Request, res: Response, next: NextFunction) => void

/**
 * Who may use DICOMweb: with sources configured, a sender with one of their tokens, and the administrator; otherwise everybody who
 * reaches the loopback address.
 */
export function dicomwebAccess(sources: readonly Source[], admin: AdminToken): DicomwebAccess {
  const tokens = sources.flatMap(({ name, stow }) =>
    stow ? [{ name, digest: tokenDigest(resolveSecret(stow.token)) }] : [],
  )
  const open = sources.length === 0 && !admin.required
  return req => {
    const given = bearer(req)
    const source = given && tokens.find(token => timingSafeEqual(token.digest, given))
    if (source) return { source: source.name }
    return open || (given && timingSafeEqual(admin.digest, given)) ? {} : undefined
  }
}

/** Lets those through who may use DICOMweb; the source's name is left in `res.locals.source`. */
export function requireDicomwebAccess(access: DicomwebAccess): Middleware {
  return (req, res, next) => {
    const sender = access(req)
    if (!sender) return challenge(req, res)
    if (sender.source) res.locals.source = sender.source
    next()
  }
}

/** The admin API: everybody on loopback until a token is configured, then its holder. */
export function adminAccess(admin: AdminToken): Middleware {
  return (req, res, next) => {
    const given = bearer(req)
    if (!admin.required || (given && timingSafeEqual(admin.digest, given))) return next()
    challenge(req, res)
  }
}

function bearer(req: IncomingMessage): Buffer | undefined {
  const match = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '')
  return match ? tokenDigest(match[1]!) : undefined
}

function challenge(req: Request, res: Response): void {
  const detail = 'send Authorization: Bearer with a token that is configured here'
  res
    .status(401)
    .set({ 'WWW-Authenticate': 'Bearer realm="radbridge"', Connection: 'close' })
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title: 'Unauthorized', status: 401, detail }))
  req.on('error', () => {})
  req.resume()
}
