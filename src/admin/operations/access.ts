import type { Response } from 'express'
import { z } from 'zod'
import { transaction } from '../../platform/database.js'
import {
  administrators,
  beginTotp,
  changeAccount,
  confirmTotp,
  createAccount,
  deleteAccount,
  listAccounts,
  minimumPasswordLength,
  signIn,
} from '../access/accounts.js'
import { administratorToken, type Caller, readCookie, sessionCookie } from '../access/guard.js'
import { OidcProblem } from '../access/oidc.js'
import { allPermissions, type Permission, roleNames } from '../access/permissions.js'
import {
  beginSession,
  createApiToken,
  deleteApiToken,
  endSession,
  listApiTokens,
  type Session,
} from '../access/sessions.js'
import { type Call, type Operation, operation, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { type AdminContext, count } from './common.js'

const accountName = z.string().regex(/^[\p{L}\p{N}._@-]{1,64}$/u, 'expected up to 64 letters, digits and . _ @ -')
const role = z.enum(roleNames)
const password = z
  .string()
  .min(minimumPasswordLength, `expected a password of at least ${minimumPasswordLength} characters`)
  .max(200)
const account = z.object({
  name: z.string(),
  role,
  disabled: z.boolean(),
  totp: z.boolean(),
  locked: z.boolean(),
  createdAt: time,
  signedInAt: time.nullable(),
})
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
const session = z.object({
  name: z.string().nullable().describe('null: nobody is signed in'),
  kind: z.string().nullable(),
  role: z.string().nullable(),
  permissions: z.array(z.string()),
  csrf: z.string().nullable().describe('to be sent as X-CSRF-Token with what changes something'),
  signIn: z.object({
    needed: z.boolean(),
    accounts: z.boolean().describe('there are accounts to sign in with'),
    oidc: z.boolean(),
  }),
})
const accountParams = z.object({ name: accountName })
const noSuchAccount = () => new ApiProblem(404, 'no account bears this name')

export function accessOperations(context: AdminContext): Operation[] {
  return [...sessionOperations(context), ...accountOperations(context), ...tokenOperations(context)]
}

type Done = Call<unknown, unknown, unknown>['done']

function sessionOperations(context: AdminContext): Operation[] {
  const { database, audit, guard, oidc, sessionHours, secure } = context
  const tag = 'session'
  const begin = async (
    res: Response,
    who: { name: string; role: (typeof roleNames)[number]; kind: Session['kind']; idToken?: string | undefined },
    hours = sessionHours,
  ) => {
    const { cookie, csrf } = await beginSession(database, who, hours)
    res.cookie(sessionCookie, cookie, { httpOnly: true, sameSite: 'lax', secure, path: '/', maxAge: hours * 3_600_000 })
    return csrf
  }
  const loggedIn = (done: Done, name: string, outcome: 'success' | 'failure', how: string) => {
    const event = done({ event: 'login', outcome, detail: { how } })
    return { ...event, actor: { ...event.actor, name } }
  }
  return [
    operation({
      method: 'get',
      path: '/session',
      permission: 'open',
      tag,
      summary: 'Who asks, what they may do, and how somebody can sign in',
      answer: session,
      async handle({ res }) {
        const caller = res.locals.caller as Caller | undefined
        return {
          name: caller?.name ?? null,
          kind: caller?.kind ?? null,
          role: caller?.role ?? null,
          permissions: [...(caller?.permissions ?? [])],
          csrf: caller?.session?.csrf ?? null,
          signIn: {
            needed: !(await guard.isOpen()),
            accounts: (await listAccounts(database)).length > 0,
            oidc: oidc !== undefined,
          },
        }
      },
    }),
    operation({
      method: 'post',
      path: '/session',
      permission: 'open',
      tag,
      summary:
        'Signs in with name and password, and the code of an authenticator where one is set up; or with the administrator token',
      body: z.union([
        z.strictObject({
          name: z.string().max(200),
          password: z.string().max(200),
          code: z
            .string()
            .regex(/^\d{6}$/, 'expected six digits')
            .optional(),
        }),
        z.strictObject({ token: z.string().max(200) }),
      ]),
      answer: z.object({ name: z.string(), role, csrf: z.string() }),
      problems: { 401: 'wrong name or password', 429: 'too many attempts' },
      async handle({ body, req, res, done }) {
        if (req.headers['sec-fetch-site'] !== undefined && req.headers['sec-fetch-site'] !== 'same-origin')
          throw new ApiProblem(403, 'sign in on the page of the console')
        if ('token' in body) {
          const isRight = guard.isAdminToken(body.token)
          await audit.record(loggedIn(done, administratorToken, isRight ? 'success' : 'failure', 'administrator token'))
          if (!isRight) throw new ApiProblem(401, 'this is not the administrator token')
          const who = { name: administratorToken, role: 'administrator', kind: 'token' } as const
          return { ...who, csrf: await begin(res, who) }
        }
        const outcome = await signIn(database, body)
        if (outcome.outcome === 'signed-in') {
          await audit.record(loggedIn(done, outcome.name, 'success', 'password'))
          const csrf = await begin(res, { ...outcome, kind: 'account' })
          return { name: outcome.name, role: outcome.role, csrf }
        }
        if (outcome.outcome === 'code-needed')
          throw new ApiProblem(401, 'enter the code that your authenticator shows', { code: 'code-needed' })
        await audit.record(loggedIn(done, body.name, 'failure', 'password'))
        throw new ApiProblem(401, 'wrong name, password or code, or the account is locked for a quarter of an hour')
      },
    }),
    operation({
      method: 'delete',
      path: '/session',
      permission: 'open',
      tag,
      summary: 'Signs out; `address`, if there is one, is where the browser signs out at the identity provider',
      answer: z.object({ address: z.string().nullable() }),
      async handle({ req, res, done }) {
        const caller = res.locals.caller as Caller | undefined
        const cookie = readCookie(req, sessionCookie)
        if (!cookie || !caller?.session) return { address: null }
        const forged = guard.forgery(req, caller)
        if (forged) throw new ApiProblem(403, forged)
        const idToken = await endSession(database, cookie)
        res.clearCookie(sessionCookie, { path: '/' })
        await audit.record(done({ event: 'logout' }))
        const address = idToken && (await oidc?.signOutAddress(idToken, `${addressOf(context, req.headers.host)}/`))
        return { address: address ?? null }
      },
    }),
    operation({
      method: 'get',
      path: '/session/oidc',
      permission: 'open',
      tag,
      summary: 'Sends the browser to the identity provider',
      status: 302,
      problems: { 404: 'not configured', 502: 'the identity provider cannot be reached' },
      async handle({ req, res }) {
        if (!oidc) throw new ApiProblem(404, 'signing in by OpenID Connect is not configured')
        try {
          res.redirect(await oidc.begin(`${addressOf(context, req.headers.host)}/api/session/oidc/callback`))
        } catch (error) {
          if (error instanceof OidcProblem) throw new ApiProblem(502, error.message)
          throw error
        }
        return undefined
      },
    }),
    operation({
      method: 'get',
      path: '/session/oidc/callback',
      permission: 'open',
      tag,
      summary: 'Where the identity provider sends the browser back to',
      status: 302,
      problems: { 404: 'not configured' },
      async handle({ req, res, done }) {
        if (!oidc) throw new ApiProblem(404, 'signing in by OpenID Connect is not configured')
        try {
          const who = await oidc.finish(new URL(req.originalUrl, addressOf(context, req.headers.host)))
          await audit.record(loggedIn(done, who.name, 'success', 'oidc'))
          await begin(res, { ...who, kind: 'oidc' })
          res.redirect('/')
        } catch (error) {
          if (!(error instanceof OidcProblem)) throw error
          await audit.record(loggedIn(done, 'unknown', 'failure', 'oidc'))
          res.redirect(`/#/sign-in?problem=${encodeURIComponent(error.message)}`)
        }
        return undefined
      },
    }),
    operation({
      method: 'put',
      path: '/session/password',
      permission: 'studies:read',
      tag,
      summary: 'Changes the password of the one who asks; all sessions of the account end',
      body: z.strictObject({ current: z.string().max(200), password, code: z.string().optional() }),
      status: 204,
      problems: { 409: 'only accounts have a password' },
      async handle({ body, caller, done }) {
        if (caller.session?.kind !== 'account') throw new ApiProblem(409, 'only accounts have a password here')
        const right = await signIn(database, { name: caller.name, password: body.current, code: body.code })
        if (right.outcome !== 'signed-in') throw new ApiProblem(403, 'the current password, or the code, is wrong')
        await audit.record(done({ event: 'accounts-changed', detail: { account: caller.name, what: 'own password' } }))
        await transaction(database, tx => changeAccount(tx, caller.name, { password: body.password }))
        return ''
      },
    }),
    operation({
      method: 'post',
      path: '/session/totp',
      permission: 'studies:read',
      tag,
      summary: 'Begins to set up an authenticator for the one who asks',
      answer: z.object({ uri: z.string(), secret: z.string() }),
      problems: { 409: 'one is set up, or this is no account' },
      async handle({ caller }) {
        const begun = caller.session?.kind === 'account' ? await beginTotp(database, caller.name) : undefined
        if (!begun) throw new ApiProblem(409, 'an authenticator is set up already, or this is no account')
        return begun
      },
    }),
    operation({
      method: 'put',
      path: '/session/totp',
      permission: 'studies:read',
      tag,
      summary: 'Confirms an authenticator by a code: from now on one is asked for',
      body: z.strictObject({ code: z.string().regex(/^\d{6}$/, 'expected six digits') }),
      status: 204,
      problems: { 409: 'the code is wrong' },
      async handle({ body, caller, done }) {
        if (caller.session?.kind !== 'account' || !(await confirmTotp(database, caller.name, body.code)))
          throw new ApiProblem(409, 'the code is wrong; is the clock of the authenticator right?')
        await audit.record(done({ event: 'accounts-changed', detail: { account: caller.name, what: 'authenticator' } }))
        return ''
      },
    }),
  ]
}

function accountOperations({ database, audit, guard }: AdminContext): Operation[] {
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
      body: z.strictObject({ name: accountName, role, password }),
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
        password: password.optional(),
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

function tokenOperations({ database, audit }: AdminContext): Operation[] {
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

function addressOf({ publicUrl, secure }: AdminContext, host: string | undefined): string {
  return publicUrl?.replace(/\/$/, '') ?? `${secure ? 'https' : 'http'}://${host}`
}
