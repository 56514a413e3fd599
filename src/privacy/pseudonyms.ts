import { createHmac } from 'node:crypto'

/**
 * Names that stand for others and cannot be traced back without this installation's key. The same identifier always gives the same name, so that series
 * and patients stay together across requests and studies (PS3.15 E.3).
 */
export function pseudonym(key: string, kind: 'series' | 'study' | 'patient', identifier: string): string {
  return createHmac('sha256', key).update(`${kind}\0${identifier}`).digest('base64url').slice(0, 22)
}
