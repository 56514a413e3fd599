import type { Response } from 'express'
import { z } from 'zod'
import { transaction } from '../../platform/database.js'
import { beginTotp, changeAccount, confirmTotp, listAccounts, passwordSchema, signIn } from '../access/accounts.js'
import { administratorToken, type Caller, readCookie, sessionCookie } from '../access/guard.js'
import { OidcProblem } from '../access/oidcProblem.js'
import { roleNames } from '../access/permissions.js'
import { beginSession, endSession, type Session } from '../access/sessions.js'
import { type Call, type Operation, operation } from '../operation.js'
import { ApiProblem } from '../problem.js'
import type { AdminContext } from './common.js'

const role = z.enum(roleNames)
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
  viewer: z.boolean().describe('a viewer stands at /viewer/'),
})

type Done = Call<unknown, unknown, unknown>['done']

/** Signing in and out, and what people do with their own account. */
export function sessionOperations(context: AdminContext): Operation[] {
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
          viewer: context.viewer !== undefined,
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
      body: z.strictObject({ current: z.string().max(200), password: passwordSchema, code: z.string().optional() }),
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

function addressOf({ publicUrl, secure }: AdminContext, host: string | undefined): string {
  return publicUrl?.replace(/\/$/, '') ?? `${secure ? 'https' : 'http'}://${host}`
}
