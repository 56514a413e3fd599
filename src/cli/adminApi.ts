import type { parseArgs } from 'node:util'
import { request } from 'undici'
import { resolveSecret, secretReference } from '../platform/secret.js'
import { UsageError } from './usageError.js'

/** Options of commands that ask a running service. */
export const serviceOptions = {
  at: { type: 'string', default: 'http://127.0.0.1:8080' },
  token: { type: 'string' },
} as const satisfies NonNullable<Parameters<typeof parseArgs>[0]>['options']

/** A refusal; `message` is what the service said of it. */
export class ApiRefusal extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail)
  }
}

/** The admin API of a running service. */
export class AdminApi {
  private readonly headers: Record<string, string>
  private readonly base: string

  /** @throws UsageError: the token is no reference */
  constructor({ at, token }: { at: string; token?: string | undefined }) {
    if (token && !secretReference.test(token)) throw new UsageError('--token: expected env:NAME or file:PATH')
    this.base = `${at.replace(/\/$/, '')}/api`
    this.headers = token ? { Authorization: `Bearer ${resolveSecret(token)}` } : {}
  }

  /** @throws ApiRefusal */
  async call(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    { body, headers = {} }: { body?: string; headers?: Record<string, string> } = {},
  ): Promise<Awaited<ReturnType<typeof request>>> {
    const answer = await request(this.base + path, {
      method,
      headers: { ...this.headers, ...headers },
      ...(body === undefined ? {} : { body }),
    })
    if (answer.statusCode < 400) return answer
    const problem = (await answer.body.json().catch(() => ({}))) as { detail?: string }
    throw new ApiRefusal(answer.statusCode, problem.detail ?? `answered ${answer.statusCode}`)
  }
}
