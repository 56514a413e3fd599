import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { explicitVrLittleEndian, findTransferSyntax, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { isValidUid } from '../dicom/uid.js'
import type { Ingest } from '../ingest/index.js'
import { errorContext, type Log } from '../platform/log.js'
import type { Tls } from '../platform/secret.js'
import { allowsAddress } from './addresses.js'
import { Association, printable } from './association.js'
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
  verification,
} from './pdu.js'

export interface ScpOptions {
  host: string
  port: number
  aeTitle: string
  /** Who may associate; undefined: everybody. */
  peers: readonly { name: string; aeTitle: string; addresses?: readonly string[] | undefined }[] | undefined
  maxAssociations: number
  /** Associations are encrypted; with `ca`, only of peers with a certificate of that authority. */
  tls?: Tls | undefined
  /** A connection on which nothing moves for so long is given up. */
  idleSeconds: number
  ingest: Ingest
  log: Log
}

export interface Scp {
  port: number
  /** Takes no more associations, and waits for those that are open, a little. */
  stop(): Promise<void>
}

const artimMilliseconds = 30_000
const stopMilliseconds = 5000

/** Verification and Storage as SCP (PS3.4 A and B): what is stored is answered with success only when it is durable. */
export async function startScp(options: ScpOptions): Promise<Scp> {
  const { log } = options
  const open = new Map<Socket, Promise<void>>()
  const take = (socket: Socket) => {
    socket.on('error', () => {}) // told by what reads it
    socket.setTimeout(options.idleSeconds * 1000, () => socket.destroy())
    const served = serve(socket, options, () => open.size > options.maxAssociations)
      .catch(error => log.error('an association failed', errorContext(error)))
      .finally(() => {
        open.delete(socket)
        socket.destroySoon() // what was written last goes out first
      })
    open.set(socket, served)
  }
  const server = options.tls ? tlsServer(options.tls, take, log) : createServer({ noDelay: true }, take)
  await listen(server, options)
  return {
    port: (server.address() as { port: number }).port,
    async stop() {
      const closed = new Promise(resolve => server.close(resolve))
      const timer = setTimeout(() => {
        for (const socket of open.keys()) socket.destroy()
      }, stopMilliseconds)
      await Promise.all([closed, ...open.values()])
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

async function serve(socket: Socket, options: ScpOptions, tooMany: () => boolean): Promise<void> {
  const bytes = new ByteReader(socket)
  const artim = setTimeout(() => socket.destroy(), artimMilliseconds)
  let association: Association | undefined
  try {
    const request = await readRequest(bytes)
    clearTimeout(artim)
    const refused = whyRefused(request, socket, options, tooMany())
    if (refused) {
      options.log.warn('an association was refused', {
        callingAeTitle: printable(request.callingAeTitle),
        address: socket.remoteAddress,
        reason: refused.words,
      })
      socket.end(associateReject(refused.rejection))
      return
    }
    const contexts = request.contexts.map(answer)
    socket.write(associateAccept(request, contexts))
    const source = peerOf(request, socket, options.peers)?.name
    association = new Association(socket, bytes, request, contexts, { ...options, source })
    await association.run()
  } catch (error) {
    if (error instanceof ProtocolError) {
      options.log.warn('an association was aborted', { address: socket.remoteAddress, reason: error.message })
      socket.end(abort(association ? 2 : 6))
    } else if (!(error instanceof ConnectionEnded) && (error as NodeJS.ErrnoException).code === undefined) throw error
    await association?.wasCut(error as Error)
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
  { aeTitle, peers }: ScpOptions,
  tooMany: boolean,
): { rejection: readonly [number, number, number]; words: string } | undefined {
  if (tooMany) return { rejection: rejection.localLimit, words: 'too many associations are open' }
  if (request.applicationContext !== applicationContext)
    return { rejection: rejection.applicationContext, words: 'the application context is not that of DICOM' }
  if (request.calledAeTitle !== aeTitle)
    return { rejection: rejection.calledAeTitle, words: `we are ${aeTitle}, not ${printable(request.calledAeTitle)}` }
  if (peers && !peerOf(request, socket, peers))
    return { rejection: rejection.callingAeTitle, words: 'no source has this AE title and address' }
  return undefined
}

function peerOf(request: AssociateRequest, socket: Socket, peers: ScpOptions['peers']) {
  return peers?.find(
    peer => peer.aeTitle === request.callingAeTitle && allowsAddress(peer.addresses, socket.remoteAddress ?? ''),
  )
}

/** Storage SOP classes, those of the standard and private ones; and Verification. */
function isKnown(abstractSyntax: string): boolean {
  if (abstractSyntax === verification) return true
  if (/^1\.2\.840\.10008\.5\.1\.4\.1\.1(\.|$)/.test(abstractSyntax)) return true
  return isValidUid(abstractSyntax) && !abstractSyntax.startsWith('1.2.840.10008.')
}

/** The transfer syntax that costs no quality and needs no decoding, else the first that was proposed and is known. */
function answer({ id, abstractSyntax, transferSyntaxes }: ProposedContext): AnsweredContext {
  const fallback = transferSyntaxes[0] ?? implicitVrLittleEndian
  if (!isKnown(abstractSyntax)) return { id, result: contextResult.abstractSyntaxUnknown, transferSyntax: fallback }
  const known = transferSyntaxes.filter(uid => findTransferSyntax(uid))
  const best =
    known.find(uid => uid === explicitVrLittleEndian) ??
    known.find(uid => !findTransferSyntax(uid)!.lossy && uid !== implicitVrLittleEndian) ??
    known[0]
  return best
    ? { id, result: contextResult.accepted, transferSyntax: best }
    : { id, result: contextResult.transferSyntaxesUnknown, transferSyntax: fallback }
}
