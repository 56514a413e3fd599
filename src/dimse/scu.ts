import { createReadStream } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Deliverer, DeliveryOutcome, ObjectToDeliver } from '../delivery/index.js'
import { parseDataSet } from '../dicom/part10.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { reason } from '../dicom/reasons.js'
import { rewriteDataSet } from '../dicom/rewrite.js'
import { explicitVrLittleEndian, findTransferSyntax, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import type { DimsePeer } from '../platform/providerSettings.js'
import { readTls, type Tls } from '../platform/secret.js'
import { ByteReader, ConnectionEnded } from './byteReader.js'
import { type Command, commandField, decodeCommand, encodeCommand, field, noDataSet } from './command.js'
import {
  associateRequest,
  contextResult,
  dataHeader,
  maxAssociateLength,
  ProtocolError,
  pduType,
  readAssociateAccept,
  rejectionInWords,
  releaseRequest,
  verification,
} from './pdu.js'

/** A remote application entity, and who we are to it. */
export interface Peer {
  aeTitle: string
  host: string
  port: number
  callingAeTitle: string
  /** Of the connection, and of each answer. */
  timeoutSeconds: number
  tls?: Tls | undefined
}

/** The peer that a destination names. @throws Error naming a file that cannot be read */
export function peerOf({ tls, callingAeTitle, ...peer }: DimsePeer, ownAeTitle: string): Peer {
  return { ...peer, callingAeTitle: callingAeTitle ?? ownAeTitle, ...(tls ? { tls: readTls(tls) } : {}) }
}

/** The peer refuses what was asked for, and would again. */
class Refused extends Error {}

const hasDataSet = 0x0001
const smallestFragment = 1024
const longestFragment = 128 * 1024

/** An association with one presentation context, for as long as it is used. */
class OpenAssociation {
  private messageId = 0

  private constructor(
    private readonly socket: Socket,
    private readonly bytes: ByteReader,
    private readonly contextId: number,
    private readonly maxLength: number,
    /** That the peer accepted. */
    readonly transferSyntax: string,
  ) {}

  /**
   * @param transferSyntaxes the best one first, each proposed by itself
   * @throws Refused, ProtocolError, ConnectionEnded, or an error of the connection
   */
  static async open(peer: Peer, abstractSyntax: string, transferSyntaxes: readonly string[]): Promise<OpenAssociation> {
    const { host, port, tls } = peer
    const socket = tls
      ? connectTls({ host, port, ...tls, minVersion: 'TLSv1.2' })
      : connect({ host, port, noDelay: true })
    socket.setTimeout(peer.timeoutSeconds * 1000, () =>
      socket.destroy(new Error(`no answer within ${peer.timeoutSeconds} s`)),
    )
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once(tls ? 'secureConnect' : 'connect', resolve)
        socket.once('error', reject)
      })
      socket.on('error', () => {}) // told by what reads it
      const bytes = new ByteReader(socket)
      const contexts = transferSyntaxes.map((uid, i) => ({ id: 2 * i + 1, abstractSyntax, transferSyntaxes: [uid] }))
      socket.write(associateRequest(peer.aeTitle, peer.callingAeTitle, contexts))
      const header = await bytes.exactly(6)
      const length = header.readUInt32BE(2)
      if (length > maxAssociateLength) throw new ProtocolError('the answer to the association request is too long')
      const body = await bytes.exactly(length)
      if (header[0] === pduType.associateReject) {
        const words = rejectionInWords(body)
        throw body[1] === 2 ? new Error(words) : new Refused(words)
      }
      if (header[0] !== pduType.associateAccept)
        throw new ProtocolError(`the association request was answered with a PDU of type ${header[0]}`)
      const accept = readAssociateAccept(body)
      const context = contexts.find(({ id }) =>
        accept.contexts.some(entry => entry.id === id && entry.result === contextResult.accepted),
      )
      if (!context)
        throw new Refused(
          `it does not take objects of SOP class ${abstractSyntax} in transfer syntax ${transferSyntaxes.join(' or ')}`,
        )
      return new OpenAssociation(socket, bytes, context.id, accept.maxLength, context.transferSyntaxes[0]!)
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Sends a command, with the data set if it has one, and waits for its response. @returns Status (0000,0900) and Error Comment */
  async perform(command: Command, dataSet?: AsyncIterable<Buffer>): Promise<{ status: number; comment: string }> {
    this.messageId = (this.messageId % 65_535) + 1
    const bytes = encodeCommand({
      ...command,
      [field.messageId]: this.messageId,
      [field.commandDataSetType]: dataSet ? hasDataSet : noDataSet,
    })
    await this.write(Buffer.concat([dataHeader(this.contextId, bytes.length, true, true), bytes]))
    if (dataSet) await this.sendDataSet(dataSet)
    return this.response()
  }

  release(): void {
    this.socket.end(releaseRequest)
    setTimeout(() => this.socket.destroy(), 1000).unref()
  }

  destroy(): void {
    this.socket.destroy()
  }

  private async sendDataSet(dataSet: AsyncIterable<Buffer>): Promise<void> {
    const room = this.maxLength === 0 ? longestFragment : this.maxLength - 6
    const size = Math.max(smallestFragment, Math.min(longestFragment, room))
    let held: Buffer | undefined // the last fragment says that it is
    for await (const chunk of dataSet) {
      for (let at = 0; at < chunk.length; at += size) {
        if (held) await this.fragment(held, false)
        held = chunk.subarray(at, at + size)
      }
    }
    await this.fragment(held ?? Buffer.alloc(0), true)
  }

  private fragment(bytes: Buffer, isLast: boolean): Promise<void> {
    this.socket.cork()
    this.socket.write(dataHeader(this.contextId, bytes.length, false, isLast))
    const written = this.write(bytes)
    this.socket.uncork()
    return written
  }

  /** Waits while the network is slower than we are. */
  private async write(bytes: Buffer): Promise<void> {
    if (this.socket.destroyed) throw new ConnectionEnded()
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

  private async response(): Promise<{ status: number; comment: string }> {
    const parts: Buffer[] = []
    for (;;) {
      const header = await this.bytes.exactly(6)
      const length = header.readUInt32BE(2)
      if (header[0] === pduType.abort) throw new Error('the association was aborted')
      if (header[0] !== pduType.data || length > maxAssociateLength)
        throw new ProtocolError(`a PDU of type ${header[0]} is not expected here`)
      const body = await this.bytes.exactly(length)
      for (let at = 0; at + 6 <= body.length; at += 4 + body.readUInt32BE(at)) {
        const size = body.readUInt32BE(at)
        if ((body[at + 5]! & 1) === 0) continue // a data set that nobody asked for
        parts.push(body.subarray(at + 6, at + 4 + size))
        if ((body[at + 5]! & 2) === 0) continue
        const command = decodeCommand(Buffer.concat(parts))
        return {
          status: Number(command[field.status] ?? 0x0110),
          comment: String(command[field.errorComment] ?? ''),
        }
      }
    }
  }
}

/** C-ECHO (PS3.7 9.1.5). @throws Error in words */
export async function echo(peer: Peer): Promise<void> {
  const association = await OpenAssociation.open(peer, verification, [implicitVrLittleEndian])
  try {
    const { status } = await association.perform({
      [field.affectedSopClassUid]: verification,
      [field.commandField]: commandField.cEchoRequest,
    })
    if (status !== 0) throw new Error(`C-ECHO was answered with status ${hex(status)}`)
    association.release()
  } catch (error) {
    association.destroy()
    throw error
  }
}

const keptMilliseconds = 3000

interface Kept {
  association: OpenAssociation
  timer: NodeJS.Timeout
}

/**
 * Delivers objects by C-STORE as they are, byte for byte, in the transfer syntax that they are stored in. An association is kept a little while for the next object of
 * the same kind.
 */
export function storeScu(peer: Peer): Deliverer {
  const kept = new Map<string, Kept>()
  const take = async (sopClassUid: string, transferSyntax: string) => {
    const key = `${sopClassUid} ${transferSyntax}`
    const known = kept.get(key)
    if (!known)
      return { association: await OpenAssociation.open(peer, sopClassUid, proposed(transferSyntax)), fresh: true }
    kept.delete(key)
    clearTimeout(known.timer)
    return { association: known.association, fresh: false }
  }
  const keep = (sopClassUid: string, transferSyntax: string, association: OpenAssociation) => {
    const key = `${sopClassUid} ${transferSyntax}`
    if (kept.has(key)) {
      association.release()
      return
    }
    const timer = setTimeout(() => {
      kept.delete(key)
      association.release()
    }, keptMilliseconds)
    kept.set(key, { association, timer })
  }
  const deliver = async (object: ObjectToDeliver): Promise<DeliveryOutcome> => {
    const { transferSyntax, dataSetOffset } = await placeOf(object.path)
    for (;;) {
      const { association, fresh } = await take(object.sopClassUid, transferSyntax)
      try {
        const answer = await association.perform(
          {
            [field.affectedSopClassUid]: object.sopClassUid,
            [field.commandField]: commandField.cStoreRequest,
            [field.priority]: 0,
            [field.affectedSopInstanceUid]: object.sopInstanceUid,
          },
          association.transferSyntax === transferSyntax
            ? (createReadStream(object.path, {
                start: dataSetOffset,
                highWaterMark: longestFragment,
              }) as AsyncIterable<Buffer>)
            : implicitly(object.path, dataSetOffset),
        )
        keep(object.sopClassUid, transferSyntax, association)
        return judge(answer.status, answer.comment)
      } catch (error) {
        association.destroy()
        if (fresh) throw error
        // The peer has given up an association that was kept: with a new one it may succeed.
      }
    }
  }
  return {
    async deliver(object) {
      try {
        return await deliver(object)
      } catch (error) {
        if (error instanceof Refused) return { outcome: 'refused', detail: error.message }
        const { code, message } = error as NodeJS.ErrnoException
        return { outcome: 'failed', detail: code ? `no answer (${code})` : message }
      }
    },
    async close() {
      for (const { association, timer } of kept.values()) {
        clearTimeout(timer)
        association.release()
      }
      kept.clear()
    },
  }
}

/** Some PACS know Implicit VR Little Endian only: what is not compressed can be given so. */
function proposed(transferSyntax: string): string[] {
  return transferSyntax === explicitVrLittleEndian ? [transferSyntax, implicitVrLittleEndian] : [transferSyntax]
}

/** The data set in Implicit VR Little Endian; values stay as they are. */
async function* implicitly(path: string, dataSetOffset: number): AsyncGenerator<Buffer> {
  const parsed = parseDataSet(await readFile(path), dataSetOffset, findTransferSyntax(explicitVrLittleEndian)!, true)
  if (!('dataSet' in parsed)) throw new Refused('the object cannot be read')
  yield rewriteDataSet(parsed.dataSet, false, new Map(), { implicit: true })
}

async function placeOf(path: string): Promise<{ transferSyntax: string; dataSetOffset: number }> {
  const file = await open(path, 'r')
  try {
    const { outcome } = await readHeaderOf(file)
    if (outcome.outcome === 'refused') throw new Refused(outcome.detail)
    return { transferSyntax: outcome.header.transferSyntax.uid, dataSetOffset: outcome.header.dataSetOffset }
  } finally {
    await file.close()
  }
}

const hex = (status: number) => status.toString(16).toUpperCase().padStart(4, '0')

/** What a C-STORE status says (PS3.4 table B.2-1). */
export function judge(status: number, comment: string): DeliveryOutcome {
  const said = comment ? `: ${comment}` : ''
  if (status === 0) return { outcome: 'delivered', detail: 'stored (C-STORE 0000)' }
  if ((status & 0xf000) === 0xb000 || status === 0x0001 || status === 0x0107 || status === 0x0116)
    return { outcome: 'delivered', detail: `stored with warning ${hex(status)}${said}` }
  if (status === reason.duplicateSopInstance)
    return { outcome: 'delivered', detail: 'it was there already (C-STORE 0111)' }
  const detail = `the destination answered C-STORE with ${hex(status)}${said}`
  return (status & 0xff00) === 0xa700 ? { outcome: 'failed', detail } : { outcome: 'refused', detail }
}
