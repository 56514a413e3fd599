import { createHash } from 'node:crypto'
import type { Request, Response } from 'express'
import type { RetrievableInstance } from '../archive/index.js'

/** Entity tag (RFC 9110 8.8.3) of instances in a form: another one as soon as one of them is another. */
export function entityTag(instances: readonly RetrievableInstance[], form: string): string {
  const hash = createHash('sha1').update(form)
  for (const { sopInstanceUid, crc32, byteLength } of instances)
    hash.update(`\n${sopInstanceUid} ${crc32} ${byteLength}`)
  return `"${hash.digest('base64url')}"`
}

/** Sets the entity tag, and answers 304 if the client has what is there (RFC 9110 13.1.2). */
export function isNotModified(req: Request, res: Response, tag: string): boolean {
  res.set({ ETag: tag, 'Cache-Control': 'private, no-cache' })
  const known = req.headers['if-none-match']
  if (!known) return false
  const matches = known === '*' || known.split(',').some(one => one.trim().replace(/^W\//, '') === tag)
  if (matches) res.status(304).end()
  return matches
}

/** The one range that is asked for (RFC 9110 14.2), both ends included; several, or one that cannot be read, are as good as none. */
export function rangeOf(req: Request, length: number): { start: number; end: number } | 'unsatisfiable' | undefined {
  const asked = /^bytes=(\d*)-(\d*)$/.exec(req.headers.range?.trim() ?? '')
  if (!asked || (asked[1] === '' && asked[2] === '')) return undefined
  const [from, to] = [asked[1]!, asked[2]!]
  const start = from === '' ? Math.max(0, length - Number(to)) : Number(from)
  const end = from === '' || to === '' ? length - 1 : Math.min(Number(to), length - 1)
  return start > end || start >= length ? 'unsatisfiable' : { start, end }
}
