import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { explicitVrLittleEndian, findTransferSyntax, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import type { Ingest } from '../ingest/index.js'
import { errorContext, type Log } from '../platform/log.js'
import { metrics } from '../platform/metrics.js'
import type { Tls } from '../platform/secret.js'
import { allowsAddress } from './addresses.js'
import { Association, type OperationHandler, printable } from './association.js'
import { ByteReader, ConnectionEnded } from './byteReader.js'
import {
  type AnsweredContext,
  type AssociateRequest,
  abort,
  applicationContext,
  associateAccept,
  associateReject,
  contextResult,
  maxAssociateLength,
  type ProposedContext,
  ProtocolError,
  pduType,
  readAssociateRequest,
  rejection,
} from './pdu.js'
import { isStorageClass, service } from './sopClasses.js'
import { StoreScp } from './storeScp.js'

/** Who may associate. */
export interface ScpPeer {
  name: string
  aeTitle: string
  addresses?: readonly string[] | undefined
  rules?: { sopClasses?: readonly string[] | undefined } | undefined
}

export interface ScpOptions {
  host: string
  port: number
  aeTitle: string
  /** Who may associate, now; undefined: everybody. */
  peers(): readonly ScpPeer[] | undefined
  /** Told of an association that was refused. */
  refused?(callingAeTitle: string, address: string | undefined, why: string): void
  /** What a caller may ask for besides C-STORE and C-ECHO, by command field. */
  operations(caller: Caller): ReadonlyMap<number, OperationHandler>
  /** The source that instances of a study count for which we have asked another archive for by C-MOVE. */
  movedFor?: (study: string) => Promise<string | undefined>
  maxAssociations: number
  /** Associations are encrypted; with `ca`, only of peers with a certificate of that authority. */
  tls?: Tls | undefined
  /** A connection on which nothing moves for so long is given up. */
  idleSeconds: number
  ingest: Ingest
  log: Log
}

/** Who has asked for an association. */
export interface Caller {
  aeTitle: string
  /** Name of the source that it is. */
  source: string | undefined
}

export interface Scp {
  port: number
  /** Takes another certificate for associations from now on. */
  useTls(tls: Tls): void
  /** Takes no more associations, and waits for those that are open, a little. */
  stop(): Promise<void>
}

const artimMilliseconds = 30_000
const stopMilliseconds = 30_000
/** When the service stops, an association on which nothing has moved for so long is ended: the next one is another node's. */
const quietMilliseconds = 500

/** Listens for associations (PS3.8): Verification, Storage, and what `operations` add to them. */
export async function startScp(options: ScpOptions): Promise<Scp> {
  const { log } = options
  const open = new Map<Socket, Promise<void>>()
  const stopped = new WeakSet<Socket>()
  const take = (socket: Socket) => {
    socket.on('error', () => {}) // told by what reads it
    socket.setTimeout(options.idleSeconds * 1000, () => socket.destroy())
    const served = serve(
      socket,
      options,
      () => open.size > options.maxAssociations,
      () => stopped.has(socket),
    )
      .catch(error => log.error('an association failed', errorContext(error)))
      .finally(() => {
        metrics.openAssociations.dec()
        open.delete(socket)
        socket.destroySoon() // what was written last goes out first
      })
    open.set(socket, served)
    metrics.openAssociations.inc()
  }
  const server = options.tls ? tlsServer(options.tls, take, log) : createServer({ noDelay: true }, take)
  await listen(server, options)
  return {
    port: (server.address() as { port: number }).port,
    useTls: tls => (server as Partial<TlsServer>).setSecureContext?.(tls),
    async stop() {
      const closed = new Promise(resolve => server.close(resolve))
      const moved = new Map<Socket, number>()
      const endQuiet = setInterval(() => {
        for (const socket of open.keys()) {
          const bytes = socket.bytesRead + socket.bytesWritten
          if (moved.get(socket) === bytes) {
            stopped.add(socket)
            socket.end(abort(0))
          }
          moved.set(socket, bytes)
        }
      }, quietMilliseconds)
      const timer = setTimeout(() => {
        for (const socket of open.keys()) socket.destroy()
      }, stopMilliseconds)
      await Promise.all([closed, ...open.values()])
      clearInterval(endQuiet)
      clearTimeout(timer)
    },
  }
}

/** TLS 1.2 or newer (PS3.15 B.12). */
function tlsServer(tls: Tls, take: (socket: Socket) => void, log: Log): Server {
  const known = tls.ca !== undefined
  const server = createTlsServer(
    { ...tls, minVersion: 'TLSv1.2', requestCert: known, rejectUnauthorized: known, noDelay: true },
    take,
  )
  server.on('tlsClientError', (error, socket) => {
    log.warn('a TLS connection was refused', { address: socket.remoteAddress, reason: error.message })
    socket.destroy()
  })
  return server
}

function listen(server: Server, { host, port }: ScpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function serve(
  socket: Socket,
  options: ScpOptions,
  tooMany: () => boolean,
  endedByUs: () => boolean,
): Promise<void> {
  const { log, ingest } = options
  const bytes = new ByteReader(socket)
  const artim = setTimeout(() => socket.destroy(), artimMilliseconds)
  let store: StoreScp | undefined
  let told: object = {}
  try {
    const request = await readRequest(bytes)
    clearTimeout(artim)
    const refused = whyRefused(request, socket, options, tooMany())
    const callingAeTitle = printable(request.callingAeTitle)
    metrics.associations.inc({ outcome: refused ? 'refused' : 'accepted' })
    if (refused) {
      log.warn('an association was refused', { callingAeTitle, address: socket.remoteAddress, reason: refused.words })
      options.refused?.(callingAeTitle, socket.remoteAddress, refused.words)
      socket.end(associateReject(refused.rejection))
      return
    }
    told = { callingAeTitle }
    const peer = peerOf(request, socket, options.peers())
    const answered = request.contexts.map(context => answer(context, peer))
    const accepted = answered
      .filter(({ result }) => result === contextResult.accepted)
      .map(({ id, transferSyntax }) => ({
        id,
        transferSyntax,
        abstractSyntax: request.contexts.find(entry => entry.id === id)!.abstractSyntax,
      }))
    // The peer may take the other role where we can, too: C-GET asks us to be SCU of Storage, and reports of Storage Commitment come from an SCP.
    const roles = request.roles.filter(({ abstractSyntax }) =>
      accepted.some(context => context.abstractSyntax === abstractSyntax),
    )
    socket.write(associateAccept(request, answered, roles))
    const from = peer?.name
    store = new StoreScp({ ingest, log, source: from, movedFor: options.movedFor, aeTitle: options.aeTitle })
    const caller = { aeTitle: request.callingAeTitle, source: from }
    const association = new Association(socket, bytes, accepted, {
      log,
      maxLength: request.maxLength,
      store,
      operations: options.operations(caller),
    })
    await association.run()
    log.info('an association was released', { ...told, ...store.counts() })
  } catch (error) {
    if (error instanceof ProtocolError) {
      log.warn('an association was aborted', { address: socket.remoteAddress, reason: error.message })
      socket.end(abort(store ? 2 : 6))
    } else if (!(error instanceof ConnectionEnded) && (error as NodeJS.ErrnoException).code === undefined) throw error
    if (endedByUs() && !store?.isReceiving) {
      log.info('an association was ended, since the service stops', { ...told, ...store?.counts() })
      return
    }
    metrics.associations.inc({ outcome: 'broken' })
    await store?.wasCut(error as Error, told)
  } finally {
    clearTimeout(artim)
  }
}

async function readRequest(bytes: ByteReader): Promise<AssociateRequest> {
  const header = await bytes.exactly(6)
  const length = header.readUInt32BE(2)
  if (header[0] !== pduType.associateRequest)
    throw new ProtocolError('the connection does not begin with an association request')
  if (length > maxAssociateLength) throw new ProtocolError('the association request is too long')
  return readAssociateRequest(await bytes.exactly(length))
}

function whyRefused(
  request: AssociateRequest,
  socket: Socket,
  { aeTitle, peers: allowed }: ScpOptions,
  tooMany: boolean,
): { rejection: readonly [number, number, number]; words: string } | undefined {
  if (tooMany) return { rejection: rejection.localLimit, words: 'too many associations are open' }
  if (request.applicationContext !== applicationContext)
    return { rejection: rejection.applicationContext, words: 'the application context is not that of DICOM' }
  if (request.calledAeTitle !== aeTitle)
    return { rejection: rejection.calledAeTitle, words: `we are ${aeTitle}, not ${printable(request.calledAeTitle)}` }
  const peers = allowed()
  if (peers && !peerOf(request, socket, peers))
    return { rejection: rejection.callingAeTitle, words: 'no source has this AE title and address' }
  return undefined
}

function peerOf(request: AssociateRequest, socket: Socket, peers: readonly ScpPeer[] | undefined): ScpPeer | undefined {
  return peers?.find(
    peer => peer.aeTitle === request.callingAeTitle && allowsAddress(peer.addresses, socket.remoteAddress ?? ''),
  )
}

/** What we are SCP of besides Storage; and SCU of, for those who ask for the other role. */
const offered: ReadonlySet<string> = new Set(Object.values(service))

/** The transfer syntax that costs no quality and needs no decoding, else the first that was proposed and is known. */
function answer({ id, abstractSyntax, transferSyntaxes }: ProposedContext, peer: ScpPeer | undefined): AnsweredContext {
  const fallback = transferSyntaxes[0] ?? implicitVrLittleEndian
  const storage = isStorageClass(abstractSyntax)
  const allowed = storage ? (peer?.rules?.sopClasses?.includes(abstractSyntax) ?? true) : offered.has(abstractSyntax)
  if (!allowed) return { id, result: contextResult.abstractSyntaxUnknown, transferSyntax: fallback }
  const known = transferSyntaxes.filter(uid => findTransferSyntax(uid))
  const native = known.filter(uid => uid === explicitVrLittleEndian || uid === implicitVrLittleEndian)
  const best = storage
    ? (known.find(uid => uid === explicitVrLittleEndian) ??
      known.find(uid => !findTransferSyntax(uid)!.lossy && uid !== implicitVrLittleEndian) ??
      known[0])
    : native[0]
  return best
    ? { id, result: contextResult.accepted, transferSyntax: best }
    : { id, result: contextResult.transferSyntaxesUnknown, transferSyntax: fallback }
}
