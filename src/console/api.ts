import { useCallback, useEffect, useRef, useState } from 'react'

/** What the service said of a request that it refused. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly more: Record<string, unknown>,
  ) {
    super(detail)
  }
}

export interface Session {
  name: string | null
  kind: string | null
  role: string | null
  permissions: string[]
  csrf: string | null
  signIn: { needed: boolean; accounts: boolean; oidc: boolean }
  /** A viewer is installed. */
  viewer: boolean
}

let csrf: string | null = null
let whenSignedOut = () => {}

/** Called when the service no longer knows who we are. */
export function onSignedOut(tell: () => void): void {
  whenSignedOut = tell
}

interface CallOptions {
  body?: unknown
  /** Sent as it is. */
  text?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** @throws Refusal */
export async function callRaw(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { body, text, headers = {}, signal } = options
  const response = await fetch(`api${path}`, {
    method,
    headers: {
      ...(csrf ? { 'X-CSRF-Token': csrf } : {}),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(text === undefined ? {} : { 'Content-Type': 'application/yaml' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(text === undefined ? {} : { body: text }),
    ...(signal ? { signal } : {}),
  })
  if (response.ok) return response
  const problem = (await response.json().catch(() => ({}))) as { detail?: string }
  if (response.status === 401 && path !== '/session') whenSignedOut()
  throw new Refusal(response.status, problem.detail ?? `${response.status} ${response.statusText}`, problem)
}

/** @throws Refusal */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const response = await callRaw(method, path, options)
  return (response.status === 204 ? undefined : await response.json()) as T
}

export async function readSession(): Promise<Session> {
  const session = await call<Session>('GET', '/session')
  csrf = session.csrf
  return session
}

export interface Loaded<T> {
  data: T | undefined
  problem: string | undefined
  reload(): void
}

/**
 * What the API says of a path, read again every so many milliseconds while the page is looked at.
 * @param path undefined: nothing is asked
 */
export function useApi<T>(path: string | undefined, every?: number, body?: unknown): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; problem: string | undefined; of: string | undefined }>({
    data: undefined,
    problem: undefined,
    of: undefined,
  })
  const [turn, setTurn] = useState(0)
  const sent = body === undefined ? undefined : JSON.stringify(body)
  const key = `${path} ${sent}`
  const reload = useCallback(() => setTurn(n => n + 1), [])
  // biome-ignore lint/correctness/useExhaustiveDependencies: a turn asks again
  useEffect(() => {
    if (path === undefined) return
    const stop = new AbortController()
    const options = { signal: stop.signal, ...(sent === undefined ? {} : { body: JSON.parse(sent) }) }
    call<T>(sent === undefined ? 'GET' : 'POST', path, options).then(
      data => setState({ data, problem: undefined, of: key }),
      error => {
        if (!stop.signal.aborted)
          setState(before => ({ data: before.of === key ? before.data : undefined, problem: error.message, of: key }))
      },
    )
    return () => stop.abort()
  }, [path, sent, turn])
  useEffect(() => {
    if (!every || path === undefined) return
    const timer = setInterval(() => {
      if (!document.hidden) reload()
    }, every)
    return () => clearInterval(timer)
  }, [every, path, reload])
  return { data: state.of === key ? state.data : undefined, problem: state.problem, reload }
}

/** Has something done, and knows whether it is under way and what came of it. */
export function useAction(): {
  busy: boolean
  problem: string | undefined
  refusal: Refusal | undefined
  run(work: () => Promise<void>): Promise<boolean>
} {
  const [busy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<Refusal | undefined>()
  const [problem, setProblem] = useState<string | undefined>()
  const alive = useRef(true)
  useEffect(() => {
    alive.current = true
    return () => {
      alive.current = false
    }
  }, [])
  const run = useCallback(async (work: () => Promise<void>) => {
    setBusy(true)
    setProblem(undefined)
    setRefusal(undefined)
    try {
      await work()
      return true
    } catch (error) {
      if (alive.current) {
        setProblem((error as Error).message)
        if (error instanceof Refusal) setRefusal(error)
      }
      return false
    } finally {
      if (alive.current) setBusy(false)
    }
  }, [])
  return { busy, problem, refusal, run }
}

/** Calls `look` when something happens to a study, at most twice a second. */
export function useEvents(look: () => void): void {
  const latest = useRef(look)
  latest.current = look
  useEffect(() => {
    const source = new EventSource('api/events')
    let timer: ReturnType<typeof setTimeout> | undefined
    source.onmessage = () => {
      timer ??= setTimeout(() => {
        timer = undefined
        latest.current()
      }, 500)
    }
    return () => {
      source.close()
      clearTimeout(timer)
    }
  }, [])
}
