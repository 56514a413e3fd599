import { readFileSync } from 'node:fs'

/** A secret is kept outside of configuration and named by `env:NAME` or `file:/path`. */
export const secretReference = /^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/

/**
 * The value behind a secret reference, without a trailing line end.
 * @throws Error naming the reference, never the value
 */
export function resolveSecret(reference: string): string {
  const [kind, name] = [reference.slice(0, reference.indexOf(':')), reference.slice(reference.indexOf(':') + 1)]
  if (kind === 'env') {
    const value = process.env[name]
    if (!value) throw new Error(`secret ${reference}: the environment variable is not set`)
    return value
  }
  try {
    return readFileSync(name, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw new Error(`secret ${reference}: cannot be read (${(cause as NodeJS.ErrnoException).code})`)
  }
}

/** The header by which a DICOMweb server knows us. */
export function authorizationOf({
  token,
  username,
  password,
}: {
  token?: string | undefined
  username?: string | undefined
  password?: string | undefined
}): Record<string, string> {
  if (token) return { Authorization: `Bearer ${resolveSecret(token)}` }
  if (username && password) {
    return { Authorization: `Basic ${Buffer.from(`${username}:${resolveSecret(password)}`).toString('base64')}` }
  }
  return {}
}
