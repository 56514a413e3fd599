import {
  type BlobKey,
  type BlobStore,
  type IndexOutcome,
  type InstanceToIndex,
  indexInstances,
  replaceInstance,
} from '../archive/index.js'
import { reason } from '../dicom/reasons.js'
import { type Database, isUnreachable, transaction } from '../platform/database.js'
import { errorContext, type Log } from '../platform/log.js'
import type { ReceivedInstance } from './receiveInstance.js'
import { sameDataSet } from './sameDataSet.js'

const maxBatch = 256
/**
 * So long a transaction waits for instances that are being made durable. A transaction costs as much as some instances in it, and senders side by side each wait for their own answer: without it
 * each has a transaction nearly for itself (docs/decisions/0014-shared-transactions.md).
 */
const patienceMilliseconds = 4

export type CommitOutcome =
  /** `replaced`: other bytes stood under this UID before. */
  | { outcome: 'stored'; replaced: boolean }
  /** The same data set was stored before; nothing new is started. */
  | { outcome: 'already-stored' }
  | { outcome: 'refused'; reason: number; detail: string }
  /** The database cannot be reached; the sender should try again later. */
  | { outcome: 'unavailable' }

export interface CommitOptions {
  database: Database
  blobs: BlobStore
  quietSeconds: number
  duplicatePolicy: 'keep' | 'replace'
  log: Log
}

interface Entry {
  instance: InstanceToIndex
  resolve(outcome: CommitOutcome): void
}

/**
 * Commits instances in the order in which they become ready. All that are ready while a transaction runs go into the next one, so that
 * a commit is paid for once by many instances, whatever request they came with.
 */
export class CommitQueue {
  private waiting: Entry[] = []
  private running = false
  private coming = 0
  private noneIsComing = () => {}

  constructor(private readonly options: CommitOptions) {}

  /** @param arrival of an instance that will be committed if all goes well */
  async expecting<T>(arrival: Promise<T>): Promise<T> {
    this.coming++
    try {
      return await arrival
    } finally {
      // What has come is in the queue by the next turn.
      setImmediate(() => {
        this.coming--
        if (this.coming === 0) this.noneIsComing()
      })
    }
  }

  async commit(received: ReceivedInstance, source: string | undefined): Promise<CommitOutcome> {
    const { header } = received
    const instance: InstanceToIndex = {
      sopInstanceUid: header.sopInstanceUid,
      sopClassUid: header.sopClassUid,
      studyInstanceUid: header.studyInstanceUid,
      seriesInstanceUid: header.seriesInstanceUid,
      transferSyntaxUid: header.transferSyntax.uid,
      header: header.json,
      blobKey: received.blobKey,
      byteLength: received.byteLength,
      crc32: received.crc32,
      origin: 'received',
      ...(source ? { source } : {}),
      ...(received.warning ? { warning: received.warning } : {}),
    }
    return new Promise(resolve => {
      this.waiting.push({ instance, resolve })
      if (!this.running) void this.run()
    })
  }

  private async run(): Promise<void> {
    this.running = true
    while (this.waiting.length > 0) {
      if (this.coming > 0 && this.waiting.length < maxBatch) await this.untilNoneIsComing()
      const batch = this.waiting.splice(0, maxBatch)
      await this.commitBatch(batch)
    }
    this.running = false
  }

  /** Or until patience ends. */
  private untilNoneIsComing(): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, patienceMilliseconds)
      this.noneIsComing = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  private async commitBatch(batch: Entry[]): Promise<void> {
    const { database, quietSeconds } = this.options
    try {
      const instances = batch.map(entry => entry.instance)
      const outcomes = await indexInstances(database, instances, quietSeconds)
      // Concluding may read two files from end to end; those who wait for the next commit do not wait for that.
      for (const [i, entry] of batch.entries()) void this.conclude(entry.instance, outcomes[i]!).then(entry.resolve)
    } catch (error) {
      // One instance that the database refuses must not cost the others: each by itself.
      if (batch.length > 1 && !isUnreachable(error)) {
        for (const entry of batch) await this.commitBatch([entry])
        return
      }
      // The blobs stay: a commit whose answer was lost may have succeeded.
      const outcome = this.failed(error, batch.length)
      for (const entry of batch) entry.resolve(outcome)
    }
  }

  private failed(error: unknown, instances: number): CommitOutcome {
    this.options.log.error('instances could not be committed', { instances, ...errorContext(error) })
    if (isUnreachable(error)) return { outcome: 'unavailable' }
    return { outcome: 'refused', reason: reason.processingFailure, detail: 'the instance could not be indexed' }
  }

  private async conclude(instance: InstanceToIndex, outcome: IndexOutcome): Promise<CommitOutcome> {
    if (outcome.outcome === 'stored') return { outcome: 'stored', replaced: false }
    try {
      if (outcome.outcome === 'present') return await this.concludePresent(instance, outcome.storedBlobKey)
      await this.options.blobs.remove(instance.blobKey)
      return outcome
    } catch (error) {
      return this.failed(error, 1)
    }
  }

  private async concludePresent(instance: InstanceToIndex, storedBlobKey: BlobKey): Promise<CommitOutcome> {
    const { blobs, duplicatePolicy, database, quietSeconds } = this.options
    if (await sameDataSet(await blobs.localPath(storedBlobKey), await blobs.localPath(instance.blobKey))) {
      await blobs.remove(instance.blobKey)
      return { outcome: 'already-stored' }
    }
    if (duplicatePolicy === 'keep') {
      await blobs.remove(instance.blobKey)
      const detail = 'an instance of this SOP Instance UID with other content is stored; the stored one is kept'
      return { outcome: 'refused', reason: reason.duplicateSopInstance, detail }
    }
    const old = await transaction(database, tx =>
      replaceInstance(tx, { ...instance, warning: reason.coercion }, quietSeconds),
    )
    await blobs.remove(old)
    return { outcome: 'stored', replaced: true }
  }
}
