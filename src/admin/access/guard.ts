import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { NextFunction, Request, Response } from 'express'
import type { Audit } from '../../platform/audit.js'
import type { Database } from '../../platform/database.js'
import type { Endpoints, Source } from '../../platform/endpoints.js'
import { resolveSecret } from '../../platform/secret.js'
import { type AdminToken, tokenDigest } from '../adminToken.js'
import { sendProblem } from '../problem.js'
import { anyAccount } from './accounts.js'
import { allPermissions, type Permission, roles } from './permissions.js'
import { apiTokenPrefix, findApiToken, findSession, type Session } from './sessions.js'

/** Who a request comes from, and what they may do. */
export interface Caller {
  name: string
  kind: 'anonymous' | 'admin-token' | 'api-token' | 'session' | 'source'
  role?: string
  permissions: ReadonlySet<Permission>
  address: string | undefined
  /** The source that instances count for. */
  source?: string
  session?: Session
}

export interface GuardOptions {
  database: Database
  admin: AdminToken
  audit: Audit
  /** The service listens on loopback only. */
  loopback: boolean
  /** `auth.anonymous`: whether who shows nothing may do everything; undefined: on loopback, until there is an account or a way to sign in. */
  anonymous: boolean | undefined
  /** Somebody can sign in by OpenID Connect. */
  oidc: boolean
  /** Origins of web pages that may use DICOMweb. */
  corsOrigins: readonly string[]
}

/** What the holder of the administrator token is called. */
export const administratorToken = 'administrator token'
export const sessionCookie = 'radbridge_session'
const csrfHeader = 'x-csrf-token'

const everything: ReadonlySet<Permission> = new Set(allPermissions)
const ofSource: ReadonlySet<Permission> = new Set<Permission>(['images:read', 'instances:write'])
const safeMethods = ['GET', 'HEAD', 'OPTIONS']
const rememberedMilliseconds = 2000
/** What proxies add to a request. */
const forwarding = ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'via', 'x-real-ip']

/** How a source is known by HTTP: its bearer token, its name and password, or its certificate. */
interface Known {
  name: string
  bearer?: Buffer
  basic?: Buffer
  certificate?: string
}

/** Finds out who a request comes from. */
export class Guard {
  private sources: Known[] = []
  private hasSources = false
  private accounts = { any: false, at: Number.NEGATIVE_INFINITY }

  constructor(private readonly options: GuardOptions) {}

  /** Takes the sources of a configuration. @throws Error naming a secret that cannot be read */
  use({ sources }: Endpoints): void {
    this.sources = sources.flatMap(source => (source.stow ? [knownBy(source.name, source.stow)] : []))
    this.hasSources = sources.length > 0
  }

  /** Whether who shows nothing may do everything. */
  async isOpen(): Promise<boolean> {
    const { anonymous, loopback, admin, oidc } = this.options
    if (anonymous !== undefined) return anonymous
    return loopback && !admin.required && !oidc && !(await this.hasAccounts())
  }

  /** Forgets what it believes of accounts: one was made or taken away. */
  accountsChanged(): void {
    this.accounts.at = 0
  }

  /** @returns undefined: somebody who may do nothing. */
  async callerOf(req: IncomingMessage): Promise<Caller | undefined> {
    // Behind a proxy that is believed, the address it tells.
    const address = (req as Partial<Request>).ip ?? req.socket.remoteAddress
    const authorization = req.headers.authorization
    if (authorization) return this.byAuthorization(authorization, address)
    const source = this.byCertificate(req)
    if (source) return { name: source.name, kind: 'source', permissions: ofSource, address, source: source.name }
    const cookie = readCookie(req, sessionCookie)
    if (cookie) {
      const session = await findSession(this.options.database, cookie)
      if (session)
        return {
          name: session.name,
          kind: 'session',
          role: session.role,
          permissions: new Set(roles[session.role]),
          address,
          session,
        }
    }
    if (!(await this.isOpen()) || !this.namesThisMachine(req)) return undefined
    const permissions = this.hasSources ? without(everything, ofSource) : everything
    return { name: 'anonymous', kind: 'anonymous', role: 'administrator', permissions, address }
  }

  /**
   * What is wrong with a request that a browser sends of itself, by its cookie or for being on this machine, if it changes something: a page of somebody else may
   * have made it do so.
   */
  forgery(req: IncomingMessage, caller: Caller): string | undefined {
    if (safeMethods.includes(req.method ?? 'GET') && req.headers.upgrade === undefined) return undefined
    if (caller.kind !== 'session' && caller.kind !== 'anonymous') return undefined
    const { origin } = req.headers
    const allowedOrigin = origin !== undefined && this.options.corsOrigins.some(o => o === '*' || o === origin)
    if (origin !== undefined && hostOf(origin) !== req.headers.host && !(allowedOrigin && caller.kind === 'anonymous'))
      return 'the request comes from a page of another origin'
    const site = req.headers['sec-fetch-site']
    if (origin === undefined && site !== undefined && site !== 'same-origin' && site !== 'none')
      return 'the request comes from a page of another site'
    if (caller.session && req.headers.upgrade === undefined && req.headers[csrfHeader] !== caller.session.csrf)
      return `send ${csrfHeader}, as GET /api/session tells it`
    return undefined
  }

  isAdminToken(token: string): boolean {
    return timingSafeEqual(this.options.admin.digest, tokenDigest(token))
  }

  /** Notes a refusal in the audit trail. */
  refused(req: IncomingMessage, caller: Caller | undefined, detail: Record<string, unknown>): void {
    this.options.audit.note({
      event: 'access-refused',
      outcome: 'failure',
      actor: {
        name: caller?.name ?? 'unknown',
        role: caller?.role,
        address: caller?.address ?? (req as Partial<Request>).ip ?? req.socket.remoteAddress,
      },
      detail: { method: req.method, ...detail },
    })
  }

  private async byAuthorization(text: string, address: string | undefined): Promise<Caller | undefined> {
    const { database } = this.options
    const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(text) ?? []
    const given = tokenDigest(value)
    const kind = scheme.toLowerCase() as 'bearer' | 'basic'
    if (kind !== 'bearer' && kind !== 'basic') return undefined
    const source = this.sources.find(known => known[kind] && timingSafeEqual(known[kind], given))
    if (source) return { name: source.name, kind: 'source', permissions: ofSource, address, source: source.name }
    if (kind === 'basic') return undefined
    if (this.isAdminToken(value))
      return {
        name: administratorToken,
        kind: 'admin-token',
        role: 'administrator',
        permissions: everything,
        address,
      }
    if (!value.startsWith(apiTokenPrefix)) return undefined
    const token = await findApiToken(database, value)
    return token && { name: token.name, kind: 'api-token', permissions: new Set(token.scopes), address }
  }

  /** A certificate that TLS has found to be of our authority. */
  private byCertificate(req: IncomingMessage): Known | undefined {
    const socket = req.socket as Partial<TLSSocket>
    if (!socket.authorized || !this.sources.some(known => known.certificate)) return undefined
    const { subject, fingerprint256 } = socket.getPeerCertificate?.() ?? {}
    return this.sources.find(
      ({ certificate }) => certificate && (certificate === subject?.CN || certificate === fingerprint256),
    )
  }

  private async hasAccounts(): Promise<boolean> {
    if (this.accounts.any) return true // the last administrator is not deleted
    if (performance.now() - this.accounts.at > rememberedMilliseconds)
      this.accounts = { any: await anyAccount(this.options.database), at: performance.now() }
    return this.accounts.any
  }

  /** A page of somebody else can have its name lead to this machine, but then the browser says that name; and what a proxy passes on comes from elsewhere. */
  private namesThisMachine(req: IncomingMessage): boolean {
    if (!this.options.loopback || this.options.anonymous === true) return true
    if (forwarding.some(header => req.headers[header] !== undefined)) return false
    const name = (req.headers.host ?? 'localhost').replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
    return name === 'localhost' || name === '::1' || /^127(\.\d+){3}$/.test(name)
  }
}

function knownBy(name: string, stow: NonNullable<Source['stow']>): Known {
  const { token, username, password, certificate } = stow
  return {
    name,
    ...(token ? { bearer: tokenDigest(resolveSecret(token)) } : {}),
    ...(username && password
      ? { basic: tokenDigest(Buffer.from(`${username}:${resolveSecret(password)}`).toString('base64')) }
      : {}),
    ...(certificate ? { certificate } : {}),
  }
}

function without<T>(all: ReadonlySet<T>, some: ReadonlySet<T>): ReadonlySet<T> {
  return new Set([...all].filter(entry => !some.has(entry)))
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host
  } catch {
    return undefined
  }
}

export function readCookie(req: IncomingMessage, name: string): string | undefined {
  for (const pair of (req.headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Leaves who sends a request in `res.locals.caller`; undefined: nobody who is known. */
export function identify(guard: Guard) {
  return async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    try {
      res.locals.caller = await guard.callerOf(req)
    } catch {
      return unavailable(req, res)
    }
    next()
  }
}

/** While the database is away nobody can be told from anybody else. A sender keeps what it has, and comes again. */
function unavailable(req: Request, res: Response): void {
  res.set({ 'Retry-After': '10', Connection: 'close' })
  sendProblem(res, 503, 'the database cannot be reached; try again later')
  req.on('error', () => {})
  req.resume()
}

/** What a request needs; answers the one that does not have it. @returns whether it may go on */
export function allowed(guard: Guard, req: Request, res: Response, permission: Permission): boolean {
  const caller = res.locals.caller as Caller | undefined
  if (!caller) {
    if (req.headers.authorization) guard.refused(req, caller, { permission, reason: 'unknown credentials' })
    challenge(req, res)
    return false
  }
  const forged = guard.forgery(req, caller)
  if (!forged && caller.permissions.has(permission)) return true
  guard.refused(req, caller, { permission, ...(forged ? { reason: forged } : {}) })
  if (!forged && caller.kind === 'anonymous') {
    challenge(req, res)
    return false
  }
  sendProblem(res, 403, forged ?? `this needs the permission ${permission}`)
  req.resume()
  return false
}

function challenge(req: Request, res: Response): void {
  // A browser would ask for a password by itself, where the console does.
  if (req.headers['sec-fetch-mode'] === undefined) res.set('WWW-Authenticate', 'Bearer realm="radbridge"')
  res.set('Connection', 'close')
  sendProblem(res, 401, 'sign in, or send Authorization: Bearer with a token that is configured here')
  req.on('error', () => {})
  req.resume()
}
