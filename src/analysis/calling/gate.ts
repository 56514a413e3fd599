import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../../platform/database.js'

export interface GateLimits {
  /** Calls at the same time, by all nodes together. */
  concurrency: number
  /** Calls that may begin within a minute; undefined: as many as there are. */
  requestsPerMinute?: number | undefined
  /** Units that may be used within a minute; those of a call are known when it has ended, and put off the next. */
  unitsPerMinute?: number | undefined
  /** Time-out of one call, seconds: some time after it a call that nobody has ended counts no more. */
  timeoutSeconds: number
  /** So many failures in a row close the gate; after `openSeconds` one call may try whether it works again. */
  failuresToOpen?: number | undefined
  openSeconds?: number | undefined
}

/** The provider is believed to be away: nothing is sent until it has had time to come back. */
export class GateClosed extends Error {
  constructor(readonly retryAfterSeconds: number) {
    super(`not called: it failed several times in a row and is left alone for ${Math.ceil(retryAfterSeconds)} s`)
  }
}

/**
 * What all calls to one provider go through, from all nodes on one database: so many at a time, so many a minute, none while it asked to be left alone
 * (Retry-After), and none but a probe after it failed several times in a row.
 */
export class Gate {
  /** Those who want to begin stand in line, so that a node asks for one call at a time. */
  private line: Promise<unknown> = Promise.resolve()
  private wake: () => void = () => {}

  constructor(
    private readonly database: Queryable,
    private readonly provider: string,
    private readonly limits: GateLimits,
    /** Whose calls these are: those of a node that dies count no more. */
    private readonly node: number | null = null,
  ) {}

  /**
   * @param call gives what it got, and the units that it used
   * @param isFailure whether an error is the provider's
   * @throws GateClosed at once, without calling
   */
  async run<T>(
    call: () => Promise<{ result: T; units?: number }>,
    isFailure: (error: unknown) => boolean,
    signal: AbortSignal,
  ): Promise<T> {
    const id = await this.enter(signal)
    let outcome: 'answered' | 'failed' | 'other' = 'other'
    let used = 0
    try {
      const { result, units = 0 } = await call()
      outcome = 'answered'
      used = units
      return result
    } catch (error) {
      if (isFailure(error)) outcome = 'failed'
      throw error
    } finally {
      await this.leave(id, outcome, used)
    }
  }

  /** Nothing begins for so long: what Retry-After asks for. */
  async pause(seconds: number): Promise<void> {
    await this.database.query(
      `update provider_gate set next_start = greatest(next_start, now() + make_interval(secs => $2)) where provider = $1`,
      [this.provider, seconds],
    )
  }

  /** Seconds for which the provider is left alone, 0 if it is not. */
  async closedFor(): Promise<number> {
    const { rows } = await this.database.query<{ left: number }>(
      `select extract(epoch from open_until - clock_timestamp())::float8 "left" from provider_gate where provider = $1 and open_until is not null`,
      [this.provider],
    )
    return Math.max(0, rows[0]?.left ?? 0)
  }

  private async enter(signal: AbortSignal): Promise<number> {
    const turn = this.line.then(() => this.begin(signal))
    this.line = turn.catch(() => {})
    const { call, wait } = await turn
    try {
      if (wait > 0) await sleep(wait * 1000, undefined, { signal })
      return call
    } catch (error) {
      await this.leave(call, 'other', 0)
      throw error
    }
  }

  private async begin(signal: AbortSignal): Promise<{ call: number; wait: number }> {
    const { concurrency, requestsPerMinute, timeoutSeconds } = this.limits
    for (;;) {
      signal.throwIfAborted()
      const { rows } = await this.database.query<{ call: number | null; wait_seconds: number; away: boolean }>(
        'select * from begin_call($1, $2, $3, $4, $5)',
        [this.provider, concurrency, requestsPerMinute ? 60 / requestsPerMinute : 0, timeoutSeconds * 2 + 5, this.node],
      )
      const { call, wait_seconds: wait, away } = rows[0]!
      if (call !== null) return { call, wait }
      if (away) throw new GateClosed(wait)
      // One of this node's own calls ends, or one of another's.
      const stop = new AbortController()
      await Promise.race([
        new Promise<void>(resolve => {
          this.wake = resolve
        }),
        sleep(wait * 1000, undefined, { signal: AbortSignal.any([signal, stop.signal]) }).catch(() => {}),
      ])
      stop.abort()
    }
  }

  private async leave(call: number, outcome: 'answered' | 'failed' | 'other', units: number): Promise<void> {
    const { unitsPerMinute, failuresToOpen = 5, openSeconds = 30 } = this.limits
    await this.database.query('select end_call($1, $2, $3, $4, $5, $6)', [
      call,
      this.provider,
      outcome,
      unitsPerMinute ? (units * 60) / unitsPerMinute : 0,
      failuresToOpen,
      openSeconds,
    ])
    this.wake()
  }
}
