import type { BlobStore } from '../archive/index.js'
import { addEvidence, keepAnswer } from '../archive/index.js'
import { reason } from '../dicom/reasons.js'
import type { Database } from '../platform/database.js'
import type { SourceRules } from '../platform/endpoints.js'
import { errorContext, type Log } from '../platform/log.js'
import { metrics } from '../platform/metrics.js'
import { Admission } from './admission.js'
import { type CommitOutcome, CommitQueue } from './commitQueue.js'
import { InstanceReceiver, type Refusal } from './receiveInstance.js'

/** What became of one instance. Anything but `stored` and `already-stored` means that it is not kept. */
export type InstanceOutcome =
  | {
      outcome: 'stored' | 'already-stored'
      sopClassUid: string
      sopInstanceUid: string
      studyInstanceUid: string
      seriesInstanceUid: string
      warning?: number
    }
  | Refusal
  | { outcome: 'unavailable' }

/** What a C-STORE request says of its data set. */
export interface ExpectedInstance {
  sopClassUid: string
  sopInstanceUid: string
}

export interface FinishOptions {
  source?: string
  study?: string
  expected?: ExpectedInstance
  sourceOf?: ((study: string) => Promise<string | undefined>) | undefined
}

export interface IngestOptions {
  database: Database
  blobs: BlobStore
  quietSeconds: number
  duplicatePolicy: 'keep' | 'replace'
  maxInstanceBytes: number
  minimumFreeBytes: number
  /** All transfers together; more are told to come again. */
  maxBytesInFlight: number
  /** Told of each instance that was stored. */
  stored?(of: { source: string | undefined; studyInstanceUid: string }): void
  /** Told of each instance that was refused; the study is known if its header could be read. */
  refused?(of: {
    source: string | undefined
    studyInstanceUid: string | undefined
    reason: number
    detail: string
  }): void
  /** What these sources send are answers of providers of kind `dicom`, and no part of the archive. */
  answeringSources: ReadonlySet<string>
  /** What is taken of sources that not everything is taken of. */
  rules: ReadonlyMap<string, SourceRules>
  log: Log
}

/** The one path by which instances enter, behind STOW-RS and C-STORE. */
export class Ingest {
  private readonly queue: CommitQueue
  private readonly admission: Admission
  private databaseAnsweredAt = Number.NEGATIVE_INFINITY
  private free: { bytes: number; at: number } = { bytes: Number.POSITIVE_INFINITY, at: Number.NEGATIVE_INFINITY }

  constructor(private readonly options: IngestOptions) {
    this.queue = new CommitQueue(options)
    this.admission = new Admission(options.maxBytesInFlight)
  }

  /** Why nothing can be taken in at the moment; undefined when it can. */
  async unavailableBecause(): Promise<string | undefined> {
    const { blobs, minimumFreeBytes, database } = this.options
    if (performance.now() - this.free.at > 500) this.free = { bytes: await blobs.freeBytes(), at: performance.now() }
    if (this.free.bytes < minimumFreeBytes) return 'the disk is nearly full'
    if (performance.now() - this.databaseAnsweredAt < 1000) return undefined
    try {
      await database.query('select 1')
      this.databaseAnsweredAt = performance.now()
      return undefined
    } catch (error) {
      this.options.log.error('the database cannot be reached', errorContext(error))
      return 'the database cannot be reached'
    }
  }

  /**
   * Asks for room for a transfer, before anything of it is read.
   * @param length its bytes, if they are known
   * @returns what is to be called when it has ended; undefined: there is too much on its way, and the sender should come again in a moment
   */
  admit(source: string | undefined, length?: number): (() => void) | undefined {
    const leave = this.admission.enter(source, length)
    if (!leave) metrics.turnedAway.inc({ source: source ?? 'none' })
    return leave
  }

  /** @param source who sends it, as far as that is known yet: its rules hold */
  begin(source?: string): InstanceReceiver {
    const { blobs, maxInstanceBytes, rules } = this.options
    const accept = source === undefined ? undefined : rules.get(source)
    return new InstanceReceiver(blobs, { maxInstanceBytes, ...(accept ? { accept } : {}) })
  }

  /**
   * Ends the receiving of one instance. When this resolves with `stored`, its bytes, its name and its index row are durable.
   * @param options.study the only Study Instance UID that is allowed
   * @param options.expected what the sender has announced
   * @param options.sourceOf another source than `source` that instances of some studies count for
   */
  async finish(receiver: InstanceReceiver, options: FinishOptions = {}): Promise<InstanceOutcome> {
    const source = options.source ?? 'none'
    const end = metrics.storing.startTimer()
    const outcome = await this.store(receiver, options)
    end()
    metrics.instances.inc({ source, outcome: outcome.outcome })
    if (outcome.outcome === 'refused') {
      const { studyInstanceUid = options.study, reason, detail } = outcome
      this.options.refused?.({ source: options.source, studyInstanceUid, reason, detail })
    }
    if (outcome.outcome === 'stored') {
      metrics.bytes.inc({ source }, receiver.length)
      this.options.stored?.({ source: options.source, studyInstanceUid: outcome.studyInstanceUid })
    }
    return outcome
  }

  private async store(receiver: InstanceReceiver, options: FinishOptions): Promise<InstanceOutcome> {
    const { study, expected, sourceOf } = options
    const received = await this.queue.expecting(receiver.end())
    if (received.outcome === 'refused') return received
    const source = (await sourceOf?.(received.header.studyInstanceUid)) ?? options.source
    const { sopClassUid, sopInstanceUid, studyInstanceUid, seriesInstanceUid } = received.header
    const identity = { sopClassUid, sopInstanceUid, studyInstanceUid, seriesInstanceUid }
    if (study && study !== studyInstanceUid) {
      await this.options.blobs.remove(received.blobKey)
      const detail = 'its Study Instance UID differs from the one in the URL'
      return { ...identity, outcome: 'refused', reason: reason.studyUidMismatch, detail }
    }
    if (expected && (expected.sopInstanceUid !== sopInstanceUid || expected.sopClassUid !== sopClassUid)) {
      await this.options.blobs.remove(received.blobKey)
      const detail = 'SOP Class or Instance UID of the data set differ from those of the command'
      return { ...identity, outcome: 'refused', reason: reason.dataSetDoesNotMatchSopClass, detail }
    }
    if (source && this.options.answeringSources.has(source)) {
      const { blobKey, header } = received
      const old = await keepAnswer(this.options.database, { ...identity, source, blobKey, header: header.json })
      if (old) await this.options.blobs.remove(old)
      return { ...identity, outcome: 'stored' }
    }
    const committed: CommitOutcome = await this.queue.commit(received, source)
    switch (committed.outcome) {
      case 'stored': {
        const warning = committed.replaced ? reason.coercion : received.warning
        return { ...identity, outcome: 'stored', ...(warning ? { warning } : {}) }
      }
      case 'already-stored':
        return { ...identity, outcome: 'already-stored' }
      case 'refused':
        return { ...identity, ...committed }
      case 'unavailable':
        return committed
    }
  }

  /** Remembers that a transfer of instances of these studies broke off: they may be incomplete. */
  async transferWasCut(studies: readonly string[], why: string): Promise<void> {
    if (studies.length === 0) return
    await addEvidence(this.options.database, studies, { kind: 'partial', reason: why, at: new Date().toISOString() })
  }
}

export type { InstanceReceiver, Refusal }
