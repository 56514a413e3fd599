import { z } from 'zod'
import { allPermissions, type Permission } from '../access/permissions.js'
import { createApiToken, deleteApiToken, listApiTokens } from '../access/sessions.js'
import { type Operation, operation, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { type AdminContext, count } from './common.js'

const scope = z.enum(allPermissions as [Permission, ...Permission[]])
const apiToken = z.object({
  id: count,
  name: z.string(),
  scopes: z.array(scope),
  createdBy: z.string(),
  createdAt: time,
  expiresAt: time,
  usedAt: time.nullable(),
})

/** API tokens, for scripts. */
export function tokenOperations({ database, audit }: AdminContext): Operation[] {
  const tag = 'tokens'
  const permission = 'accounts:manage'
  return [
    operation({
      method: 'get',
      path: '/tokens',
      permission,
      tag,
      summary: 'API tokens, without the tokens',
      answer: z.array(apiToken),
      handle: () => listApiTokens(database),
    }),
    operation({
      method: 'post',
      path: '/tokens',
      permission,
      tag,
      summary: 'Makes an API token; it is told this once',
      body: z.strictObject({
        name: z.string().min(1).max(64),
        scopes: z.array(scope).min(1),
        days: z.number().positive().max(3660).default(365),
      }),
      status: 201,
      answer: apiToken.extend({ token: z.string() }),
      async handle({ body, caller, done }) {
        await audit.record(
          done({ event: 'accounts-changed', detail: { token: body.name, what: 'made', scopes: body.scopes } }),
        )
        return createApiToken(database, { ...body, createdBy: caller.name })
      },
    }),
    operation({
      method: 'delete',
      path: '/tokens/{id}',
      permission,
      tag,
      summary: 'Takes an API token back',
      params: z.object({ id: z.coerce.number().int() }),
      status: 204,
      problems: { 404: 'no such token' },
      async handle({ params: { id }, done }) {
        await audit.record(done({ event: 'accounts-changed', detail: { token: id, what: 'taken back' } }))
        if (!(await deleteApiToken(database, id))) throw new ApiProblem(404, 'there is no token of this number')
        return ''
      },
    }),
  ]
}
