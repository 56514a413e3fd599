import type { Socket } from 'node:net'
import type { DicomJson } from '../dicom/dicomJson.js'
import { errorContext, type Log } from '../platform/log.js'
import { AskedOperations, type DimseResponse } from './askedOperations.js'
import { type ByteReader, ConnectionEnded } from './byteReader.js'
import {
  type Command,
  commandField,
  decodeCommand,
  field,
  isPending,
  noDataSet,
  response as responseBit,
  status,
} from './command.js'
import { readIdentifier } from './identifier.js'
import { type Context, MessageWriter } from './messageWriter.js'
import { abort, ProtocolError, pduType, releaseRequest, releaseResponse } from './pdu.js'

export type { DimseResponse } from './askedOperations.js'
export type { Context } from './messageWriter.js'

/** Takes in what C-STORE brings, as it arrives. */
export interface StoreReception {
  begin(context: Context, command: Command): Promise<StoreInProgress>
}
export interface StoreInProgress {
  /** @returns a promise while the disk is slower than the network */
  write(part: Buffer): Promise<void> | undefined
  end(): Promise<{ status: number; comment?: string | undefined }>
  /** The association ended within the instance. */
  abort(): Promise<void>
}

/** An operation that the other side asks for, other than C-STORE. */
export interface Operation {
  command: Command
  context: Context
  association: Association
  /** The data set that came with it. @throws ProtocolError */
  dataSet(): DicomJson
  /** Aborted by C-CANCEL, or when the association ends. */
  ended: AbortSignal
  /** Answers, with pending statuses any number of times. */
  respond(status: number, more?: { fields?: Command; comment?: string; dataSet?: DicomJson }): Promise<void>
}
export type OperationHandler = (operation: Operation) => Promise<void>

export interface AssociationOptions {
  log: Log
  /** Longest P-DATA that the other side takes; 0: any. */
  maxLength: number
  /** Absent: C-STORE is not taken. */
  store?: StoreReception | undefined
  /** What else the other side may ask for, by command field. */
  operations: ReadonlyMap<number, OperationHandler>
}

const maxCommandLength = 64 * 1024
/** Data sets other than those of C-STORE are small, and held in memory. */
const maxIdentifierLength = 16 * 1024 * 1024
const releaseMilliseconds = 1000

/** Text of a peer as it may stand in a log or in an answer. */
export const printable = (value: string) => value.replace(/[^\x20-\x7e]/g, '?')

/** A message whose data set is arriving. */
interface Receiving {
  context: Context
  command: Command
  store?: StoreInProgress
  /** Of a small data set, held; undefined: dropped. */
  parts?: Buffer[]
  length: number
}

/**
 * An association from its acceptance on, the same for both sides: either may ask for operations and answers those of the other (PS3.7, PS3.8 9.3).
 * One operation of the other side is performed at a time, as no more were negotiated.
 */
export class Association {
  private readonly contexts: ReadonlyMap<number, Context>
  private readonly asked: AskedOperations
  private commandParts: Buffer[] = []
  private receiving: Receiving | undefined
  private performing: { messageId: unknown; done: Promise<void>; cancel: AbortController } | undefined
  private readonly writer: MessageWriter
  private ended = false

  constructor(
    private readonly socket: Socket,
    private readonly bytes: ByteReader,
    contexts: readonly Context[],
    private readonly options: AssociationOptions,
  ) {
    this.contexts = new Map(contexts.map(context => [context.id, context]))
    this.writer = new MessageWriter(socket, options.maxLength)
    this.asked = new AskedOperations(this.writer)
  }

  /** The contexts that were agreed on for a SOP class. */
  contextsOf(abstractSyntax: string): Context[] {
    return [...this.contexts.values()].filter(context => context.abstractSyntax === abstractSyntax)
  }

  /**
   * Reads messages until the other side releases the association.
   * @throws ProtocolError, ConnectionEnded, or an error of the connection; then nothing more can be sent
   */
  async run(): Promise<void> {
    try {
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
            this.end(new ConnectionEnded())
            return
          case pduType.releaseResponse:
            this.end(new ConnectionEnded())
            return
          case pduType.abort:
            throw new ConnectionEnded('the other side aborted the association')
          default:
            throw new ProtocolError(`a PDU of type ${header[0]} is not expected here`)
        }
      }
    } catch (error) {
      this.end(error as Error)
      throw error
    } finally {
      await this.receiving?.store?.abort() // however it ended
      await this.performing?.done
    }
  }

  /** @see AskedOperations.ask */
  ask(context: Context, command: Command, dataSet?: DicomJson | AsyncIterable<Buffer>): AsyncGenerator<DimseResponse> {
    return this.asked.ask(context, command, dataSet)
  }

  /** Asks for an operation that is answered once. @throws if the association ends */
  async askOnce(
    context: Context,
    command: Command,
    dataSet?: DicomJson | AsyncIterable<Buffer>,
  ): Promise<DimseResponse> {
    for await (const answer of this.ask(context, command, dataSet)) if (!isPending(answer.status)) return answer
    throw new ConnectionEnded()
  }

  /** A-RELEASE; the connection is closed when it is answered, or soon. */
  release(): void {
    if (this.socket.destroyed) return
    this.socket.end(releaseRequest)
    setTimeout(() => this.socket.destroy(), releaseMilliseconds).unref()
  }

  /** A-ABORT. */
  abort(): void {
    if (!this.socket.destroyed) this.socket.end(abort())
    this.socket.destroySoon()
    this.end(new ConnectionEnded())
  }

  private end(error: Error): void {
    this.ended = true
    this.performing?.cancel.abort()
    this.asked.end(error)
  }

  /** A P-DATA: fragments of commands and data sets, which are used as they arrive. */
  private async readData(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      if (left < 6) throw new ProtocolError('a P-DATA is too short for a fragment')
      const header = await this.bytes.exactly(6)
      const size = header.readUInt32BE(0) - 2
      if (size < 0 || size > left - 6) throw new ProtocolError('a fragment is longer than its P-DATA')
      const [contextId, control] = [header[4]!, header[5]!]
      const context = this.contexts.get(contextId)
      if (!context) throw new ProtocolError(`presentation context ${contextId} was not accepted`)
      if (control & 1) await this.readCommand(context, size, (control & 2) !== 0)
      else await this.readDataSet(context, size, (control & 2) !== 0)
      left -= 6 + size
    }
  }

  private async readCommand(context: Context, size: number, isLast: boolean): Promise<void> {
    if (this.receiving) throw new ProtocolError('a command came in the middle of a data set')
    const length = this.commandParts.reduce((sum, part) => sum + part.length, size)
    if (length > maxCommandLength) throw new ProtocolError('a command is too long')
    this.commandParts.push(Buffer.from(await this.bytes.exactly(size)))
    if (!isLast) return
    const command = decodeCommand(Buffer.concat(this.commandParts))
    this.commandParts = []
    if (command[field.commandDataSetType] === noDataSet) return this.dispatch(context, command, undefined)
    const operation = command[field.commandField] as number
    if (operation === commandField.cStoreRequest) {
      await this.performing?.done
      const store = await this.options.store?.begin(context, command)
      this.receiving = { context, command, length: 0, ...(store ? { store } : {}) }
      return
    }
    const wanted = operation & responseBit ? true : this.options.operations.has(operation)
    this.receiving = { context, command, length: 0, ...(wanted ? { parts: [] } : {}) }
  }

  private async readDataSet(context: Context, size: number, isLast: boolean): Promise<void> {
    const { receiving } = this
    if (receiving?.context !== context) throw new ProtocolError('a data set came without its command')
    for (let left = size; left > 0; ) {
      const part = await this.bytes.some(left)
      left -= part.length
      if (receiving.store) await receiving.store.write(part)
      else if (receiving.parts) {
        receiving.length += part.length
        if (receiving.length > maxIdentifierLength) throw new ProtocolError('a data set is too long')
        receiving.parts.push(Buffer.from(part))
      }
    }
    if (!isLast) return
    this.receiving = undefined
    const { command, store, parts } = receiving
    if (!store) return this.dispatch(context, command, Buffer.concat(parts ?? []))
    const stored = await store.end()
    await this.answer(context, command, stored.status, { ...(stored.comment ? { comment: stored.comment } : {}) })
  }

  /** A message is there as a whole. */
  private async dispatch(context: Context, command: Command, dataSet: Buffer | undefined): Promise<void> {
    const operation = command[field.commandField] as number
    if (operation & responseBit) return this.asked.take(context, command, dataSet)
    if (operation === commandField.cCancelRequest) {
      if (this.performing?.messageId === command[field.messageIdBeingRespondedTo]) this.performing?.cancel.abort()
      return
    }
    if (operation === commandField.cEchoRequest) return this.answer(context, command, status.success)
    const handler = this.options.operations.get(operation)
    if (!handler) return this.answer(context, command, status.unrecognizedOperation)
    await this.performing?.done
    const cancel = new AbortController()
    const done = this.perform(handler, context, command, dataSet, cancel.signal).finally(() => {
      if (this.performing?.done === done) this.performing = undefined
    })
    this.performing = { messageId: command[field.messageId], done, cancel }
  }

  private async perform(
    handler: OperationHandler,
    context: Context,
    command: Command,
    dataSet: Buffer | undefined,
    ended: AbortSignal,
  ): Promise<void> {
    try {
      await handler({
        command,
        context,
        association: this,
        dataSet: () => readIdentifier(context, dataSet),
        ended,
        respond: (code, more) => this.answer(context, command, code, more),
      })
    } catch (error) {
      if (this.ended) return // told by what reads the association
      if (error instanceof ProtocolError) {
        await this.answer(context, command, status.unableToProcess, { comment: error.message }).catch(() => {})
        return
      }
      this.options.log.error('an operation of an association failed', errorContext(error))
      await this.answer(context, command, 0x0110, { comment: 'the operation failed on our side' }).catch(() => {})
    }
  }

  private answer(
    context: Context,
    command: Command,
    code: number,
    { fields = {}, comment, dataSet }: { fields?: Command; comment?: string; dataSet?: DicomJson } = {},
  ): Promise<void> {
    const sopClass = command[field.affectedSopClassUid] ?? command[field.requestedSopClassUid]
    const instance = command[field.affectedSopInstanceUid] ?? command[field.requestedSopInstanceUid]
    return this.writer.send(
      context,
      {
        ...(sopClass === undefined ? {} : { [field.affectedSopClassUid]: sopClass }),
        [field.commandField]: (command[field.commandField] as number) | responseBit,
        [field.messageIdBeingRespondedTo]: command[field.messageId] ?? 0,
        [field.status]: code,
        ...(comment ? { [field.errorComment]: printable(comment).slice(0, 64) } : {}),
        ...(instance === undefined ? {} : { [field.affectedSopInstanceUid]: instance }),
        ...fields,
      },
      dataSet,
    )
  }
}
