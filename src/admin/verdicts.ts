import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { deriveUid } from '../dicom/uid.js'
import type { Database } from '../platform/database.js'

/** What a radiologist says: of a finding by its Tracking Unique Identifier, or that something was missed. */
export const verdictSchema = z.union([
  z.strictObject({ trackingUid: z.string().max(64), verdict: z.enum(['true-positive', 'false-positive']) }),
  z.strictObject({ verdict: z.literal('missed') }),
])

/** @returns undefined if the study, or a finding of this tracking UID in it, is not known */
export async function giveVerdict(
  database: Database,
  study: string,
  verdict: z.infer<typeof verdictSchema>,
): Promise<string | undefined> {
  const trackingUid = 'trackingUid' in verdict ? verdict.trackingUid : undefined
  const { rows } = await database.query<{ revision: number }>(
    `select revision from analysis
      where study_instance_uid = $1 and arm = 'primary' and findings is not null
        and ($2::text is null or exists (select from jsonb_array_elements(findings -> 'items') i where i ->> 'trackingUid' = $2))
      order by revision desc limit 1`,
    [study, trackingUid ?? null],
  )
  if (!rows[0]) return undefined
  const uid = trackingUid ?? deriveUid('missed', study, randomUUID())
  await database.query(
    `insert into verdict (study_instance_uid, tracking_uid, revision, verdict) values ($1, $2, $3, $4)
     on conflict (study_instance_uid, tracking_uid)
        do update set verdict = excluded.verdict, revision = excluded.revision, at = now()`,
    [study, uid, rows[0].revision, verdict.verdict],
  )
  return uid
}

/** A share with its 95 % interval (Wilson): what few verdicts cannot say, it does not. */
export interface Share {
  value: number
  low: number
  high: number
  of: number
}

export function shareOf(count: number, total: number): Share | null {
  if (total === 0) return null
  const z2 = 1.959964 ** 2
  const value = count / total
  const middle = (value + z2 / (2 * total)) / (1 + z2 / total)
  const half = (1.959964 * Math.sqrt((value * (1 - value)) / total + z2 / (4 * total * total))) / (1 + z2 / total)
  return { value, low: Math.max(0, middle - half), high: Math.min(1, middle + half), of: total }
}
