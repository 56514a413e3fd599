import { access, constants, mkdir } from 'node:fs/promises'
import { connect, isIP } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { request } from 'undici'
import { checkEcho, checkHealth } from '../analysis/providers/health.js'
import type { Destination, Endpoints, StowDestination } from '../platform/endpoints.js'
import type { DimsePeer, ProviderSettings } from '../platform/providerSettings.js'
import { authorizationOf, readTls } from '../platform/secret.js'

/** One thing that was tried, in words. */
export interface TestStep {
  step: 'connection' | 'TLS' | 'C-ECHO' | 'OPTIONS' | 'QIDO-RS' | 'folder' | 'health' | 'embedded'
  ok: boolean
  detail: string
  /** What an administrator can do about it. */
  fix?: string
}

export interface EndpointTest {
  name: string
  kind: 'destination' | 'provider'
  ok: boolean
  steps: TestStep[]
}

type Echo = (peer: DimsePeer) => Promise<void>

const timeoutMilliseconds = 10_000

/** Tests whatever bears this name: first whether it can be reached, then whether it understands us. Steps end with the first that fails. */
export async function testEndpoint(name: string, endpoints: Endpoints, echo: Echo): Promise<EndpointTest | undefined> {
  const destination = endpoints.destinations.find(entry => entry.name === name)
  const provider = endpoints.providers.find(entry => entry.name === name)
  const steps = destination
    ? await testDestination(destination, echo)
    : provider
      ? await testProvider(provider, echo)
      : undefined
  if (!steps) return undefined
  return { name, kind: destination ? 'destination' : 'provider', ok: steps.every(({ ok }) => ok), steps }
}

export async function testDestination(destination: Destination, echo: Echo): Promise<TestStep[]> {
  if ('dimse' in destination) return testDimse(destination.dimse, echo)
  if ('stow' in destination) return testDicomweb(destination.stow)
  try {
    await mkdir(destination.folder, { recursive: true })
    await access(destination.folder, constants.W_OK)
    return [{ step: 'folder', ok: true, detail: 'it can be written' }]
  } catch (error) {
    const detail = `it cannot be written (${(error as NodeJS.ErrnoException).code})`
    return [{ step: 'folder', ok: false, detail, fix: 'Check the path and its rights.' }]
  }
}

export async function testProvider(provider: ProviderSettings, echo: Echo): Promise<TestStep[]> {
  if (provider.kind === 'reference') return [{ step: 'embedded', ok: true, detail: 'it runs within this service' }]
  if (provider.kind === 'dicom' && provider.dimse) return testDimse(provider.dimse, echo)
  const url = provider.kind === 'dicom' ? provider.stow!.url : provider.baseUrl
  // Through a proxy the machine itself need not be reachable from here.
  const reached = 'proxy' in provider && provider.proxy ? [] : await reach(url)
  if (reached.some(({ ok }) => !ok)) return reached
  const health = await checkHealth(provider, echo)
  return [
    ...reached,
    'problem' in health
      ? { step: 'health', ok: false, detail: health.problem, fix: health.fix }
      : { step: 'health', ok: true, detail: health.says },
  ]
}

async function testDimse(peer: DimsePeer, echo: Echo): Promise<TestStep[]> {
  const connection = await tryConnection(peer.host, peer.port)
  if (!connection.ok) return [connection]
  const tls = peer.tls ? [await tryTls(peer.host, peer.port, readTls(peer.tls))] : []
  if (tls.some(({ ok }) => !ok)) return [connection, ...tls]
  const health = await checkEcho(peer, echo)
  const answered: TestStep =
    'problem' in health
      ? { step: 'C-ECHO', ok: false, detail: health.problem, fix: health.fix }
      : { step: 'C-ECHO', ok: true, detail: health.says }
  return [connection, ...tls, answered]
}

async function testDicomweb(stow: StowDestination['stow']): Promise<TestStep[]> {
  const reached = await reach(stow.url)
  if (reached.some(({ ok }) => !ok)) return reached
  const address = `${stow.url.replace(/\/$/, '')}/studies`
  try {
    const { statusCode, body } = await request(`${address}?limit=1`, {
      headers: { Accept: 'application/dicom+json', ...authorizationOf(stow) },
      headersTimeout: timeoutMilliseconds,
      bodyTimeout: timeoutMilliseconds,
    })
    await body.dump()
    return [...reached, judgeQido(statusCode)]
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const fix = 'Check the address, and that its token or password can be read.'
    return [...reached, { step: 'QIDO-RS', ok: false, detail: `it gave no answer (${code ?? message})`, fix }]
  }
}

function judgeQido(status: number): TestStep {
  if (status === 200 || status === 204) return { step: 'QIDO-RS', ok: true, detail: 'it answers a search' }
  const detail = `it answers ${status} to a search`
  if (status === 401 || status === 403) {
    const fix = 'Check the token, or the user and password, of this destination.'
    return { step: 'QIDO-RS', ok: false, detail: `it refuses our credentials (${status})`, fix }
  }
  const fix = 'Check that the address ends where /studies follows, often in /dicom-web.'
  return { step: 'QIDO-RS', ok: false, detail, fix }
}

async function reach(url: string): Promise<TestStep[]> {
  const { hostname, port, protocol } = new URL(url)
  const isTls = protocol === 'https:'
  const host = hostname.replace(/^\[|\]$/g, '')
  const number = port === '' ? (isTls ? 443 : 80) : Number(port)
  const connection = await tryConnection(host, number)
  return connection.ok && isTls ? [connection, await tryTls(host, number, {})] : [connection]
}

const reasons: Readonly<Record<string, readonly [detail: string, fix: string]>> = {
  ENOTFOUND: [
    'the name of the machine is not known',
    'Check how the host is spelled, and the name service of this machine.',
  ],
  EAI_AGAIN: ['the name service did not answer', 'Check the name service of this machine.'],
  ECONNREFUSED: [
    'the machine answers, but nothing listens on this port',
    'Check the port, and that the program runs there.',
  ],
  ETIMEDOUT: ['the machine does not answer', 'Check the host, and the firewall between here and there.'],
  EHOSTUNREACH: ['there is no way to this machine', 'Check the host, and the network between here and there.'],
  ENETUNREACH: ['there is no way to this network', 'Check the host, and the network of this machine.'],
}

function tryConnection(host: string, port: number): Promise<TestStep> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: timeoutMilliseconds })
    const end = (step: TestStep) => {
      socket.destroy()
      resolve(step)
    }
    const failed = (code: string) => {
      const [detail, fix] = reasons[code] ?? [`no connection (${code})`, 'Check host and port.']
      end({ step: 'connection', ok: false, detail: `${host}:${port}: ${detail}`, fix })
    }
    socket.once('connect', () => end({ step: 'connection', ok: true, detail: `${host}:${port} takes connections` }))
    socket.once('timeout', () => failed('ETIMEDOUT'))
    socket.once('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message))
  })
}

function tryTls(host: string, port: number, tls: ConnectionOptions): Promise<TestStep> {
  return new Promise(resolve => {
    const socket = connectTls({
      host,
      port,
      ...(isIP(host) ? {} : { servername: host }),
      timeout: timeoutMilliseconds,
      minVersion: 'TLSv1.2',
      ...tls,
    })
    const end = (step: TestStep) => {
      socket.destroy()
      resolve(step)
    }
    const failed = (detail: string, fix: string) => end({ step: 'TLS', ok: false, detail, fix })
    socket.once('secureConnect', () => {
      const { valid_to: until } = socket.getPeerCertificate()
      end({ step: 'TLS', ok: true, detail: `${socket.getProtocol()}, its certificate is valid until ${until}` })
    })
    socket.once('timeout', () => failed('it does not speak TLS', 'Check the port, or leave out TLS.'))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? ''
      if (/CERT|SELF_SIGNED|ISSUER|SIGNATURE/.test(code))
        failed(
          `its certificate is not trusted (${code})`,
          'Name the authority that signed it (tls.ca, or NODE_EXTRA_CA_CERTS), or have the certificate renewed.',
        )
      else
        failed(
          `no TLS connection (${code || error.message})`,
          'Check that it speaks TLS on this port, and asks for no other certificate.',
        )
    })
  })
}
