import { hash, verify } from '@node-rs/argon2'
import { Secret, TOTP } from 'otpauth'
import { z } from 'zod'
import type { Database, Queryable } from '../../platform/database.js'
import type { Role } from './permissions.js'

export interface Account {
  name: string
  role: Role
  disabled: boolean
  totp: boolean
  locked: boolean
  createdAt: Date
  signedInAt: Date | null
}

const minimumPasswordLength = 12
export const passwordSchema = z
  .string()
  .min(minimumPasswordLength, `expected a password of at least ${minimumPasswordLength} characters`)
  .max(200)
/** Failures in a row after which an account is locked, and for how long. */
const failuresToLock = 5
const lockedMinutes = 15
const totpPeriodSeconds = 30

// OWASP's first choice for argon2id: 19 MiB, two passes.
const argon2id = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }
/** Verified against for names that nobody bears, so that the time of an answer tells nothing. */
const nobody = hash('nobody has this password', argon2id)

const columns = `name, role, disabled, totp_confirmed totp, coalesce(locked_until > now(), false) locked,
  created_at "createdAt", signed_in_at "signedInAt"`

export async function listAccounts(db: Queryable): Promise<Account[]> {
  return (await db.query<Account>(`select ${columns} from account order by name`)).rows
}

export async function anyAccount(db: Queryable): Promise<boolean> {
  return (await db.query('select 1 from account limit 1')).rows.length > 0
}

/** @returns undefined if the name is taken */
export async function createAccount(
  db: Queryable,
  { name, role, password }: { name: string; role: Role; password: string },
): Promise<Account | undefined> {
  const { rows } = await db.query<Account>(
    `insert into account (name, role, password_hash) values ($1, $2, $3) on conflict do nothing returning ${columns}`,
    [name, role, await hash(password, argon2id)],
  )
  return rows[0]
}

/** Changes what is given; a new password, a new role and being disabled end the sessions of the account. @returns undefined: no such account */
export async function changeAccount(
  tx: Queryable,
  name: string,
  change: {
    role?: Role | undefined
    password?: string | undefined
    disabled?: boolean | undefined
    totp?: 'off' | undefined
    unlock?: true | undefined
  },
): Promise<Account | undefined> {
  const passwordHash = change.password === undefined ? null : await hash(change.password, argon2id)
  const { rows } = await tx.query<Account>(
    `update account set role = coalesce($2, role), password_hash = coalesce($3, password_hash), disabled = coalesce($4, disabled),
            totp_secret = case when $5 then null else totp_secret end, totp_confirmed = totp_confirmed and not $5,
            failures = case when $6 then 0 else failures end, locked_until = case when $6 then null else locked_until end
      where name = $1 returning ${columns}`,
    [
      name,
      change.role ?? null,
      passwordHash,
      change.disabled ?? null,
      change.totp === 'off',
      change.unlock === true || change.password !== undefined,
    ],
  )
  if (rows[0]) await tx.query(`delete from session where name = $1 and kind = 'account'`, [name])
  return rows[0]
}

export async function deleteAccount(tx: Queryable, name: string): Promise<boolean> {
  await tx.query(`delete from session where name = $1 and kind = 'account'`, [name])
  return (await tx.query('delete from account where name = $1', [name])).rowCount === 1
}

/** Administrators who can sign in. The last one is neither deleted nor demoted nor disabled. */
export async function administrators(tx: Queryable): Promise<string[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select name from account where role = 'administrator' and not disabled for update`,
  )
  return rows.map(row => row.name)
}

export type SignIn = { outcome: 'signed-in'; name: string; role: Role } | { outcome: 'refused' | 'code-needed' }

/** Checks name, password and, where it is set up, the code of an authenticator. */
export async function signIn(
  database: Database,
  { name, password, code }: { name: string; password: string; code?: string | undefined },
): Promise<SignIn> {
  const { rows } = await database.query<{
    role: Role
    password_hash: string
    totp_secret: string | null
    totp_confirmed: boolean
    totp_last_step: number
    usable: boolean
  }>(
    `select role, password_hash, totp_secret, totp_confirmed, totp_last_step,
            not disabled and coalesce(locked_until < now(), true) usable from account where name = $1`,
    [name],
  )
  const account = rows[0]
  const passwordIsRight = await verify(account?.password_hash ?? (await nobody), password)
  if (!account?.usable) return { outcome: 'refused' }
  const needsCode = account.totp_confirmed && account.totp_secret !== null
  if (passwordIsRight && needsCode && code === undefined) return { outcome: 'code-needed' }
  const step = needsCode ? stepOf(account.totp_secret!, code ?? '') : undefined
  const isRight = passwordIsRight && (!needsCode || (step !== undefined && step > account.totp_last_step))
  if (!isRight) {
    await database.query(
      `update account set failures = failures + 1,
              locked_until = case when failures + 1 >= $2 then now() + make_interval(mins => $3) end where name = $1`,
      [name, failuresToLock, lockedMinutes],
    )
    return { outcome: 'refused' }
  }
  // A code that somebody else has used in the meantime is refused.
  const { rowCount } = await database.query(
    `update account set failures = 0, locked_until = null, signed_in_at = now(), totp_last_step = greatest(totp_last_step, $2)
      where name = $1 and totp_last_step < $3`,
    [name, step ?? 0, step ?? Number.MAX_SAFE_INTEGER],
  )
  return rowCount === 1 ? { outcome: 'signed-in', name, role: account.role } : { outcome: 'refused' }
}

/** Begins to set up an authenticator. @returns the address to scan; undefined if one is set up, or there is no such account */
export async function beginTotp(db: Queryable, name: string): Promise<{ uri: string; secret: string } | undefined> {
  const secret = new Secret({ size: 20 })
  const { rowCount } = await db.query('update account set totp_secret = $2 where name = $1 and not totp_confirmed', [
    name,
    secret.base32,
  ])
  if (rowCount !== 1) return undefined
  return { uri: new TOTP({ issuer: 'Radbridge', label: name, secret }).toString(), secret: secret.base32 }
}

/** From now on a code is asked for, if this one is right. */
export async function confirmTotp(db: Queryable, name: string, code: string): Promise<boolean> {
  const { rows } = await db.query<{ totp_secret: string | null }>('select totp_secret from account where name = $1', [
    name,
  ])
  const secret = rows[0]?.totp_secret
  const step = secret ? stepOf(secret, code) : undefined
  if (step === undefined) return false
  await db.query('update account set totp_confirmed = true, totp_last_step = $2 where name = $1', [name, step])
  return true
}

/** The time step that a code belongs to: now, or one before or after; undefined: it is wrong. */
function stepOf(secret: string, code: string): number | undefined {
  const delta = new TOTP({ secret: Secret.fromBase32(secret), period: totpPeriodSeconds }).validate({
    token: code,
    window: 1,
  })
  return delta === null ? undefined : Math.floor(Date.now() / 1000 / totpPeriodSeconds) + delta
}
