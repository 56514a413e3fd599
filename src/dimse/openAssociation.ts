import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Log } from '../platform/log.js'
import type { DimsePeer } from '../platform/providerSettings.js'
import { readTls, type Tls } from '../platform/secret.js'
import { Association, type OperationHandler, type StoreReception } from './association.js'
import { ByteReader } from './byteReader.js'
import {
  abort,
  associateRequest,
  contextResult,
  maxAssociateLength,
  ProtocolError,
  pduType,
  type Role,
  readAssociateAccept,
  rejectionInWords,
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
export class Refused extends Error {}

/** A context to be proposed. */
export interface Proposal {
  abstractSyntax: string
  transferSyntaxes: readonly string[]
}

export interface OpenOptions {
  roles?: readonly Role[]
  store?: StoreReception
  operations?: ReadonlyMap<number, OperationHandler>
  log: Log
}

/** An association that we asked for. It is read in the background; `closed` is fulfilled when it has ended. */
export interface OpenAssociation {
  association: Association
  /** With the error that ended it; undefined if it was released. */
  closed: Promise<Error | undefined>
}

/**
 * Asks a peer for an association (PS3.8 7.1).
 * @throws Refused, ProtocolError, ConnectionEnded, or an error of the connection
 */
export async function openAssociation(
  peer: Peer,
  proposals: readonly Proposal[],
  { roles = [], store, operations = new Map(), log }: OpenOptions,
): Promise<OpenAssociation> {
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
    const proposed = proposals.map(({ abstractSyntax, transferSyntaxes }, i) => ({
      id: 2 * i + 1,
      abstractSyntax,
      transferSyntaxes: [...transferSyntaxes],
    }))
    socket.write(associateRequest(peer.aeTitle, peer.callingAeTitle, proposed, roles))
    const header = await bytes.exactly(6)
    const [type, length] = [header[0], header.readUInt32BE(2)]
    if (length > maxAssociateLength) throw new ProtocolError('the answer to the association request is too long')
    const body = await bytes.exactly(length)
    if (type === pduType.associateReject) {
      const words = rejectionInWords(body)
      throw body[1] === 2 ? new Error(words) : new Refused(words)
    }
    if (type !== pduType.associateAccept)
      throw new ProtocolError(`the association request was answered with a PDU of type ${type}`)
    const accept = readAssociateAccept(body)
    const contexts = accept.contexts.flatMap(({ id, result, transferSyntax }) => {
      const context = proposed.find(entry => entry.id === id)
      if (!context || result !== contextResult.accepted) return []
      return context.transferSyntaxes.includes(transferSyntax)
        ? [{ id, abstractSyntax: context.abstractSyntax, transferSyntax }]
        : []
    })
    if (contexts.length === 0) {
      socket.end(abort())
      const [first] = proposals
      throw new Refused(
        `it does not take objects of SOP class ${first!.abstractSyntax} in transfer syntax ${proposals.flatMap(entry => entry.transferSyntaxes).join(' or ')}`,
      )
    }
    const association = new Association(socket, bytes, contexts, {
      log,
      maxLength: accept.maxLength,
      store,
      operations,
    })
    const closed = association.run().then(
      () => undefined,
      (error: Error) => {
        socket.destroy()
        return error
      },
    )
    return { association, closed }
  } catch (error) {
    socket.destroySoon()
    throw error
  }
}
