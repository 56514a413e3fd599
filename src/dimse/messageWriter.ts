import type { Socket } from 'node:net'
import type { DicomJson } from '../dicom/dicomJson.js'
import { implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { writeDataSetBytes } from '../dicom/writePart10.js'
import { ConnectionEnded } from './byteReader.js'
import { type Command, encodeCommand, field, noDataSet } from './command.js'
import { dataHeader } from './pdu.js'

/** A presentation context that both sides agreed on. */
export interface Context {
  id: number
  abstractSyntax: string
  transferSyntax: string
}

const hasDataSet = 0x0001
const smallestFragment = 1024
const longestFragment = 128 * 1024

/** Writes messages, commands with or without data sets, as fragments that the other side takes (PS3.8 9.3.5, annex E). */
export class MessageWriter {
  private sending: Promise<void> = Promise.resolve()

  /** @param maxLength longest P-DATA that the other side takes; 0: any */
  constructor(
    private readonly socket: Socket,
    private readonly maxLength: number,
  ) {}

  /** Sends a message when those before it have been sent: fragments of two never mix. */
  send(context: Context, command: Command, dataSet?: DicomJson | AsyncIterable<Buffer>): Promise<void> {
    const sent = this.sending.then(() => this.sendNow(context, command, dataSet))
    this.sending = sent.catch(() => {})
    return sent
  }

  private async sendNow(
    context: Context,
    command: Command,
    dataSet?: DicomJson | AsyncIterable<Buffer>,
  ): Promise<void> {
    const bytes = encodeCommand({ ...command, [field.commandDataSetType]: dataSet ? hasDataSet : noDataSet })
    const head = Buffer.concat([dataHeader(context.id, bytes.length, true, true), bytes])
    if (!dataSet) return this.write(head)
    if (Symbol.asyncIterator in dataSet) {
      await this.write(head)
      return this.sendFragments(context, dataSet as AsyncIterable<Buffer>)
    }
    const implicit = context.transferSyntax === implicitVrLittleEndian
    const encoded = writeDataSetBytes(dataSet as DicomJson, implicit)
    const size = this.fragmentSize()
    const parts: Buffer[] = [head]
    for (let at = 0; at === 0 || at < encoded.length; at += size) {
      const fragment = encoded.subarray(at, at + size)
      parts.push(dataHeader(context.id, fragment.length, false, at + size >= encoded.length), fragment)
    }
    return this.write(Buffer.concat(parts))
  }

  private async sendFragments(context: Context, dataSet: AsyncIterable<Buffer>): Promise<void> {
    const size = this.fragmentSize()
    let held: Buffer | undefined // the last fragment says that it is
    for await (const chunk of dataSet) {
      for (let at = 0; at < chunk.length; at += size) {
        if (held) await this.fragment(context, held, false)
        held = chunk.subarray(at, at + size)
      }
    }
    await this.fragment(context, held ?? Buffer.alloc(0), true)
  }

  private fragmentSize(): number {
    const room = this.maxLength === 0 ? longestFragment : this.maxLength - 6
    return Math.max(smallestFragment, Math.min(longestFragment, room))
  }

  private fragment(context: Context, bytes: Buffer, isLast: boolean): Promise<void> {
    this.socket.cork()
    this.socket.write(dataHeader(context.id, bytes.length, false, isLast))
    const written = this.write(bytes)
    this.socket.uncork()
    return written
  }

  /** Waits while the network is slower than we are. */
  private async write(bytes: Buffer): Promise<void> {
    if (this.socket.destroyed || this.socket.writableEnded) throw new ConnectionEnded()
    if (this.socket.write(bytes)) return
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error) => {
        this.socket.off('drain', onDrain)
        this.socket.off('close', onClose)
        if (error) reject(error)
        else resolve()
      }
      const onDrain = () => done()
      const onClose = () => done(new ConnectionEnded())
      this.socket.once('drain', onDrain)
      this.socket.once('close', onClose)
    })
  }
}
