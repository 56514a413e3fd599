import { json, type Request, type RequestHandler, type Response, Router, text } from 'express'
import { z } from 'zod'
import type { AuditEvent } from '../platform/audit.js'
import { allowed, type Caller, type Guard } from './access/guard.js'
import type { Permission } from './access/permissions.js'
import { ApiProblem, sendProblem } from './problem.js'

/** A time of the answer: ISO 8601 in UTC. */
export const time = z.custom<Date>(() => true).meta({ type: 'string', format: 'date-time' })

/** What an operation is called with. */
export interface Call<P, Q, B> {
  params: P
  query: Q
  body: B
  caller: Caller
  req: Request
  res: Response
  /** What is done by whom, for the audit trail. */
  done(event: Omit<AuditEvent, 'actor'>): AuditEvent
}

/** An answer that is not 200 with JSON. */
export class Reply {
  constructor(
    readonly status: number,
    readonly body?: unknown,
    readonly headers: Record<string, string> = {},
  ) {}
}

export interface Definition<P, Q, B> {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** Below /api: `/studies/{uid}`. */
  path: string
  /** `open`: everybody, also who is not known. */
  permission: Permission | 'open'
  tag: string
  summary: string
  params?: z.ZodType<P>
  query?: z.ZodType<Q>
  /** JSON; `text`: YAML or JSON as text. */
  body?: z.ZodType<B> | 'text'
  /** Of status 200, or of `status`; another media type by its name. */
  answer?: z.ZodType | { mediaType: string }
  status?: number
  /** Answers with an error that it may give, besides 400, 401, 403. */
  problems?: Readonly<Record<number, string>>
  /** @returns what is sent as JSON, or a Reply; undefined if it has answered itself. @throws ApiProblem */
  handle(call: Call<P, Q, B>): unknown
}

// biome-ignore lint/suspicious/noExplicitAny: operations of all kinds stand in one list
export type Operation = Definition<any, any, any>

export function operation<P = unknown, Q = unknown, B = unknown>(definition: Definition<P, Q, B>): Operation {
  return definition
}

/** Serves operations: who may not is refused, what is not as described is refused with words, and what is thrown becomes a problem document. */
export function serveOperations(operations: readonly Operation[], guard: Guard): Router {
  const router = Router()
  const parsers = [
    json({ limit: '4mb' }),
    text({ limit: '4mb', type: ['application/yaml', 'text/yaml', 'text/plain'] }),
  ]
  for (const one of operations) {
    const path = one.path.replace(/\{(\w+)\}/g, ':$1')
    const gate: RequestHandler = (req, res, next) => {
      if (one.permission === 'open' || allowed(guard, req, res, one.permission)) next()
    }
    router[one.method](path, gate, ...parsers, async (req: Request, res: Response) => {
      const caller = (res.locals.caller as Caller | undefined) ?? nobody
      try {
        const call: Call<unknown, unknown, unknown> = {
          params: read(one.params, req.params, ''),
          query: read(one.query, req.query, ''),
          body: one.body === 'text' ? textOf(req) : read(one.body, req.body, 'the body: '),
          caller,
          req,
          res,
          done: event => ({ ...event, actor: { name: caller.name, role: caller.role, address: caller.address } }),
        }
        const answer = await one.handle(call)
        if (answer === undefined) return
        res.set('Cache-Control', 'no-store')
        const reply = answer instanceof Reply ? answer : new Reply(one.status ?? 200, answer)
        res.status(reply.status).set(reply.headers)
        if (reply.body === undefined) res.end()
        else if (typeof reply.body === 'string') res.send(reply.body)
        else res.json(reply.body)
      } catch (error) {
        if (!(error instanceof ApiProblem)) throw error
        sendProblem(res, error.status, error.message, error.more)
      }
    })
  }
  return router
}

const nobody: Caller = { name: 'nobody', kind: 'anonymous', permissions: new Set(), address: undefined }

function textOf(req: Request): string {
  if (typeof req.body === 'string') return req.body
  if (req.body === undefined)
    throw new ApiProblem(400, 'the body: expected a document as application/yaml or application/json')
  return JSON.stringify(req.body)
}

function read<T>(schema: z.ZodType<T> | undefined, value: unknown, where: string): T | undefined {
  if (!schema) return undefined
  const parsed = schema.safeParse(value ?? {})
  if (parsed.success) return parsed.data
  const words = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  )
  throw new ApiProblem(400, where + words.join('; '))
}
