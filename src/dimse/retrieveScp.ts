import { type BlobStore, instancesToRetrieve, type RetrievableInstance } from '../archive/index.js'
import { type DicomJson, textsOf } from '../dicom/dicomJson.js'
import type { TranscodedObject } from '../pixels/transcode.js'
import type { Database } from '../platform/database.js'
import { errorContext, type Log } from '../platform/log.js'
import { type Association, type Operation, type OperationHandler, printable } from './association.js'
import { type Command, field, status } from './command.js'
import { openAssociation, type Peer, Refused } from './openAssociation.js'
import { levelOf } from './queryScp.js'
import { placeOf, proposed, storeOver } from './storeScu.js'

export interface RetrieveOptions {
  database: Database
  blobs: BlobStore
  /** Decodes what a peer does not take as it is stored. */
  decode(path: string): Promise<TranscodedObject>
  /** Where an application entity takes objects; undefined: it is not known. */
  moveDestination(aeTitle: string): Peer | undefined
  log: Log
}

/** C-MOVE as SCP (PS3.4 C.4.2): objects go to an application entity that is configured here. */
export function moveOperation(options: RetrieveOptions, callingAeTitle: string): OperationHandler {
  return async operation => {
    const wanted = await wantedBy(operation, options.database)
    if (!wanted) return
    const aeTitle = String(operation.command[field.moveDestination] ?? '').trim()
    const peer = options.moveDestination(aeTitle)
    if (!peer) {
      const comment = 'this move destination is not configured here'
      return operation.respond(status.moveDestinationUnknown, { comment })
    }
    if (wanted.length === 0) return operation.respond(status.success, { fields: new SubOperations([]).fields(false) })
    try {
      const { association } = await openAssociation(peer, proposalsFor(wanted), { log: options.log })
      const command = {
        [field.moveOriginatorAeTitle]: callingAeTitle,
        [field.moveOriginatorMessageId]: operation.command[field.messageId] ?? 0,
      }
      await perform(operation, wanted, association, command, options).finally(() => association.release())
    } catch (error) {
      options.log.warn('objects could not be moved', { to: printable(aeTitle), ...errorContext(error) })
      const failed = new SubOperations(wanted)
      for (const instance of wanted) failed.failed(instance)
      const comment = error instanceof Refused ? error.message : 'the move destination cannot be reached'
      await operation.respond(status.subOperationsFailed, { comment, fields: failed.fields(false) })
    }
  }
}

/** C-GET as SCP (PS3.4 C.4.3): objects come back over the same association. */
export function getOperation(options: RetrieveOptions): OperationHandler {
  return async operation => {
    const wanted = await wantedBy(operation, options.database)
    if (wanted) await perform(operation, wanted, operation.association, {}, options)
  }
}

/** @returns undefined if the request has been answered, because it cannot be performed */
async function wantedBy(operation: Operation, database: Database): Promise<RetrievableInstance[] | undefined> {
  const keys = operation.dataSet()
  const level = levelOf(operation, keys)
  const unique = { PATIENT: '00100020', STUDY: '0020000D', SERIES: '0020000E', IMAGE: '00080018' } as const
  if (!level || textsOf(keys, unique[level]).length === 0) {
    const comment = level
      ? `the unique key of level ${level} is missing`
      : 'the level is none of this information model'
    await operation.respond(status.identifierDoesNotMatch, { comment })
    return undefined
  }
  const uids = (tag: string) => {
    const values = textsOf(keys, tag)
    return values.length > 0 ? values : undefined
  }
  return instancesToRetrieve(database, {
    patients: level === 'PATIENT' ? uids('00100020') : undefined,
    studies: uids('0020000D'),
    series: level === 'SERIES' || level === 'IMAGE' ? uids('0020000E') : undefined,
    instances: level === 'IMAGE' ? uids('00080018') : undefined,
  })
}

const maxContexts = 128

/** Contexts for all classes and syntaxes; those for decoded objects as far as there is room. */
function proposalsFor(instances: readonly RetrievableInstance[]) {
  const byKey = new Map<string, ReturnType<typeof proposed>[number]>()
  const kinds = new Map(instances.map(instance => [`${instance.sopClassUid} ${instance.transferSyntaxUid}`, instance]))
  const lists = [...kinds.values()].map(({ sopClassUid, transferSyntaxUid }) =>
    proposed(sopClassUid, transferSyntaxUid, true),
  )
  for (let i = 0; lists.some(list => i < list.length); i++)
    for (const list of lists) {
      const proposal = list[i]
      if (proposal) byKey.set(`${proposal.abstractSyntax} ${proposal.transferSyntaxes[0]}`, proposal)
    }
  return [...byKey.values()].slice(0, maxContexts)
}

/** One C-STORE after another, each followed by a pending response. */
async function perform(
  operation: Operation,
  wanted: readonly RetrievableInstance[],
  association: Association,
  command: Command,
  { blobs, decode, log }: RetrieveOptions,
): Promise<void> {
  const counts = new SubOperations(wanted)
  for (const instance of wanted) {
    if (operation.ended.aborted) return operation.respond(status.cancelled, { fields: counts.fields(true) })
    const path = await blobs.localPath(instance.blobKey)
    try {
      const outcome = await storeOver(association, { ...instance, path, ...(await placeOf(path)) }, { decode, command })
      if (outcome.outcome === 'delivered') counts.completed()
      else counts.failed(instance)
      if (outcome.outcome !== 'delivered') log.warn('an object could not be given', { reason: outcome.detail })
    } catch (error) {
      if (!(error instanceof Refused) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      log.warn('an object could not be given', errorContext(error))
      counts.failed(instance)
    }
    if (counts.remaining > 0) await operation.respond(status.pending, { fields: counts.fields(true) })
  }
  await operation.respond(counts.status(), {
    fields: counts.fields(false),
    ...(counts.failures.length > 0 ? { dataSet: counts.failedList() } : {}),
  })
}

/** What has become of the sub-operations (PS3.4 C.4.2.1.6). */
class SubOperations {
  remaining: number
  readonly failures: RetrievableInstance[] = []
  private done = 0

  constructor(private readonly wanted: readonly RetrievableInstance[]) {
    this.remaining = wanted.length
  }

  completed(): void {
    this.remaining--
    this.done++
  }

  failed(instance: RetrievableInstance): void {
    this.remaining--
    this.failures.push(instance)
  }

  status(): number {
    if (this.failures.length === 0) return status.success
    return this.failures.length === this.wanted.length ? status.subOperationsFailed : status.subOperationsWithFailures
  }

  /** @param goingOn the number of those that remain is said only then */
  fields(goingOn: boolean): Command {
    return {
      ...(goingOn ? { [field.remainingSubOperations]: this.remaining } : {}),
      [field.completedSubOperations]: this.done,
      [field.failedSubOperations]: this.failures.length,
      [field.warningSubOperations]: 0,
    }
  }

  /** Failed SOP Instance UID List. */
  failedList(): DicomJson {
    return { '00080058': { vr: 'UI', Value: this.failures.map(({ sopInstanceUid }) => sopInstanceUid) } }
  }
}
