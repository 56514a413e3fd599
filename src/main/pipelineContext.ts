import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startPreparation } from '../analysis/calling/preparation.js'
import type { Provider } from '../analysis/provider.js'
import { createHttpProvider } from '../analysis/providers/createHttpProvider.js'
import { dicomProvider } from '../analysis/providers/dicom/index.js'
import { referenceProvider } from '../analysis/providers/reference/index.js'
import type { BlobStore } from '../archive/index.js'
import { createDeliverer, StowClient } from '../delivery/index.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { echo } from '../dimse/echo.js'
import { peerOf } from '../dimse/openAssociation.js'
import { storeScu } from '../dimse/storeScu.js'
import { Ingest, type IngestOptions } from '../ingest/index.js'
import { Notifier } from '../notifications/send.js'
import { dicomTransport, type PipelineContext } from '../pipeline/index.js'
import { startPixelPool } from '../pixels/pool.js'
import { type TranscodedObject, transcode } from '../pixels/transcode.js'
import type { Audit } from '../platform/audit.js'
import type { Configuration } from '../platform/configuration.js'
import type { Database } from '../platform/database.js'
import type { Log } from '../platform/log.js'
import { packageVersion } from '../platform/packageVersion.js'
import type { DimsePeer, ProviderSettings } from '../platform/providerSettings.js'
import type { Settings } from '../platform/settings.js'
import { startDrawing } from '../results/drawing.js'
import { EndpointClients } from './endpointClients.js'
import type { Undo } from './undo.js'

interface Parts {
  database: Database
  blobs: BlobStore
  configuration: Configuration
  audit: Audit
  /** Number of this node. */
  node: number
  log: Log
}

/** What the pipeline works with: pools, clients of the configured endpoints, and the way in. */
export async function pipelineContext(settings: Settings, parts: Parts, undo: Undo): Promise<PipelineContext> {
  const { database, blobs, configuration, audit, log } = parts
  const pixels = startPixelPool(settings.analysis.workers)
  undo.push(() => pixels.close())
  const drawing = startDrawing()
  undo.push(() => drawing.close())
  const pseudonymKey = await madeOnce(database, 'pseudonym key', randomBytes(32).toString('base64url'))
  const scratch = await scratchFolder(settings.dataDirectory)
  const into = (path: string, transferSyntaxUid: string) => transcode(path, transferSyntaxUid, pixels, scratch)
  const decode = (path: string) => into(path, explicitVrLittleEndian)
  const clients = endpointClients(settings, parts, pseudonymKey, decode, undo)
  configuration.follow(endpoints => clients.use(endpoints))
  return {
    database,
    blobs,
    pixels,
    draw: drawing.draw,
    echo: peer => echo({ ...peerOf(peer, settings.dimse.aeTitle), timeoutSeconds: 10 }),
    ingest: startIngest(settings, parts),
    get endpoints() {
      return configuration.endpoints
    },
    providers: clients.providers,
    deliverers: clients.deliverers,
    transcode: into,
    scratch,
    aeTitle: settings.dimse.aeTitle,
    quietSeconds: settings.study.quietSeconds,
    deviceSerialNumber: await madeOnce(database, 'installation', randomUUID().slice(0, 8)),
    softwareVersion: packageVersion,
    pseudonymKey,
    audit,
    notifier: startNotifier(settings, database, undo),
    minimumFreeBytes: settings.storage.minimumFreeBytes,
    log,
  }
}

function startNotifier({ mail, http }: Settings, database: Database, undo: Undo): Notifier {
  const notifier = new Notifier({ database, mail, publicUrl: http.publicUrl })
  undo.push(() => notifier.close())
  return notifier
}

function endpointClients(
  settings: Settings,
  { database, blobs, node }: Parts,
  pseudonymKey: string,
  decode: (path: string) => Promise<TranscodedObject>,
  undo: Undo,
): EndpointClients {
  const reference = referenceProvider()
  undo.push(() => reference.close())
  const preparation = startPreparation(settings.analysis.workers)
  undo.push(() => preparation.close())
  const scuOf = (peer: DimsePeer) => storeScu(peerOf(peer, settings.dimse.aeTitle), { decode })
  const provider = (entry: ProviderSettings): Provider => {
    if (entry.kind === 'reference') return reference
    if (entry.kind === 'dicom') {
      const client = entry.stow ? new StowClient(entry.stow) : scuOf(entry.dimse!)
      return dicomProvider({ ...entry, pseudonymKey }, dicomTransport(entry, client, { database, blobs }))
    }
    return createHttpProvider(entry, { database, node, ...preparation, pseudonymKey })
  }
  const clients = new EndpointClients({
    embedded: reference,
    provider,
    deliverer: destination => createDeliverer(destination, ({ dimse }) => scuOf(dimse)),
  })
  undo.push(() => clients.close())
  return clients
}

function startIngest(
  { study, stow, storage }: Settings,
  { database, blobs, configuration, audit, log }: Parts,
): Ingest {
  const options: IngestOptions = {
    database,
    blobs,
    log,
    quietSeconds: study.quietSeconds,
    duplicatePolicy: study.duplicatePolicy,
    maxInstanceBytes: stow.maxInstanceBytes,
    minimumFreeBytes: storage.minimumFreeBytes,
    maxBytesInFlight: stow.maxBytesInFlight,
    rules: new Map(),
    answeringSources: new Set(),
    stored: ({ source, studyInstanceUid }) =>
      audit.tally({
        event: 'instances-received',
        actor: { name: source ?? 'unnamed sender' },
        study: studyInstanceUid,
        instances: 1,
      }),
    refused: ({ source, studyInstanceUid, reason, detail }) =>
      audit.tally({
        event: 'instances-received',
        outcome: 'failure',
        actor: { name: source ?? 'unnamed sender' },
        study: studyInstanceUid,
        instances: 1,
        detail: { status: reason.toString(16).toUpperCase().padStart(4, '0'), reason: detail },
      }),
  }
  configuration.follow(({ completeness, sources, providers }) => {
    // Where archives are asked whether a study is whole, settling is looked at sooner.
    const asked = completeness.ask.length + completeness.required.length > 0
    options.quietSeconds = asked ? Math.min(study.quietSeconds, completeness.afterSeconds) : study.quietSeconds
    options.rules = new Map(sources.flatMap(({ name, accept }) => (accept ? [[name, accept]] : [])))
    options.answeringSources = new Set(providers.flatMap(entry => (entry.kind === 'dicom' ? [entry.answersFrom] : [])))
  })
  return new Ingest(options)
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
