import { createHash, randomBytes } from 'node:crypto'
import type { Database } from '../platform/database.js'

/** What the administrator shows for access. Only its digest is kept. */
export interface AdminToken {
  digest: Buffer
  /** True once a token is configured: without it nothing of the admin API is answered. On loopback the generated one is optional. */
  required: boolean
}

/** Compared by digest, so that the time it takes tells nothing of the token. */
export function tokenDigest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/**
 * The configured token, else one that is generated at the first start.
 * @returns `generated`: the token in plain text, at the first start only, to be shown once
 */
export async function adminToken(
  database: Database,
  configured: string | undefined,
): Promise<AdminToken & { generated?: string }> {
  if (configured !== undefined) return { digest: tokenDigest(configured), required: true }
  const generated = randomBytes(24).toString('base64url')
  const { rowCount } = await database.query(
    `insert into setting (name, value) values ('admin token digest', $1) on conflict do nothing`,
    [tokenDigest(generated).toString('hex')],
  )
  if (rowCount) return { digest: tokenDigest(generated), required: false, generated }
  const { rows } = await database.query<{ value: string }>(
    `select value from setting where name = 'admin token digest'`,
  )
  return { digest: Buffer.from(rows[0]!.value, 'hex'), required: false }
}
