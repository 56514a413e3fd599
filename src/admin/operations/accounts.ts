import { z } from 'zod'
import { transaction } from '../../platform/database.js'
import {
  administrators,
  changeAccount,
  createAccount,
  deleteAccount,
  listAccounts,
  passwordSchema,
} from '../access/accounts.js'
import { roleNames } from '../access/permissions.js'
import { type Operation, operation, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import type { AdminContext } from './common.js'

const accountName = z.string().regex(/^[\p{L}\p{N}._@-]{1,64}$/u, 'expected up to 64 letters, digits and . _ @ -')
const role = z.enum(roleNames)
const account = z.object({
  name: z.string(),
  role,
  disabled: z.boolean(),
  totp: z.boolean(),
  locked: z.boolean(),
  createdAt: time,
  signedInAt: time.nullable(),
})
const accountParams = z.object({ name: accountName })
const noSuchAccount = () => new ApiProblem(404, 'no account bears this name')

/** Accounts, for those who manage them. */
export function accountOperations({ database, audit, guard }: AdminContext): Operation[] {
  const tag = 'accounts'
  const permission = 'accounts:manage'
  /** Somebody has to be left who can manage accounts. */
  const refuseLast = async (tx: Parameters<typeof administrators>[0], name: string) => {
    const left = await administrators(tx)
    if (left.length === 1 && left[0] === name)
      throw new ApiProblem(409, 'this is the last administrator: make another one first')
  }
  return [
    operation({
      method: 'get',
      path: '/accounts',
      permission,
      tag,
      summary: 'Accounts',
      answer: z.array(account),
      handle: () => listAccounts(database),
    }),
    operation({
      method: 'post',
      path: '/accounts',
      permission,
      tag,
      summary: 'Makes an account; the first one has to be an administrator, and from then on everybody has to sign in',
      body: z.strictObject({ name: accountName, role, password: passwordSchema }),
      status: 201,
      answer: account,
      problems: { 409: 'the name is taken, or the first account is no administrator' },
      async handle({ body, done }) {
        if (body.password.toLowerCase().includes(body.name.toLowerCase()))
          throw new ApiProblem(400, 'the body: password: expected one without the name of the account')
        let told = () => {}
        const made = await transaction(database, async tx => {
          if (body.role !== 'administrator' && (await administrators(tx)).length === 0)
            throw new ApiProblem(409, 'the first account has to be an administrator')
          const created = await createAccount(tx, body)
          if (!created) throw new ApiProblem(409, 'an account of this name is there already')
          told = await audit.recordIn(
            tx,
            done({ event: 'accounts-changed', detail: { account: body.name, what: 'made', role: body.role } }),
          )
          return created
        })
        told()
        guard.accountsChanged()
        return made
      },
    }),
    operation({
      method: 'patch',
      path: '/accounts/{name}',
      permission,
      tag,
      summary:
        'Changes role or password, disables, unlocks, or takes an authenticator away; ends the sessions of the account',
      params: accountParams,
      body: z.strictObject({
        role: role.optional(),
        password: passwordSchema.optional(),
        disabled: z.boolean().optional(),
        totp: z.literal('off').optional(),
        unlock: z.literal(true).optional(),
      }),
      answer: account,
      problems: { 404: 'no such account', 409: 'the last administrator' },
      async handle({ params: { name }, body, done }) {
        let told = () => {}
        const changed = await transaction(database, async tx => {
          if (body.disabled || (body.role && body.role !== 'administrator')) await refuseLast(tx, name)
          const after = await changeAccount(tx, name, body)
          if (!after) throw noSuchAccount()
          const { password: _, ...rest } = body
          const detail = { account: name, what: 'changed', ...rest, ...(body.password ? { newPassword: true } : {}) }
          told = await audit.recordIn(tx, done({ event: 'accounts-changed', detail }))
          return after
        })
        told()
        return changed
      },
    }),
    operation({
      method: 'delete',
      path: '/accounts/{name}',
      permission,
      tag,
      summary: 'Deletes an account',
      params: accountParams,
      status: 204,
      problems: { 404: 'no such account', 409: 'the last administrator' },
      async handle({ params: { name }, done }) {
        let told = () => {}
        await transaction(database, async tx => {
          await refuseLast(tx, name)
          if (!(await deleteAccount(tx, name))) throw noSuchAccount()
          told = await audit.recordIn(
            tx,
            done({ event: 'accounts-changed', detail: { account: name, what: 'deleted' } }),
          )
        })
        told()
        return ''
      },
    }),
  ]
}
