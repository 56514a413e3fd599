import type { DicomJson } from '../dicom/dicomJson.js'
import { ConnectionEnded } from './byteReader.js'
import { type Command, commandField, field, isPending } from './command.js'
import { readIdentifier } from './identifier.js'
import type { Context, MessageWriter } from './messageWriter.js'

/** An answer to what we asked for. */
export interface DimseResponse {
  status: number
  comment: string
  command: Command
  dataSet?: DicomJson
}

/** What we have asked the other side of an association for, and who waits for its answers (PS3.7 8). */
export class AskedOperations {
  private readonly waiting = new Map<number, (answer: DimseResponse | Error) => void>()
  private messageId = 0
  private ended = false

  constructor(private readonly writer: MessageWriter) {}

  /** Asks the other side, and gives its answers as they come; the last one has no pending status. Who stops taking them cancels the operation (C-CANCEL). @throws if the association ends */
  async *ask(
    context: Context,
    command: Command,
    dataSet?: DicomJson | AsyncIterable<Buffer>,
  ): AsyncGenerator<DimseResponse> {
    if (this.ended) throw new ConnectionEnded()
    this.messageId = (this.messageId % 65_535) + 1
    const messageId = this.messageId
    const queue: (DimseResponse | Error)[] = []
    let wake = () => {}
    let going = false
    this.waiting.set(messageId, answer => {
      queue.push(answer)
      wake()
    })
    try {
      await this.writer.send(context, { ...command, [field.messageId]: messageId }, dataSet)
      for (;;) {
        const answer = queue.shift()
        if (!answer) {
          await new Promise<void>(resolve => {
            wake = resolve
          })
          continue
        }
        if (answer instanceof Error) throw answer
        going = isPending(answer.status)
        yield answer
        if (!going) return
      }
    } finally {
      this.waiting.delete(messageId)
      if (going && !this.ended) void this.cancel(context, messageId).catch(() => {})
    }
  }

  /** An answer has come. One that nobody waits for any more is dropped. @throws ProtocolError */
  take(context: Context, command: Command, dataSet: Buffer | undefined): void {
    this.waiting.get(command[field.messageIdBeingRespondedTo] as number)?.(responseOf(context, command, dataSet))
  }

  /** The association has ended: nothing more is answered. */
  end(error: Error): void {
    this.ended = true
    for (const take of this.waiting.values()) take(error)
  }

  private cancel(context: Context, messageId: number): Promise<void> {
    const command = { [field.commandField]: commandField.cCancelRequest, [field.messageIdBeingRespondedTo]: messageId }
    return this.writer.send(context, command)
  }
}

function responseOf(context: Context, command: Command, dataSet: Buffer | undefined): DimseResponse {
  return {
    status: Number(command[field.status] ?? 0x0110),
    comment: String(command[field.errorComment] ?? ''),
    command,
    ...(dataSet && dataSet.length > 0 ? { dataSet: readIdentifier(context, dataSet) } : {}),
  }
}
