import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import express, { type NextFunction, type Request, type Response } from 'express'
import { schedule } from 'node-cron'
import { type AdminToken, adminToken } from './admin/adminToken.js'
import { adminAccess, dicomwebAccess, requireDicomwebAccess } from './admin/authentication.js'
import { measured, metricsHandler } from './admin/metrics.js'
import { adminRouter } from './admin/router.js'
import { startPreparation } from './analysis/calling/preparation.js'
import type { Provider } from './analysis/provider.js'
import { createHttpProvider } from './analysis/providers/createHttpProvider.js'
import { dicomProvider } from './analysis/providers/dicom/index.js'
import { referenceProvider } from './analysis/providers/reference/index.js'
import { BlobStore } from './archive/index.js'
import { createDeliverer, StowClient } from './delivery/index.js'
import { cors, dicomwebRouter, openEventChannels } from './dicomweb/index.js'
import { echo } from './dimse/echo.js'
import { peerOf } from './dimse/openAssociation.js'
import { type Scp, startScp } from './dimse/scp.js'
import { storeScu } from './dimse/storeScu.js'
import { Ingest } from './ingest/index.js'
import {
  associationServices,
  dicomTransport,
  expectedSource,
  type PipelineContext,
  pipelineTasks,
  rearmSettling,
} from './pipeline/index.js'
import { type NativeObject, nativeObject } from './pixels/nativeObject.js'
import { startPixelPool } from './pixels/pool.js'
import { type Database, migrate, openDatabase } from './platform/database.js'
import { lockDataFolder } from './platform/dataFolderLock.js'
import { startEmbeddedPostgres } from './platform/embeddedPostgres.js'
import type { Endpoints } from './platform/endpoints.js'
import { addJob, migrateJobs, startJobs } from './platform/jobs.js'
import { errorContext, type Log } from './platform/log.js'
import { startNodeLiveness } from './platform/nodeLiveness.js'
import { packageVersion } from './platform/packageVersion.js'
import type { DimsePeer, ProviderSettings } from './platform/providerSettings.js'
import { readTls } from './platform/secret.js'
import { type Settings, SettingsError } from './platform/settings.js'
import { startDrawing } from './results/drawing.js'

export interface Service {
  /** The administrator's token, at the first start only: it is shown once and kept as a digest. */
  generatedAdminToken?: string
  /** `http://host:port` */
  url: string
  /** Takes no more requests, finishes those in hand and the jobs that are running, then stops everything it started. */
  stop(): Promise<void>
}

/** How to stop what has been started; used from the last to the first. */
type Undo = (() => Promise<void> | void)[]

/** The composition root: settings and endpoints become parts, and the parts a running service. Nothing is wired anywhere else. */
export async function startService(settings: Settings, endpoints: Endpoints, log: Log): Promise<Service> {
  refuseOpenAccess(settings, endpoints)
  mkdirSync(settings.dataDirectory, { recursive: true, mode: 0o755 })
  const undo: Undo = []
  const stopAll = async () => {
    for (const step of undo.splice(0).reverse()) {
      try {
        await step()
      } catch (error) {
        log.error('stopping: a part did not stop cleanly', errorContext(error))
      }
    }
  }
  try {
    undo.push(lockDataFolder(settings.dataDirectory))
    const database = await openOrStartDatabase(settings, log, undo)
    await migrate(database, log)
    await migrateJobs(database, log)
    const blobs = await BlobStore.open(settings.storageDirectory)
    const liveness = await startNodeLiveness(database, log)
    undo.push(() => liveness.stop())

    const context = await pipelineContext(settings, endpoints, database, blobs, log, undo)
    if (liveness.alone) {
      const studies = await rearmSettling(database, settings.study.quietSeconds)
      if (studies > 0) log.info('quiet periods start anew after the restart', { studies })
    }
    // Analyses of a provider take two workers at most: so many providers that do not answer leave the others of the pipeline theirs.
    const workers = 8 + 2 * Math.max(1, endpoints.providers.length)
    const stopJobs = await startJobs(database, pipelineTasks(context), liveness, log, workers)
    undo.push(stopJobs)
    // Each tick is a job under a key: several nodes do its work once.
    const ticks = [
      schedule('17 3 * * *', () => void addJob(database, 'purge', {}, { key: 'purge' }).catch(() => {})),
      ...(endpoints.providers.some(provider => provider.kind !== 'reference')
        ? [
            schedule('* * * * *', () => {
              const once = { key: 'watchProviders', maxAttempts: 1 }
              void addJob(database, 'watchProviders', {}, once).catch(() => {})
            }),
          ]
        : []),
    ]
    undo.push(async () => void (await Promise.all(ticks.map(tick => tick.stop()))))

    const admin = await adminToken(database, settings.auth.adminToken)
    const { server, drain } = await listen(settings, context, admin, undo)
    const scp = await listenForAssociations(settings, context, undo)
    const { port } = server.address() as AddressInfo
    const host = settings.http.host.includes(':') ? `[${settings.http.host}]` : settings.http.host
    const url = `http://${host}:${port}`
    log.info('Radbridge is ready', {
      version: packageVersion,
      dicomweb: `${url}/dicom-web`,
      ...(scp ? { dimse: `${settings.dimse.aeTitle} on port ${scp.port}` } : {}),
      api: `${url}/api/studies`,
      data: settings.dataDirectory,
      routes: endpoints.routes.map(route => route.name),
    })
    return {
      url,
      ...(admin.generated ? { generatedAdminToken: admin.generated } : {}),
      async stop() {
        log.info('stopping: finishing the requests and jobs in hand')
        await Promise.all([drain(), scp?.stop()])
        await stopAll()
        log.info('stopped')
      },
    }
  } catch (error) {
    await stopAll()
    throw error
  }
}

const isLoopback = (host: string) => ['127.0.0.1', '::1', 'localhost'].includes(host)

function refuseOpenAccess(settings: Settings, endpoints: Endpoints): void {
  const { host: dimseHost, port: dimsePort } = settings.dimse
  if (dimsePort > 0 && dimseHost && !isLoopback(dimseHost) && endpoints.sources.length === 0)
    throw new SettingsError(
      `dimse.host is ${dimseHost}, which others can reach, and anybody could push. Configure a source with an AE title (endpoints file), or listen on 127.0.0.1.`,
    )
  if (isLoopback(settings.http.host)) return
  const missing = [
    ...(settings.auth.adminToken ? [] : ['an administrator token (RADBRIDGE_ADMIN_TOKEN)']),
    ...(endpoints.sources.length > 0 ? [] : ['a source with a token (endpoints file)']),
  ]
  if (missing.length === 0) return
  throw new SettingsError(
    `http.host is ${settings.http.host}, which others can reach, and patient data would be open to them. ` +
      `Configure ${missing.join(' and ')}, or listen on 127.0.0.1.`,
  )
}

async function openOrStartDatabase(settings: Settings, log: Log, undo: Undo): Promise<Database> {
  let connection: Parameters<typeof openDatabase>[0] | undefined = settings.database.url
  if (!connection) {
    const postgres = await startEmbeddedPostgres(settings.dataDirectory, log)
    undo.push(() => postgres.stop())
    connection = postgres.connection
  }
  const database = openDatabase(connection, log)
  undo.push(() => database.end())
  return database
}

async function pipelineContext(
  settings: Settings,
  endpoints: Endpoints,
  database: Database,
  blobs: BlobStore,
  log: Log,
  undo: Undo,
): Promise<PipelineContext> {
  const pixels = startPixelPool(settings.analysis.workers)
  undo.push(() => pixels.close())
  const drawing = startDrawing()
  undo.push(() => drawing.close())
  const reference = referenceProvider()
  undo.push(() => reference.close())
  const providers = new Map<string, Provider>([['reference', reference]])
  const pseudonymKey = await madeOnce(database, 'pseudonym key', randomBytes(32).toString('base64url'))
  const preparation = startPreparation(settings.analysis.workers)
  undo.push(() => preparation.close())
  const scratch = await scratchFolder(settings.dataDirectory)
  const decode = (path: string): Promise<NativeObject> => nativeObject(path, pixels, scratch)
  const scuOf = (peer: DimsePeer) => storeScu(peerOf(peer, settings.dimse.aeTitle), { decode })
  const clientOf = (entry: ProviderSettings): Provider => {
    if (entry.kind === 'reference') return reference
    if (entry.kind === 'dicom') {
      const client = entry.stow ? new StowClient(entry.stow) : scuOf(entry.dimse!)
      return dicomProvider({ ...entry, pseudonymKey }, dicomTransport(entry, client, { database, blobs }))
    }
    return createHttpProvider(entry, { database, ...preparation, pseudonymKey })
  }
  for (const entry of endpoints.providers) {
    const provider = clientOf(entry)
    providers.set(entry.name, provider)
    if (provider !== reference) undo.push(() => provider.close())
  }
  const deliverers = new Map(
    endpoints.destinations.map(destination => [
      destination.name,
      createDeliverer(destination, ({ dimse }) => scuOf(dimse)),
    ]),
  )
  undo.push(async () => void (await Promise.all([...deliverers.values()].map(deliverer => deliverer.close()))))
  return {
    database,
    blobs,
    pixels,
    draw: drawing.draw,
    echo: peer => echo({ ...peerOf(peer, settings.dimse.aeTitle), timeoutSeconds: 10 }),
    ingest: new Ingest({
      database,
      blobs,
      log,
      // Where archives are asked whether a study is whole, settling is looked at sooner.
      quietSeconds:
        endpoints.completeness.ask.length + endpoints.completeness.required.length > 0
          ? Math.min(settings.study.quietSeconds, endpoints.completeness.afterSeconds)
          : settings.study.quietSeconds,
      duplicatePolicy: settings.study.duplicatePolicy,
      maxInstanceBytes: settings.stow.maxInstanceBytes,
      minimumFreeBytes: settings.storage.minimumFreeBytes,
      rules: new Map(endpoints.sources.flatMap(({ name, accept }) => (accept ? [[name, accept]] : []))),
      answeringSources: new Set(
        endpoints.providers.flatMap(entry => (entry.kind === 'dicom' ? [entry.answersFrom] : [])),
      ),
    }),
    endpoints,
    providers,
    deliverers,
    decode,
    scratch,
    aeTitle: settings.dimse.aeTitle,
    quietSeconds: settings.study.quietSeconds,
    deviceSerialNumber: await madeOnce(database, 'installation', randomUUID().slice(0, 8)),
    softwareVersion: packageVersion,
    pseudonymKey,
    log,
  }
}

/** For files that are made for one transfer. Nothing in it outlives the process. */
async function scratchFolder(dataDirectory: string): Promise<string> {
  const folder = join(dataDirectory, 'scratch')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

/** A value of this installation: made once for each database, and from then on the same. */
async function madeOnce(database: Database, name: string, value: string): Promise<string> {
  await database.query('insert into setting (name, value) values ($1, $2) on conflict do nothing', [name, value])
  const { rows } = await database.query<{ value: string }>('select value from setting where name = $1', [name])
  return rows[0]!.value
}

async function listen(settings: Settings, context: PipelineContext, admin: AdminToken, undo: Undo) {
  let draining = false
  const { ingest, endpoints, log } = context
  const access = dicomwebAccess(endpoints.sources, admin)
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use(measured)
  app.get('/healthz', (_req, res) => void res.json({ status: 'alive' }))
  app.get('/readyz', async (_req, res) => {
    const problem = draining ? 'the service is stopping' : await ingest.unavailableBecause()
    res.status(problem ? 503 : 200).json(problem ? { status: 'not ready', reason: problem } : { status: 'ready' })
  })
  app.use(
    '/dicom-web',
    cors(settings.http.corsOrigins),
    requireDicomwebAccess(access),
    dicomwebRouter({ ...context, limits: settings.stow, draining: () => draining }),
  )
  app.get('/metrics', adminAccess(admin), metricsHandler(context))
  app.use('/api', adminAccess(admin), adminRouter(context))
  app.use((_req: Request, res: Response) => void answerProblem(res, 404, 'Not Found', 'there is no such resource'))
  app.use((error: Error & { status?: number }, _req: Request, res: Response, _next: NextFunction) => {
    const status = error.status && error.status < 500 ? error.status : 500
    if (status === 500) log.error('a request failed', errorContext(error))
    const detail = status === 500 ? 'the request failed on our side; the log says why' : 'the request could not be read'
    if (res.headersSent) res.destroy()
    else answerProblem(res, status, status === 500 ? 'Internal Server Error' : 'Bad Request', detail)
  })

  const server = createServer(
    { requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 65_000, noDelay: true },
    app,
  )
  // A connection on which nothing moves in either direction is given up, also while an answer is being written.
  server.setTimeout(Math.max(30, settings.stow.idleSeconds * 2) * 1000)
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
          ? new SettingsError(
              `port ${settings.http.port} of ${settings.http.host} is in use by another program; set RADBRIDGE_HTTP_PORT`,
            )
          : error,
      ),
    )
    server.listen(settings.http.port, settings.http.host, resolve)
  })
  const channels = openEventChannels(context, req => access(req) !== undefined)
  server.on('upgrade', (req, socket, head) => channels.upgrade(req, socket, head))
  undo.push(() => closeServer(server))
  undo.push(() => channels.close())
  return {
    server,
    drain: async () => {
      draining = true
      await channels.close()
      await closeServer(server)
    },
  }
}

/** C-STORE and C-ECHO, unless they are turned off. */
async function listenForAssociations(
  settings: Settings,
  context: PipelineContext,
  undo: Undo,
): Promise<Scp | undefined> {
  const { endpoints, ingest, database, log } = context
  const { port, aeTitle, maxAssociations, idleSeconds } = settings.dimse
  if (port === 0) return undefined
  const tls = settings.dimse.tls ? readTls(settings.dimse.tls) : undefined
  const host = settings.dimse.host ?? settings.http.host
  const peers = endpoints.sources.flatMap(({ name, dimse, accept }) =>
    dimse ? [{ name, ...dimse, rules: accept }] : [],
  )
  // With sources of which none is one of DIMSE nobody may associate.
  const allowed = endpoints.sources.length > 0 ? peers : undefined
  try {
    const scp = await startScp({
      host,
      port,
      aeTitle,
      peers: allowed,
      maxAssociations,
      idleSeconds,
      tls,
      ingest,
      log,
      operations: associationServices(context),
      movedFor: study => expectedSource(database, study),
    })
    undo.push(() => scp.stop())
    return scp
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new SettingsError(
      `port ${port} of ${host} is in use by another program; set RADBRIDGE_DIMSE_PORT, 0 to do without C-STORE`,
    )
  }
}

/** Stops listening and waits for the requests in hand. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  server.closeIdleConnections()
  const idle = setInterval(() => server.closeIdleConnections(), 100)
  await closed
  clearInterval(idle)
}

function answerProblem(res: Response, status: number, title: string, detail: string): void {
  res
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title, status, detail }))
}
