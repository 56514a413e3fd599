import { randomBytes } from 'node:crypto'
import type { Queryable } from '../../platform/database.js'
import { tokenDigest } from '../adminToken.js'
import type { Permission, Role } from './permissions.js'

export interface Session {
  name: string
  role: Role
  kind: 'account' | 'oidc' | 'token'
  csrf: string
}

/** A session on which nothing happens ends. */
const idleMinutes = 30

/** @returns the value of the cookie; only its digest is kept */
export async function beginSession(
  db: Queryable,
  session: { name: string; role: Role; kind: Session['kind']; idToken?: string | undefined },
  hours: number,
): Promise<{ cookie: string; csrf: string }> {
  const cookie = randomBytes(32).toString('base64url')
  const csrf = randomBytes(24).toString('base64url')
  await db.query(
    `with ended as (delete from session where expires_at < now() or seen_at < now() - interval '${idleMinutes} minutes')
     insert into session (digest, name, role, kind, csrf, id_token, expires_at)
     values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))`,
    [tokenDigest(cookie), session.name, session.role, session.kind, csrf, session.idToken ?? null, hours * 3600],
  )
  return { cookie, csrf }
}

export async function findSession(db: Queryable, cookie: string): Promise<Session | undefined> {
  const { rows } = await db.query<Session & { stale: boolean }>(
    `select name, role, kind, csrf, seen_at < now() - interval '1 minute' stale from session
      where digest = $1 and expires_at > now() and seen_at > now() - interval '${idleMinutes} minutes'`,
    [tokenDigest(cookie)],
  )
  const session = rows[0]
  if (session?.stale) await db.query('update session set seen_at = now() where digest = $1', [tokenDigest(cookie)])
  return session
}

/** @returns the ID token of a session by OpenID Connect */
export async function endSession(db: Queryable, cookie: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id_token: string | null }>(
    'delete from session where digest = $1 returning id_token',
    [tokenDigest(cookie)],
  )
  return rows[0]?.id_token ?? undefined
}

export interface ApiToken {
  id: number
  name: string
  scopes: Permission[]
  createdBy: string
  createdAt: Date
  expiresAt: Date
  usedAt: Date | null
}

const tokenColumns = `id, name, scopes, created_by "createdBy", created_at "createdAt", expires_at "expiresAt", used_at "usedAt"`
export const apiTokenPrefix = 'rb_'

export async function listApiTokens(db: Queryable): Promise<ApiToken[]> {
  return (await db.query<ApiToken>(`select ${tokenColumns} from api_token order by id`)).rows
}

/** @returns the token in plain text, this once; only its digest is kept */
export async function createApiToken(
  db: Queryable,
  { name, scopes, days, createdBy }: { name: string; scopes: Permission[]; days: number; createdBy: string },
): Promise<ApiToken & { token: string }> {
  const token = apiTokenPrefix + randomBytes(32).toString('base64url')
  const { rows } = await db.query<ApiToken>(
    `insert into api_token (name, digest, scopes, created_by, expires_at)
     values ($1, $2, $3, $4, now() + make_interval(secs => $5)) returning ${tokenColumns}`,
    [name, tokenDigest(token), scopes, createdBy, days * 86_400],
  )
  return { ...rows[0]!, token }
}

export async function deleteApiToken(db: Queryable, id: number): Promise<boolean> {
  return (await db.query('delete from api_token where id = $1', [id])).rowCount === 1
}

export async function findApiToken(
  db: Queryable,
  token: string,
): Promise<{ name: string; scopes: Permission[] } | undefined> {
  const { rows } = await db.query<{ id: number; name: string; scopes: Permission[]; stale: boolean }>(
    `select id, name, scopes, coalesce(used_at < now() - interval '1 minute', true) stale
       from api_token where digest = $1 and expires_at > now()`,
    [tokenDigest(token)],
  )
  const found = rows[0]
  if (found?.stale) await db.query('update api_token set used_at = now() where id = $1', [found.id])
  return found
}
