import type { Socket } from 'node:net'
import { reason } from '../dicom/reasons.js'
import { fileMeta } from '../dicom/rewrite.js'
import { implementationClassUid } from '../dicom/uid.js'
import type { Ingest, InstanceOutcome, InstanceReceiver } from '../ingest/index.js'
import type { Log } from '../platform/log.js'
import { type ByteReader, ConnectionEnded } from './byteReader.js'
import { type Command, commandField, decodeCommand, encodeCommand, field, noDataSet, response } from './command.js'
import {
  type AnsweredContext,
  type AssociateRequest,
  contextResult,
  dataHeader,
  ProtocolError,
  pduType,
  releaseResponse,
} from './pdu.js'

export interface AssociationOptions {
  ingest: Ingest
  log: Log
  /** Name of the source that the peer is. */
  source: string | undefined
}

const maxCommandLength = 64 * 1024

/** Text of a peer as it may stand in a log or in an answer. */
export const printable = (value: string) => value.replace(/[^\x20-\x7e]/g, '?')

/** A message whose data set is arriving. */
interface Receiving {
  contextId: number
  command: Command
  receiver: InstanceReceiver | undefined
  /** Why the instance is not taken in; its bytes are read and dropped. */
  unavailable: string | undefined
}

/** An association from its acceptance on: one message after another, as no more operations at the same time were negotiated. */
export class Association {
  private readonly contexts: ReadonlyMap<number, AnsweredContext & { abstractSyntax: string }>
  private readonly source: string | undefined
  private readonly studies = new Set<string>()
  private commandParts: Buffer[] = []
  private receiving: Receiving | undefined
  private stored = 0
  private refused = 0

  constructor(
    private readonly socket: Socket,
    private readonly bytes: ByteReader,
    private readonly request: AssociateRequest,
    contexts: readonly AnsweredContext[],
    private readonly options: AssociationOptions,
  ) {
    this.contexts = new Map(
      contexts
        .filter(context => context.result === contextResult.accepted)
        .map(context => [
          context.id,
          { ...context, abstractSyntax: request.contexts.find(entry => entry.id === context.id)!.abstractSyntax },
        ]),
    )
    this.source = options.source
  }

  /** @throws ProtocolError, ConnectionEnded */
  async run(): Promise<void> {
    for (;;) {
      const header = await this.bytes.exactly(6)
      const length = header.readUInt32BE(2)
      switch (header[0]) {
        case pduType.data:
          await this.readData(length)
          break
        case pduType.releaseRequest:
          await this.bytes.exactly(Math.min(length, 4))
          if (this.receiving) throw new ProtocolError('the association was released in the middle of an instance')
          this.socket.end(releaseResponse)
          this.options.log.info('an association was released', this.told())
          return
        case pduType.abort:
          throw new ConnectionEnded()
        default:
          throw new ProtocolError(`a PDU of type ${header[0]} is not expected here`)
      }
    }
  }

  /** What is complete stays, what was half there goes, and the studies are marked. */
  async wasCut(error: Error): Promise<void> {
    const { receiver } = this.receiving ?? {}
    const study = receiver?.studyInstanceUid
    if (study) this.studies.add(study)
    await receiver?.abort()
    this.options.log.warn('an association broke off', { ...this.told(), error: error.message })
    await this.options.ingest
      .transferWasCut([...this.studies], 'an association broke off before it was released')
      .catch(() => {})
  }

  private told() {
    const { callingAeTitle } = this.request
    return { callingAeTitle: printable(callingAeTitle), stored: this.stored, refused: this.refused }
  }

  /** A P-DATA: fragments of commands and data sets, which are used as they arrive. */
  private async readData(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      if (left < 6) throw new ProtocolError('a P-DATA is too short for a fragment')
      const header = await this.bytes.exactly(6)
      const size = header.readUInt32BE(0) - 2
      if (size < 0 || size > left - 6) throw new ProtocolError('a fragment is longer than its P-DATA')
      const [contextId, control] = [header[4]!, header[5]!]
      if (!this.contexts.has(contextId)) throw new ProtocolError(`presentation context ${contextId} was not accepted`)
      if (control & 1) await this.readCommand(contextId, size, (control & 2) !== 0)
      else await this.readDataSet(contextId, size, (control & 2) !== 0)
      left -= 6 + size
    }
  }

  private async readCommand(contextId: number, size: number, isLast: boolean): Promise<void> {
    if (this.receiving) throw new ProtocolError('a command came in the middle of a data set')
    const length = this.commandParts.reduce((sum, part) => sum + part.length, size)
    if (length > maxCommandLength) throw new ProtocolError('a command is too long')
    this.commandParts.push(await this.bytes.exactly(size))
    if (!isLast) return
    const command = decodeCommand(Buffer.concat(this.commandParts))
    this.commandParts = []
    if (command[field.commandDataSetType] === noDataSet) {
      this.perform(contextId, command)
      return
    }
    const isStore = command[field.commandField] === commandField.cStoreRequest
    const unavailable = isStore ? await this.options.ingest.unavailableBecause() : undefined
    const receiver = isStore && !unavailable ? this.beginInstance(contextId, command) : undefined
    this.receiving = { contextId, command, receiver, unavailable }
  }

  private beginInstance(contextId: number, command: Command): InstanceReceiver {
    const { transferSyntax } = this.contexts.get(contextId)!
    const receiver = this.options.ingest.begin()
    // Group 0002 is ours to write (PS3.10 7.1); the data set follows as it comes from the network.
    void receiver.write(
      fileMeta({
        sopClassUid: String(command[field.affectedSopClassUid] ?? ''),
        sopInstanceUid: String(command[field.affectedSopInstanceUid] ?? ''),
        transferSyntaxUid: transferSyntax,
        implementationClassUid,
      }),
    )
    return receiver
  }

  private async readDataSet(contextId: number, size: number, isLast: boolean): Promise<void> {
    const { receiving } = this
    if (!receiving || receiving.contextId !== contextId) throw new ProtocolError('a data set came without its command')
    for (let left = size; left > 0; ) {
      const part = await this.bytes.some(left)
      left -= part.length
      await receiving.receiver?.write(part)
    }
    if (!isLast) return
    this.receiving = undefined
    const { receiver, command, unavailable } = receiving
    if (receiver) return this.finishInstance(receiver, contextId, command)
    if (unavailable) this.refused++
    this.answer(contextId, command, unavailable ? reason.outOfResources : status.unrecognizedOperation, unavailable)
  }

  private async finishInstance(receiver: InstanceReceiver, contextId: number, command: Command): Promise<void> {
    const { ingest, log } = this.options
    const expected = {
      sopInstanceUid: String(command[field.affectedSopInstanceUid] ?? ''),
      sopClassUid: this.contexts.get(contextId)!.abstractSyntax,
    }
    const outcome: InstanceOutcome = await ingest
      .finish(receiver, { ...(this.source ? { source: this.source } : {}), expected })
      .catch((error): InstanceOutcome => {
        log.error('an instance could not be stored', { error: String((error as Error).message) })
        return { outcome: 'refused', reason: reason.processingFailure, detail: 'the instance could not be stored' }
      })
    if (outcome.outcome === 'stored' || outcome.outcome === 'already-stored') {
      this.stored++
      this.studies.add(outcome.studyInstanceUid)
      this.answer(contextId, command, outcome.warning ?? status.success)
      return
    }
    this.refused++
    const { reason: code, detail } =
      outcome.outcome === 'refused' ? outcome : { reason: reason.outOfResources, detail: 'try again later' }
    log.warn('an instance was refused', { status: code.toString(16).toUpperCase(), reason: detail })
    this.answer(contextId, command, code, detail)
  }

  private perform(contextId: number, command: Command): void {
    const operation = command[field.commandField] as number
    if (operation === commandField.cCancelRequest || operation & response) return // there is nothing to cancel, and we asked for nothing
    const known = operation === commandField.cEchoRequest
    this.answer(contextId, command, known ? status.success : status.unrecognizedOperation)
  }

  private answer(contextId: number, command: Command, code: number, comment?: string): void {
    const { [field.affectedSopClassUid]: sopClass, [field.affectedSopInstanceUid]: instance } = command
    const bytes = encodeCommand({
      ...(sopClass === undefined ? {} : { [field.affectedSopClassUid]: sopClass }),
      [field.commandField]: (command[field.commandField] as number) | response,
      [field.messageIdBeingRespondedTo]: command[field.messageId] ?? 0,
      [field.commandDataSetType]: noDataSet,
      [field.status]: code,
      ...(comment ? { [field.errorComment]: printable(comment).slice(0, 64) } : {}),
      ...(instance === undefined ? {} : { [field.affectedSopInstanceUid]: instance }),
    })
    this.socket.write(Buffer.concat([dataHeader(contextId, bytes.length, true, true), bytes]))
  }
}

/** Statuses of PS3.7 annex C that are no reasons of STOW-RS. */
const status = { success: 0x0000, unrecognizedOperation: 0x0211 } as const
