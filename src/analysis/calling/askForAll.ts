import { setTimeout as sleep } from 'node:timers/promises'
import { ProviderProblem } from '../provider.js'

export interface AskOptions {
  /** Items of one request. */
  chunk: number
  /** Requests at the same time. */
  concurrency: number
  /** How often one item is asked for, until it counts as missing. */
  maxAsks: number
  signal: AbortSignal
  /** Told after each answer. */
  onAnswer?: () => void
  /** Random from 0 to 1; for tests. */
  random?: () => number
}

/** What came of an item that has no result: why, in words. */
export interface Rejected {
  rejected: string
  /** What was answered, to be looked at. */
  content?: unknown
}

/** A request that failed as a whole: its items are asked for again, after so long at least. */
export class RequestFailed extends Error {
  constructor(
    message: string,
    readonly retryAfterSeconds = 0,
    /**
     * `limited`: the provider is there, and asks for patience. `too-large`: smaller requests may succeed. `wrong`: the answer is not what was agreed.
     * `not-sent`: the provider is left alone, and has not been asked.
     */
    readonly kind: 'away' | 'limited' | 'too-large' | 'wrong' | 'not-sent' = 'away',
  ) {
    super(message)
  }
}

export interface Answers<R> {
  results: Map<number, R>
  /** Items without a result, and the last reason. */
  missing: Map<number, string>
  requests: number
}

interface Wanted {
  index: number
  asks: number
  notBefore: number
  reason: string
}

/** After a request that failed, ms. */
const failureBackoff = { first: 250, most: 30_000 }
/** A provider that is left alone is waited for so long by an analysis that has some of its answers, ms; then, and without any, the study is put off. */
const patienceWithResults = 60_000
/** After an answer without the item: the provider is there, and its pace is kept by those who call. */
const absenceBackoff = { first: 50, most: 1000 }

/**
 * Asks for so many items in chunks until each of them has a result. What an answer leaves out, silently or with an error, is asked for again, together with
 * others and after a pause that grows (exponential, full jitter); what was answered is never asked for twice.
 * @param ask a request for these items; items that its answer does not mention are missing
 * @throws what `ask` throws, unless it is RequestFailed
 */
export async function askForAll<R>(
  count: number,
  ask: (indices: readonly number[]) => Promise<ReadonlyMap<number, R | Rejected>>,
  { chunk, concurrency, maxAsks, signal, onAnswer, random = Math.random }: AskOptions,
): Promise<Answers<R>> {
  const results = new Map<number, R>()
  const missing = new Map<number, string>()
  let queue: Wanted[] = Array.from({ length: count }, (_, index) => ({ index, asks: 0, notBefore: 0, reason: '' }))
  let size = chunk
  let requests = 0
  let aloneSince: number | undefined
  let changed: () => void = () => {}
  const running = new Set<Promise<void>>()

  const again = (wanted: Wanted, reason: string, pause: { first: number; most: number }, wait = 0) => {
    const asks = wanted.asks + 1
    if (asks >= maxAsks) {
      missing.set(wanted.index, reason)
      return
    }
    const backoff = random() * Math.min(pause.most, pause.first * 2 ** (asks - 1))
    queue.push({ index: wanted.index, asks, reason, notBefore: performance.now() + Math.max(wait, backoff) })
  }
  const send = async (batch: Wanted[]) => {
    requests++
    try {
      const answer = await ask(batch.map(wanted => wanted.index))
      aloneSince = undefined
      for (const wanted of batch) {
        const result = answer.get(wanted.index)
        if (result === undefined) again(wanted, 'the provider left it out of its answer', absenceBackoff)
        else if (isRejected(result)) again(wanted, result.rejected, absenceBackoff)
        else results.set(wanted.index, result)
      }
      onAnswer?.()
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error
      if (error.kind === 'too-large' && batch.length > 1) {
        size = Math.max(1, Math.floor(batch.length / 2))
        queue.push(...batch) // not the items' fault
        return
      }
      if (error.kind === 'not-sent') {
        requests--
        aloneSince ??= performance.now()
        const wait = error.retryAfterSeconds * 1000
        const patience = results.size > 0 ? patienceWithResults : 0 // what was answered is worth some waiting
        if (performance.now() + wait - aloneSince > patience)
          throw ProviderProblem.away(error.message, error.retryAfterSeconds)
        for (const wanted of batch) queue.push({ ...wanted, notBefore: performance.now() + wait * (1 + random() / 4) })
        return
      }
      const pause = error.kind === 'wrong' ? absenceBackoff : failureBackoff
      for (const wanted of batch) again(wanted, error.message, pause, error.retryAfterSeconds * 1000)
    }
  }

  let failure: { error: unknown } | undefined
  while ((queue.length > 0 || running.size > 0) && !failure) {
    signal.throwIfAborted()
    const now = performance.now()
    const ready = queue.filter(wanted => wanted.notBefore <= now)
    // A chunk that is not full waits for those that may still come back, so that a few items do not cost a request each.
    const full = ready.length >= size || (ready.length === queue.length && running.size === 0)
    if (ready.length > 0 && full && running.size < concurrency) {
      const batch = ready.slice(0, size)
      const taken = new Set(batch)
      queue = queue.filter(wanted => !taken.has(wanted))
      const task = send(batch)
        .catch(error => {
          failure ??= { error }
        })
        .finally(() => {
          running.delete(task)
          changed()
        })
      running.add(task)
      continue
    }
    const next = Math.min(...queue.filter(wanted => wanted.notBefore > now).map(wanted => wanted.notBefore))
    await waitFor(
      resolve => {
        changed = resolve
      },
      Number.isFinite(next) ? next - now : undefined,
      signal,
    )
  }
  await Promise.all(running)
  if (failure) throw failure.error
  return { results, missing, requests }
}

function isRejected(value: unknown): value is Rejected {
  return typeof value === 'object' && value !== null && 'rejected' in value
}

/** Until something came back, the time is over, or nobody waits any more. */
async function waitFor(
  subscribe: (resolve: () => void) => void,
  milliseconds: number | undefined,
  signal: AbortSignal,
) {
  const stop = new AbortController()
  const any = AbortSignal.any([signal, stop.signal])
  await Promise.race([
    new Promise<void>(resolve => subscribe(resolve)),
    sleep(milliseconds ?? 3_600_000, undefined, { signal: any }).catch(() => {}),
  ])
  stop.abort()
}
