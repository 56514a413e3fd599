import { createHash, timingSafeEqual } from 'node:crypto'
import type { NextFunction, Request, Response } from 'express'
import type { Source } from '../platform/endpoints.js'
import { resolveSecret } from '../platform/secret.js'

type Middleware = (req: Request, res: Response, next: NextFunction) => void

/**
 * Who may use DICOMweb: with sources configured, a sender with one of their tokens, and the administrator; otherwise everybody who
 * reaches the loopback address. The source's name is left in `res.locals.source`.
 */
export function dicomwebAccess(sources: readonly Source[], adminToken: string | undefined): Middleware {
  const tokens = sources.map(source => ({ name: source.name, digest: digest(resolveSecret(source.stow.token)) }))
  const admin = adminToken === undefined ? undefined : digest(adminToken)
  return (req, res, next) => {
    const given = bearer(req)
    const source = given && tokens.find(token => timingSafeEqual(token.digest, given))
    if (source) res.locals.source = source.name
    if (source || (tokens.length === 0 && !admin) || (admin && given && timingSafeEqual(admin, given))) return next()
    challenge(req, res)
  }
}

/** The admin API: everybody on loopback until a token is configured, then its holder. */
export function adminAccess(adminToken: string | undefined): Middleware {
  const admin = adminToken === undefined ? undefined : digest(adminToken)
  return (req, res, next) => {
    const given = bearer(req)
    if (!admin || (given && timingSafeEqual(admin, given))) return next()
    challenge(req, res)
  }
}

function bearer(req: Request): Buffer | undefined {
  const match = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '')
  return match ? digest(match[1]!) : undefined
}

/** Compared by digest, so that the time it takes tells nothing of the token. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
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
