import type { Provider } from '../analysis/provider.js'
import type { BlobStore } from '../archive/index.js'
import type { Deliverer } from '../delivery/index.js'
import type { Ingest } from '../ingest/index.js'
import type { Notifier } from '../notifications/send.js'
import type { PixelPool } from '../pixels/pool.js'
import type { TranscodedObject } from '../pixels/transcode.js'
import type { Audit } from '../platform/audit.js'
import type { Database, Queryable } from '../platform/database.js'
import type { Endpoints } from '../platform/endpoints.js'
import type { Log } from '../platform/log.js'
import type { DimsePeer } from '../platform/providerSettings.js'
import type { Draw } from '../results/drawing.js'

/** What the steps of the pipeline work with. `endpoints`, and the clients made of them, change with the configuration: they are read when they are used. */
export interface PipelineContext {
  database: Database
  blobs: BlobStore
  pixels: PixelPool
  readonly endpoints: Endpoints
  providers: ReadonlyMap<string, Provider>
  /** Draws key images in a thread. */
  draw: Draw
  deliverers: ReadonlyMap<string, Deliverer>
  /** Decodes a stored object for one who takes no other transfer syntax. */
  transcode(path: string, transferSyntaxUid: string): Promise<TranscodedObject>
  /** Folder for files that are made for one transfer. */
  scratch: string
  ingest: Ingest
  /** Asks an application entity by C-ECHO. @throws what is wrong, in words */
  echo(peer: DimsePeer): Promise<void>
  /** Ours. */
  aeTitle: string
  quietSeconds: number
  /** Serial number of this installation, written into results. */
  deviceSerialNumber: string
  softwareVersion: string
  /** Key of the names that stand for patients and studies outside of the hospital. */
  pseudonymKey: string
  audit: Audit
  notifier: Notifier
  /** Below so much free space nothing is taken. */
  minimumFreeBytes: number
  log: Log
}

/** Of jobs that go before all others. */
export const urgentPriority = -10

/** For each node that works, analyses by one provider run in so many lanes; those of one lane one after another. */
const analysisLanes = 2

/**
 * Queue of a study's analysis, so that a few long ones do not take all workers from receiving and delivering, and a slow provider holds up no other.
 * More nodes have more lanes.
 */
export async function analysisQueue(db: Queryable, provider: string, study: string): Promise<string> {
  const { rows } = await db.query<{ nodes: number }>(
    `select greatest(1, count(*))::int nodes from node where worker_ids <> '{}'`,
  )
  let sum = 0
  for (const character of study) sum = (sum * 31 + character.charCodeAt(0)) >>> 0
  return `analyze:${provider}:${sum % (analysisLanes * rows[0]!.nodes)}`
}

/** Queue of deliveries to a destination: one that does not answer holds up no other. */
export function deliveryQueue(destination: string, delivery: number): string {
  return `deliver:${destination}:${delivery % 2}`
}
