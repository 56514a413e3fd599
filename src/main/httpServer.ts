import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import express, { type Express, type NextFunction, type Request, type Response } from 'express'
import { rateLimit } from 'express-rate-limit'
import { allowed, identify } from '../admin/access/guard.js'
import { consolePages } from '../admin/console.js'
import { requireDicomwebAccess } from '../admin/dicomwebAccess.js'
import { measured, metricsHandler } from '../admin/metrics.js'
import type { AdminContext } from '../admin/operations/common.js'
import { sendProblem } from '../admin/problem.js'
import { adminRouter } from '../admin/router.js'
import { securityHeaders } from '../admin/securityHeaders.js'
import { viewerPages } from '../admin/viewer.js'
import { WholeReader } from '../archive/index.js'
import { cors, dicomwebRouter, openEventChannels } from '../dicomweb/index.js'
import { isUnreachable } from '../platform/database.js'
import { errorContext } from '../platform/log.js'
import { readTls } from '../platform/secret.js'
import { type Settings, SettingsError } from '../platform/settings.js'
import { followTls } from './tlsFiles.js'
import type { Undo } from './undo.js'

/** Of one address: of the API, and of signing in. */
const requestsPerMinute = 12_000
const signInsPerMinute = 20

/** What is wrong with a body, by the words of its parser. */
const unreadable: Readonly<Record<string, string>> = {
  'entity.parse.failed': 'the body is no JSON',
  'entity.too.large': 'the body is too long',
  'charset.unsupported': 'the character set of the body is not UTF-8',
}

const failures: Readonly<Record<number, string>> = {
  500: 'the request failed on our side; the log says why',
  503: 'the database cannot be reached; try again in a moment',
}

export interface HttpServer {
  /** `http://host:port` */
  url: string
  /** Says by /readyz that it will stop, and goes on working. */
  leave(): void
  /** Takes no more requests, and finishes those in hand. */
  drain(): Promise<void>
}

/** Listens for HTTP: DICOMweb, the admin API, the console, metrics and health. */
export async function listenForHttp(settings: Settings, context: AdminContext, undo: Undo): Promise<HttpServer> {
  let [leaving, draining] = [false, false]
  const { guard } = context
  // Streams of events end only when somebody ends them.
  const streams = new Set<Response>()
  const phase = { leaving: () => leaving, draining: () => draining }
  const reader = new WholeReader()
  undo.push(() => reader.close())
  const app = application(settings, context, reader, phase, streams)
  const { server, scheme } = startServer(settings, app, context, undo)
  // A connection on which nothing moves in either direction is given up, also while an answer is being written.
  server.setTimeout(Math.max(30, settings.stow.idleSeconds * 2) * 1000)
  await listen(server, settings)
  const channels = openEventChannels(context, async req => {
    const caller = await guard.callerOf(req)
    return caller?.permissions.has('images:read') === true && guard.forgery(req, caller) === undefined
  })
  server.on('upgrade', (req, socket, head) => void channels.upgrade(req, socket, head))
  undo.push(() => closeServer(server))
  undo.push(() => channels.close())
  const { port } = server.address() as AddressInfo
  const host = settings.http.host.includes(':') ? `[${settings.http.host}]` : settings.http.host
  return {
    url: `${scheme}://${host}:${port}`,
    leave: () => {
      leaving = true
    },
    drain: async () => {
      draining = true
      for (const stream of streams) stream.end()
      await channels.close()
      await closeServer(server)
    },
  }
}

function application(
  settings: Settings,
  context: AdminContext,
  reader: WholeReader,
  { leaving, draining }: { leaving(): boolean; draining(): boolean },
  streams: Set<Response>,
): Express {
  const { ingest, guard, audit, log } = context
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('trust proxy', settings.http.proxies)
  app.use(measured)
  app.use((_req, res, next) => {
    if (leaving()) res.set('Connection', 'close') // the next request of this client goes to another node
    next()
  })
  app.get('/healthz', (_req, res) => void res.json({ status: 'alive' }))
  app.get('/readyz', async (_req, res) => {
    const problem = leaving() ? 'the service is stopping' : await ingest.unavailableBecause()
    res.status(problem ? 503 : 200).json(problem ? { status: 'not ready', reason: problem } : { status: 'ready' })
  })
  const isAdmin = settings.roles.includes('admin')
  // The viewer and the console show what DICOMweb gives.
  if (isAdmin || settings.roles.includes('receive'))
    app.use(
      '/dicom-web',
      cors(settings.http.corsOrigins),
      identify(guard),
      requireDicomwebAccess(guard, audit),
      // Parts of the context that change with the configuration are none that DICOMweb uses.
      dicomwebRouter({ ...context, reader, limits: settings.stow, draining }),
    )
  app.get(
    '/metrics',
    identify(guard),
    (req, res, next) => {
      if (allowed(guard, req, res, 'reports:read')) next()
    },
    metricsHandler(context),
  )
  if (isAdmin) serveAdministration(app, settings, context, streams)
  app.use((_req: Request, res: Response) => sendProblem(res, 404, 'there is no such resource'))
  app.use((error: Error & { status?: number; type?: string }, _req: Request, res: Response, _next: NextFunction) => {
    const status = error.status && error.status < 500 ? error.status : isUnreachable(error) ? 503 : 500
    if (status >= 500) log.error('a request failed', errorContext(error))
    if (status === 503) res.set('Retry-After', '5')
    const detail = failures[status] ?? unreadable[error.type ?? ''] ?? 'the request could not be read'
    if (res.headersSent) res.destroy()
    else sendProblem(res, status, detail)
  })
  return app
}

/** The REST API, the console and the viewer. */
function serveAdministration(app: Express, settings: Settings, context: AdminContext, streams: Set<Response>): void {
  const { guard, viewer } = context
  const tooMany = (_req: Request, res: Response) =>
    sendProblem(res, 429, 'too many requests from this address; try again in a minute')
  const limitTo = (limit: number) =>
    rateLimit({
      windowMs: 60_000,
      limit,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      handler: tooMany,
      validate: false,
    })
  if (viewer) app.use('/viewer', viewerPages(viewer, guard))
  app.use(securityHeaders(settings.http.tls !== undefined || settings.http.publicUrl?.startsWith('https:') === true))
  app.use('/api', (req, res, next) => {
    if (req.path.endsWith('/events')) {
      streams.add(res)
      res.once('close', () => streams.delete(res))
    }
    next()
  })
  app.post('/api/session', limitTo(signInsPerMinute))
  app.use('/api', limitTo(requestsPerMinute), identify(guard), adminRouter(context))
  app.use(consolePages())
}

function startServer(
  { http }: Settings,
  app: Express,
  { log }: AdminContext,
  undo: Undo,
): { server: Server | TlsServer; scheme: 'http' | 'https' } {
  const options = { requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 65_000, noDelay: true }
  const files = http.tls
  if (!files) return { server: createServer(options, app), scheme: 'http' }
  const server = createTlsServer(
    // A certificate is asked for where there is an authority to check it by; people and others sign in otherwise.
    {
      ...options,
      ...readTls(files),
      minVersion: 'TLSv1.2',
      requestCert: files.ca !== undefined,
      rejectUnauthorized: false,
    },
    app,
  )
  undo.push(followTls(files, tls => server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' }), log))
  return { server, scheme: 'https' }
}

function listen(server: Server | TlsServer, { http }: Settings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', error =>
      reject(
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
          ? new SettingsError(`port ${http.port} of ${http.host} is in use by another program; set RADBRIDGE_HTTP_PORT`)
          : error,
      ),
    )
    server.listen(http.port, http.host, resolve)
  })
}

/** Stops listening and waits for the requests in hand. */
async function closeServer(server: Server | TlsServer): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  server.closeIdleConnections()
  const idle = setInterval(() => server.closeIdleConnections(), 100)
  await closed
  clearInterval(idle)
}
