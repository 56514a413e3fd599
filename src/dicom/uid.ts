import { createHash, randomUUID } from 'node:crypto'

/** PS3.5 9.1: components of digits without leading zeros, at most 64 characters. */
export function isValidUid(text: string): boolean {
  return text.length <= 64 && /^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$/.test(text)
}

/**
 * A UID that is always the same for the same parts, under the root 2.25 (PS3.5 B.2) as a name-based UUID (RFC 9562 version 8).
 * @param parts what the UID names, for example study, revision, route, kind
 */
export function deriveUid(...parts: readonly (string | number)[]): string {
  const digest = createHash('sha256')
    .update(['radbridge', ...parts].join('\0'))
    .digest()
  digest[6] = (digest[6]! & 0x0f) | 0x80
  digest[8] = (digest[8]! & 0x3f) | 0x80
  return `2.25.${BigInt(`0x${digest.subarray(0, 16).toString('hex')}`)}`
}

/** Names this software in the file meta information of objects that it writes (PS3.7 D.3.3.2). */
export const implementationClassUid = deriveUid('implementation')

/** A UID that nothing else has, under the root 2.25 (PS3.5 B.2). */
export function randomUid(): string {
  return `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`
}
