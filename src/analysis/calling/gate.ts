import { setTimeout as sleep } from 'node:timers/promises'

export interface GateLimits {
  /** Calls at the same time. */
  concurrency: number
  /** Calls that may begin within a minute; undefined: as many as there are. */
  requestsPerMinute?: number
  /** So many failures in a row close the gate; after `openSeconds` one call may try whether it works again. */
  failuresToOpen?: number
  openSeconds?: number
}

/** The provider is believed to be away: nothing is sent until it has had time to come back. */
export class GateClosed extends Error {
  constructor(readonly retryAfterSeconds: number) {
    super(`not called: it failed several times in a row and is left alone for ${Math.ceil(retryAfterSeconds)} s`)
  }
}

/**
 * What all calls to one provider go through: so many at a time, so many a minute, none while it asked to be left alone (Retry-After), and none but a
 * probe after it failed several times in a row.
 */
export class Gate {
  private running = 0
  private readonly waiting: (() => void)[] = []
  private nextStart = 0
  private failures = 0
  private openUntil = 0
  private probing = false

  constructor(private readonly limits: GateLimits) {}

  /** @throws GateClosed at once, without calling */
  async run<T>(call: () => Promise<T>, isFailure: (error: unknown) => boolean, signal: AbortSignal): Promise<T> {
    await this.enter(signal)
    let probe = false
    try {
      probe = this.admit()
      await this.turn(signal)
      const result = await call()
      this.failures = 0
      this.openUntil = 0
      return result
    } catch (error) {
      if (!(error instanceof GateClosed) && isFailure(error)) this.noteFailure()
      throw error
    } finally {
      if (probe) this.probing = false
      this.leave()
    }
  }

  /** Nothing begins for so long: what Retry-After asks for. */
  pause(seconds: number): void {
    this.nextStart = Math.max(this.nextStart, Date.now() + seconds * 1000)
  }

  get state(): 'closed' | 'open' | 'half-open' {
    if (this.openUntil === 0) return 'closed'
    return Date.now() < this.openUntil ? 'open' : 'half-open'
  }

  /** @returns whether this call is the one that tries */
  private admit(): boolean {
    if (this.state === 'closed') return false
    if (this.state === 'open') throw new GateClosed((this.openUntil - Date.now()) / 1000)
    if (this.probing) throw new GateClosed(1)
    this.probing = true
    return true
  }

  private noteFailure(): void {
    this.failures++
    if (this.failures >= (this.limits.failuresToOpen ?? 5))
      this.openUntil = Date.now() + (this.limits.openSeconds ?? 30) * 1000
  }

  private async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.running < this.limits.concurrency) {
      this.running++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.waiting.splice(this.waiting.indexOf(go), 1)
        reject(signal.reason)
      }
      const go = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      this.waiting.push(go)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  private leave(): void {
    const next = this.waiting.shift()
    if (next) next()
    else this.running--
  }

  /** Starts are spread evenly: a provider that counts by the second is not hit by a minute's worth at once. */
  private async turn(signal: AbortSignal): Promise<void> {
    const { requestsPerMinute } = this.limits
    const now = Date.now()
    const start = Math.max(now, this.nextStart)
    if (requestsPerMinute) this.nextStart = start + 60_000 / requestsPerMinute
    if (start > now) await sleep(start - now, undefined, { signal })
  }
}
