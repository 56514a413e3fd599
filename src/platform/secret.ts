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

/** PEM texts of a TLS configuration: who is trusted, and who we are. */
export interface Tls {
  ca?: string
  cert?: string
  key?: string
}

/** Reads the files of a TLS configuration. @throws Error naming the file or reference that cannot be read */
export function readTls(tls: {
  ca?: string | undefined
  cert?: string | undefined
  /** A secret reference. */
  key?: string | undefined
}): Tls {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8')
    } catch (cause) {
      throw new Error(`TLS: ${path} cannot be read (${(cause as NodeJS.ErrnoException).code})`)
    }
  }
  return {
    ...(tls.ca ? { ca: read(tls.ca) } : {}),
    ...(tls.cert ? { cert: read(tls.cert) } : {}),
    ...(tls.key ? { key: resolveSecret(tls.key) } : {}),
  }
}
