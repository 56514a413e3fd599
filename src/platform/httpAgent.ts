import type { Socket } from 'node:net'
import { Agent, buildConnector } from 'undici'

const againMilliseconds = 5

/** Connector options of undici, and those of the agent. */
export type HttpAgentOptions = Omit<Agent.Options, 'connect'> & { connect?: buildConnector.BuildOptions }

/**
 * The one way to make an agent for HTTP. undici 7, the last that runs on Node.js 20, throws an AssertionError out of the socket's `end` event, which ends the process, when a server
 * closes the connection while an answer waits to be read (nodejs/undici#5360, mended in 8). Here such an event waits until what came before it has been read.
 */
export function httpAgent({ connect = {}, ...options }: HttpAgentOptions = {}): Agent {
  return new Agent({ ...options, connect: patientConnector({ allowH2: options.allowH2 ?? false, ...connect }) })
}

/** The same error where no connector can be given (`ProxyAgent`): nothing has been changed when it is thrown, so that the process may go on; the answer ends by its time limit. */
export function isParserAssertion(error: Error): boolean {
  const { code, stack = '' } = error as NodeJS.ErrnoException
  return code === 'ERR_ASSERTION' && /Parser\.finish .*undici/.test(stack)
}

function patientConnector(options: buildConnector.BuildOptions): buildConnector.connector {
  const connector = buildConnector(options)
  return (to, callback) =>
    connector(to, (...outcome) => {
      const [error, socket] = outcome
      if (!error && socket) endWhenRead(socket)
      callback(...outcome)
    })
}

/** Holds the socket's `end` back while the parser is paused, and with it the end of the other direction, which would destroy the socket and what is still to be read. */
function endWhenRead(socket: Socket): void {
  socket.allowHalfOpen = true
  const emit = socket.emit.bind(socket) as (event: string | symbol, ...args: unknown[]) => boolean
  const end = (...args: unknown[]) => {
    if (socket.destroyed) return
    if (isPaused(socket)) {
      setTimeout(end, againMilliseconds, ...args).unref()
      return
    }
    emit('end', ...args)
    socket.end()
  }
  socket.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event !== 'end') return emit(event, ...args)
    end(...args)
    return true
  }
}

/** undici keeps the parser of a connection at its socket. */
function isPaused(socket: Socket): boolean {
  const key = Object.getOwnPropertySymbols(socket).find(symbol => symbol.description === 'parser')
  const parser = key && (socket as unknown as Record<symbol, { paused?: boolean } | null>)[key]
  return parser?.paused === true
}
