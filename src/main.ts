import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { schedule } from 'node-cron'
import { anyAccount } from './admin/access/accounts.js'
import { Guard } from './admin/access/guard.js'
import { adminToken } from './admin/adminToken.js'
import type { AdminContext } from './admin/operations/common.js'
import { viewerFolder } from './admin/viewer.js'
import { listenForAssociations } from './main/dimseServer.js'
import { listenForHttp } from './main/httpServer.js'
import { openBlobStore } from './main/openBlobStore.js'
import { openOrStartDatabase } from './main/openOrStartDatabase.js'
import { pipelineContext } from './main/pipelineContext.js'
import type { Undo } from './main/undo.js'
import { notificationTasks } from './notifications/tasks.js'
import { type PipelineContext, pipelineTasks, rearmSettling } from './pipeline/index.js'
import { Audit } from './platform/audit.js'
import { syslogSink } from './platform/auditSyslog.js'
import { Configuration } from './platform/configuration.js'
import { type Database, migrate } from './platform/database.js'
import { lockDataFolder } from './platform/dataFolderLock.js'
import type { Endpoints } from './platform/endpoints.js'
import { addDueJob, type JobName, migrateJobs, startJobs } from './platform/jobs.js'
import { errorContext, type Log } from './platform/log.js'
import { type NodeLiveness, startNodeLiveness } from './platform/nodeLiveness.js'
import { packageVersion } from './platform/packageVersion.js'
import { readEndpointsFile } from './platform/readEndpoints.js'
import { type Settings, SettingsError } from './platform/settings.js'

export interface Service {
  /** The administrator's token, at the first start only: it is shown once and kept as a digest. */
  generatedAdminToken?: string
  /** `http://host:port` */
  url: string
  /** Takes no more requests, finishes those in hand and the jobs that are running, then stops everything it started. */
  stop(): Promise<void>
}

/** The composition root: settings and endpoints become parts, and the parts a running service. Nothing is wired anywhere else. */
export async function startService(settings: Settings, log: Log): Promise<Service> {
  readEndpointsFile(settings.endpointsFile) // what is wrong in it is told before anything starts
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
    // Its libraries are many: for those who trace.
    const { url, ratio } = settings.tracing
    const stopTracing = url
      ? (await import('./main/startTracing.js')).startTracing({ url, ratio }, database)
      : undefined
    if (stopTracing) undo.push(stopTracing)
    const blobs = await openBlobStore(settings, undo)
    const audit = startAudit(settings, database, log, undo)
    const configuration = await Configuration.open(database, settings.endpointsFile, log)
    const canSignIn = settings.auth.oidc !== undefined || (await anyAccount(database))
    configuration.follow(endpoints => refuseOpenAccess(settings, endpoints, canSignIn))
    const liveness = await startNodeLiveness(database, log)
    undo.push(() => liveness.stop())

    const parts = { database, blobs, configuration, audit, node: liveness.nodeId, log }
    const context = await pipelineContext(settings, parts, undo)
    if (liveness.alone) await startQuietPeriodsAnew(context)
    if (settings.roles.includes('work')) await startWork(context, liveness, undo)
    const { generated, ...admin } = await adminToken(database, settings.auth.adminToken)
    const { http } = settings
    const guard = new Guard({
      database,
      admin,
      audit,
      loopback: isLoopback(http.host),
      anonymous: settings.auth.anonymous,
      oidc: settings.auth.oidc !== undefined,
      corsOrigins: http.corsOrigins,
    })
    configuration.follow(endpoints => guard.use(endpoints))
    const adminContext: AdminContext = withAll(context, {
      configuration,
      guard,
      oidc: settings.auth.oidc && new (await import('./admin/access/oidc.js')).Oidc(settings.auth.oidc, database),
      sessionHours: settings.auth.sessionHours,
      publicUrl: http.publicUrl,
      dimsePort: settings.dimse.port,
      secure: http.tls !== undefined || http.publicUrl?.startsWith('https:') === true,
      viewer: viewerFolder(settings.viewer.directory),
    })
    const radbridge = { name: 'radbridge' }
    await audit.record({ event: 'application-start', actor: radbridge, detail: { version: packageVersion } })
    // From here on it says that it is ready: what may fail while the database is away stands above.
    const server = await listenForHttp(settings, adminContext, undo)
    const scp = settings.roles.includes('receive') ? await listenForAssociations(settings, context, undo) : undefined
    undo.push(configuration.watch())
    log.info('Radbridge is ready', {
      version: packageVersion,
      console: server.url,
      dicomweb: `${server.url}/dicom-web`,
      ...(scp ? { dimse: `${settings.dimse.aeTitle} on port ${scp.port}` } : {}),
      data: settings.dataDirectory,
      roles: settings.roles,
      configuration: configuration.version,
      routes: context.endpoints.routes.map(route => route.name),
    })
    return {
      url: server.url,
      ...(generated ? { generatedAdminToken: generated } : {}),
      async stop() {
        server.leave()
        await sleep(settings.http.drainSeconds * 1000)
        log.info('stopping: finishing the requests and jobs in hand')
        await Promise.all([server.drain(), scp?.stop()])
        audit.note({ event: 'application-stop', actor: radbridge })
        await stopAll()
        log.info('stopped')
      },
    }
  } catch (error) {
    await stopAll()
    throw error
  }
}

/** A context with more in it; what changes with the configuration goes on changing, unlike in a copy. */
function withAll<A extends object, B extends object>(context: A, more: B): A & B {
  return Object.defineProperties(more, Object.getOwnPropertyDescriptors(context)) as A & B
}

const isLoopback = (host: string) => ['127.0.0.1', '::1', 'localhost'].includes(host)

/** @throws SettingsError if others could reach patient data without showing who they are */
function refuseOpenAccess({ dimse, http, auth }: Settings, { sources }: Endpoints, canSignIn: boolean): void {
  if (dimse.port > 0 && dimse.host && !isLoopback(dimse.host) && sources.length === 0)
    throw new SettingsError(
      `dimse.host is ${dimse.host}, which others can reach, and anybody could push. Configure a source with an AE title (endpoints file), or listen on 127.0.0.1.`,
    )
  if (isLoopback(http.host) || auth.anonymous === true) return
  const missing = [
    ...(auth.adminToken || canSignIn ? [] : ['an administrator token (RADBRIDGE_ADMIN_TOKEN)']),
    ...(sources.length > 0 ? [] : ['a source with a token (endpoints file)']),
  ]
  if (missing.length === 0) return
  throw new SettingsError(
    `http.host is ${http.host}, which others can reach, and patient data would be open to them. ` +
      `Configure ${missing.join(' and ')}, or listen on 127.0.0.1.`,
  )
}

function startAudit({ audit: { syslog }, dimse }: Settings, database: Database, log: Log, undo: Undo): Audit {
  const audit = new Audit(database, log, syslog ? [syslogSink(syslog, dimse.aeTitle, log)] : [])
  undo.push(() => audit.close())
  return audit
}

/** Analyses of a provider take two workers at most: so many providers that do not answer leave the others of the pipeline theirs. */
const workersFor = (providers: number) => 8 + 2 * Math.max(4, providers)

async function startQuietPeriodsAnew({ database, quietSeconds, log }: PipelineContext): Promise<void> {
  const studies = await rearmSettling(database, quietSeconds)
  if (studies > 0) log.info('quiet periods start anew after the restart', { studies })
}

type Scheduled = Extract<JobName, 'purge' | 'scrub' | 'observe' | 'watchProviders' | 'watchJobs'>

async function startWork(context: PipelineContext, liveness: NodeLiveness, undo: Undo) {
  const { database, log } = context
  const tasks = { ...pipelineTasks(context), ...notificationTasks(context) }
  const workers = workersFor(context.endpoints.providers.length)
  undo.push(await startJobs(database, tasks, liveness, log, workers))
  // Every node ticks, and one of them has the work done.
  const tick = (when: string, job: Scheduled, once: 'minute' | 'day', isWanted = () => true) =>
    schedule(
      when,
      () => {
        if (isWanted()) void addDueJob(database, job, once).catch(() => {})
      },
      { suppressMissedWarning: true }, // a minute that was missed comes again
    )
  const ticks = [
    tick('17 3 * * *', 'purge', 'day'),
    tick('47 1 * * *', 'scrub', 'day'),
    tick('* * * * *', 'watchJobs', 'minute'),
    tick('* * * * *', 'observe', 'minute', () => context.endpoints.notifications.length > 0),
    tick('* * * * *', 'watchProviders', 'minute', () =>
      context.endpoints.providers.some(({ kind }) => kind !== 'reference'),
    ),
  ]
  undo.push(async () => void (await Promise.all(ticks.map(entry => entry.stop()))))
}
