import { type Dispatcher, ProxyAgent, request } from 'undici'
import { PixelProblem } from '../../pixels/imageDescription.js'
import type { Queryable } from '../../platform/database.js'
import { httpAgent } from '../../platform/httpAgent.js'
import { parseJsonText } from '../../platform/jsonText.js'
import { retryAfterSeconds } from '../../platform/retryAfter.js'
import type { Tls } from '../../platform/secret.js'
import { inSpan } from '../../platform/tracing.js'
import { ProviderProblem } from '../provider.js'
import { RequestFailed } from './askForAll.js'
import { Gate, GateClosed } from './gate.js'
import type { InThread, Prepare } from './preparation.js'

/** What all providers that are called by HTTP have in common. */
export interface RemoteSettings {
  name: string
  /** Without a slash at its end. */
  baseUrl: string
  apiKey?: string | undefined
  /** Of one request. */
  timeoutSeconds: number
  concurrency: number
  requestsPerMinute?: number | undefined
  unitsPerMinute?: number | undefined
  /** So many failures in a row, and the provider is left alone for so long. */
  breaker: { failures: number; openSeconds: number }
  /** Address of an HTTP proxy. */
  proxy?: string | undefined
  /** PEM: who is trusted, and who we are. */
  tls?: Tls | undefined
}

/** What clients of remote providers work with. */
export interface RemoteParts {
  database: Queryable
  /** Number of the node that calls (platform/nodeLiveness.ts). */
  node?: number
  prepare: Prepare
  inThread: InThread
}

export interface Call {
  method?: 'GET' | 'POST'
  /** Below the base address; or `address`: one that the provider gave, absolute or relative. */
  path?: string
  address?: string
  headers?: Record<string, string>
  body?: () => Dispatcher.DispatchOptions['body']
  signal: AbortSignal
  /** Units that an answer says it has used. */
  unitsOf?: (answer: Answer) => number
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  bytes: Buffer
}

/** An answer longer than that is not read. */
const maxAnswerBytes = 64 * 1024 * 1024

/** The HTTP side of a remote provider: keep-alive connections, time-outs, and the gate that all nodes share. */
export class Remote {
  private readonly agent: Dispatcher
  private readonly gate: Gate

  constructor(
    private readonly settings: RemoteSettings,
    { database, node }: Pick<RemoteParts, 'database' | 'node'>,
  ) {
    const { timeoutSeconds, concurrency, proxy, tls, breaker, requestsPerMinute, unitsPerMinute } = settings
    const milliseconds = timeoutSeconds * 1000
    const options = {
      connections: concurrency,
      headersTimeout: milliseconds,
      bodyTimeout: milliseconds,
    }
    this.agent = proxy
      ? new ProxyAgent({ ...options, uri: proxy, ...(tls ? { requestTls: tls } : {}) })
      : httpAgent({ ...options, connect: { timeout: Math.min(10_000, milliseconds), ...tls } })
    const limits = {
      concurrency,
      requestsPerMinute,
      unitsPerMinute,
      timeoutSeconds,
      failuresToOpen: breaker.failures,
      openSeconds: breaker.openSeconds,
    }
    this.gate = new Gate(database, settings.name, limits, node)
  }

  /**
   * One request, once; whether it is made again is for those who know what it costs.
   * @returns an answer with a status from 200 to 299
   * @throws RequestFailed if it may be made again, ProviderProblem if the provider refuses it for good
   */
  async call(call: Call): Promise<Answer> {
    try {
      const attributes = { 'radbridge.provider': this.settings.name }
      // With the wait for its turn: that is where the time of a limited provider goes.
      return await inSpan('provider request', attributes, () =>
        this.gate.run(() => this.send(call), isProvidersFailure, call.signal),
      )
    } catch (error) {
      if (error instanceof GateClosed) throw new RequestFailed(error.message, error.retryAfterSeconds, 'not-sent')
      throw error
    }
  }

  /** @throws ProviderProblem if the provider is left alone at the moment */
  async refuseWhileAway(): Promise<void> {
    const seconds = await this.gate.closedFor()
    if (seconds > 0) throw ProviderProblem.away(new GateClosed(seconds).message, seconds)
  }

  close(): Promise<void> {
    return this.agent.destroy()
  }

  private async send({ method = 'POST', path = '', address, headers, body, signal, unitsOf }: Call) {
    const { baseUrl, apiKey } = this.settings
    const target = address ? sameOrigin(address, baseUrl) : `${baseUrl}${path}`
    let answer: Awaited<ReturnType<typeof request>>
    let bytes: Buffer
    try {
      answer = await request(target, {
        method,
        dispatcher: this.agent,
        signal,
        headers: {
          Accept: 'application/json',
          ...(apiKey ? { Authorization: `Bearer ${apiKey}` } : {}),
          ...headers,
        },
        ...(body ? { body: body() } : {}),
      })
      bytes = await readAnswer(answer.body)
    } catch (error) {
      // An image that cannot be decoded ends the request from our side: it is not the provider that is away.
      if (signal.aborted || error instanceof PixelProblem || error instanceof RequestFailed) throw error
      throw new RequestFailed(`no answer (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`)
    }
    const { statusCode: status } = answer
    const result: Answer = { status, headers: answer.headers, bytes }
    if (status >= 200 && status < 300) return { result, units: unitsOf?.(result) ?? 0 }
    const wait = retryAfterSeconds(answer.headers['retry-after'])
    if (status === 413) throw new RequestFailed('the provider finds the request too large (413)', 0, 'too-large')
    if (status >= 500 || [408, 425, 429].includes(status)) {
      if (wait) await this.gate.pause(wait)
      throw new RequestFailed(`the provider answered ${status}`, wait, status === 429 ? 'limited' : 'away')
    }
    throw new ProviderProblem(`the provider refused the request with status ${status}`, false)
  }
}

function isProvidersFailure(error: unknown): boolean {
  return error instanceof RequestFailed && error.kind === 'away'
}

/** @throws ProviderProblem for an address elsewhere: the key is for this provider only */
function sameOrigin(given: string, baseUrl: string): string {
  const address = new URL(given, `${baseUrl}/`)
  if (address.origin !== new URL(baseUrl).origin)
    throw new ProviderProblem(`the provider refers to ${address.origin}, which is not its own address`, false)
  return address.href
}

async function readAnswer(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > maxAnswerBytes) throw new RequestFailed(`the answer has more than ${maxAnswerBytes} bytes`, 0, 'wrong')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** @throws RequestFailed if it is none */
export function parseJson({ bytes }: Answer): unknown {
  try {
    return parseJsonText(bytes.toString('utf8'))
  } catch {
    throw new RequestFailed('the answer is no JSON', 0, 'wrong')
  }
}
