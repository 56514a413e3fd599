import { reason } from '../dicom/reasons.js'
import { fileMeta } from '../dicom/rewrite.js'
import { implementationClassUid } from '../dicom/uid.js'
import type { Ingest, InstanceOutcome } from '../ingest/index.js'
import type { Log } from '../platform/log.js'
import type { Context, StoreInProgress, StoreReception } from './association.js'
import { type Command, field, status } from './command.js'

export interface StoreScpOptions {
  ingest: Ingest
  log: Log
  /** Name of the source that instances come from. */
  source: string | undefined
  /** The source that instances of a study count for which somebody sends on our behalf. */
  movedFor?: ((study: string) => Promise<string | undefined>) | undefined
  /** Ours: it stands in what comes on our behalf. */
  aeTitle?: string
}

/** What an instance on its way may hold in memory; its length is not told before. */
const instanceWindow = 4 * 1024 * 1024

/** C-STORE as SCP (PS3.4 annex B): success is said of what is durable, and of nothing else. */
export class StoreScp implements StoreReception {
  readonly studies = new Set<string>()
  stored = 0
  refused = 0
  /** Is an instance on its way? */
  isReceiving = false

  constructor(private readonly options: StoreScpOptions) {}

  async begin(context: Context, command: Command): Promise<StoreInProgress> {
    const { ingest, source, movedFor, aeTitle } = this.options
    const unavailable = await ingest.unavailableBecause()
    if (unavailable) return this.unavailable(unavailable)
    const leave = ingest.admit(source, instanceWindow)
    if (!leave) return this.unavailable('too much is on its way in at the moment; try again')
    this.isReceiving = true
    const receiver = ingest.begin(source)
    const ours = movedFor && aeTitle && command[field.moveOriginatorAeTitle] === aeTitle
    // Group 0002 is ours to write (PS3.10 7.1); the data set follows as it comes from the network.
    void receiver.write(
      fileMeta({
        sopClassUid: String(command[field.affectedSopClassUid] ?? ''),
        sopInstanceUid: String(command[field.affectedSopInstanceUid] ?? ''),
        transferSyntaxUid: context.transferSyntax,
        implementationClassUid,
      }),
    )
    const expected = {
      sopInstanceUid: String(command[field.affectedSopInstanceUid] ?? ''),
      sopClassUid: context.abstractSyntax,
    }
    return {
      write: part => receiver.write(part),
      end: async () => {
        const judged = this.judge(
          await ingest
            .finish(receiver, { ...(source ? { source } : {}), ...(ours ? { sourceOf: movedFor } : {}), expected })
            .catch(error => this.failed(error as Error))
            .finally(leave),
        )
        this.isReceiving = false
        return judged
      },
      abort: async () => {
        const study = receiver.studyInstanceUid
        if (study) this.studies.add(study)
        await receiver.abort().finally(leave)
      },
    }
  }

  /** What is complete stays, and the studies that something was cut of are marked. */
  async wasCut(error: Error, told: object): Promise<void> {
    this.options.log.warn('an association broke off', { ...told, ...this.counts(), error: error.message })
    await this.options.ingest
      .transferWasCut([...this.studies], 'an association broke off before it was released')
      .catch(() => {})
  }

  counts() {
    return { stored: this.stored, refused: this.refused }
  }

  private unavailable(why: string): StoreInProgress {
    return {
      write: () => undefined,
      end: async () => {
        this.refused++
        return { status: reason.outOfResources, comment: why }
      },
      abort: async () => {},
    }
  }

  private failed(error: Error): InstanceOutcome {
    this.options.log.error('an instance could not be stored', { error: error.message })
    return { outcome: 'refused', reason: reason.processingFailure, detail: 'the instance could not be stored' }
  }

  private judge(outcome: InstanceOutcome): { status: number; comment?: string } {
    if (outcome.outcome === 'stored' || outcome.outcome === 'already-stored') {
      this.stored++
      this.studies.add(outcome.studyInstanceUid)
      return { status: outcome.warning ?? status.success }
    }
    this.refused++
    const { reason: code, detail } =
      outcome.outcome === 'refused' ? outcome : { reason: reason.outOfResources, detail: 'try again later' }
    this.options.log.warn('an instance was refused', { status: code.toString(16).toUpperCase(), reason: detail })
    return { status: code, comment: detail }
  }
}
