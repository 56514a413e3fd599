import type { Finding, Findings } from '../analysis/findings.js'
import { isWithin, nextTime } from '../platform/clock.js'
import type { Queryable } from '../platform/database.js'
import type { Endpoints } from '../platform/endpoints.js'
import { addJob } from '../platform/jobs.js'
import type { NotificationRule, NotifiedEvent, UrgentFinding } from '../platform/notificationSettings.js'

/** Something that administrators may want to be told of. */
export interface Occurrence {
  event: NotifiedEvent
  /** The same thing has the same one: it is told once. */
  key: string
  /** For people; no patient data. */
  summary: string
  study?: string
  detail?: Record<string, unknown>
}

/** Has it told by each rule that asks for it; exactly if the transaction commits. What is over the limit of a rule is counted, and told with the next one. */
export async function raise(
  db: Queryable,
  occurrence: Occurrence,
  rules: Endpoints['notifications'],
  now = new Date(),
): Promise<void> {
  for (const rule of rules.filter(entry => entry.on.includes(occurrence.event)))
    await raiseBy(db, occurrence, rule, now)
}

async function raiseBy(
  db: Queryable,
  { event, key, summary, study, detail = {} }: Occurrence,
  rule: NotificationRule,
  now: Date,
): Promise<void> {
  const { rows } = await db.query<{ id: number; state: string }>(
    `insert into notification (rule, event, key, study_instance_uid, summary, detail, state)
     select $1, $2, $3, $4, $5, $6,
            case when $2 <> 'urgent-finding' and (select count(*) from notification
                        where rule = $1 and state <> 'suppressed' and created_at > now() - interval '1 hour') >= $7
                 then 'suppressed' else 'pending' end
         on conflict (rule, key) do nothing returning id, state`,
    [rule.name, event, key, study ?? null, summary, JSON.stringify(detail), rule.perHour],
  )
  if (rows[0]?.state !== 'pending') return
  const quiet = rule.quietHours
  const waits = quiet && event !== 'urgent-finding' && isWithin(quiet, now)
  await addJob(
    db,
    'notify',
    { notification: rows[0].id },
    { maxAttempts: 12, ...(waits ? { runAt: nextTime(quiet.to, quiet.timeZone, now) } : {}) },
  )
}

/** Tells of what is urgent in an analysis. @returns whether anything is */
export async function raiseUrgent(
  db: Queryable,
  study: string,
  revision: number,
  findings: Findings,
  rules: Endpoints['notifications'],
): Promise<boolean> {
  let any = false
  for (const rule of rules) {
    if (!rule.on.includes('urgent-finding')) continue
    const urgent = findings.items.filter(item => rule.urgent.some(condition => isUrgent(item, condition)))
    if (urgent.length === 0) continue
    any = true
    const types = [...new Set(urgent.map(item => item.type.meaning))]
    const occurrence: Occurrence = {
      event: 'urgent-finding',
      key: `urgent:${study}:${revision}`,
      study,
      summary: `${urgent.length} finding${urgent.length === 1 ? '' : 's'} that count as urgent: ${types.join(', ')}. Unverified result of ${findings.algorithm.name} ${findings.algorithm.version}.`,
      detail: { findings: urgent.map(({ trackingIdentifier }) => trackingIdentifier), revision },
    }
    await raise(db, occurrence, [rule])
  }
  return any
}

function isUrgent(item: Finding, { type, probability, quantity, above }: UrgentFinding): boolean {
  if (type && !(item.type.scheme === type.scheme && item.type.value === type.value)) return false
  if (probability !== undefined && (item.probability ?? 0) < probability) return false
  if (!quantity) return true
  return item.measurements.some(
    ({ quantity: measured, value }) =>
      measured.scheme === quantity.scheme && measured.value === quantity.value && value > above!,
  )
}
