import { addEvent, changeState, findRevision } from '../archive/index.js'
import { type Database, transaction } from '../platform/database.js'
import { addJob } from '../platform/jobs.js'
import { analysisQueue, deliveryQueue } from './context.js'

export type RetryOutcome = 'queued' | 'not-found' | 'not-failed'

/** Takes a dead delivery up again, with all its attempts before it. */
export async function retryDelivery(database: Database, id: number): Promise<RetryOutcome> {
  return transaction(database, async tx => {
    const { rows } = await tx.query<{ study: string; revision: number; destination: string }>(
      'select study_instance_uid study, revision, destination from delivery where id = $1',
      [id],
    )
    const delivery = rows[0]
    if (!delivery) return 'not-found'
    const { study, revision, destination } = delivery
    const current = await findRevision(tx, study, revision, true) // before the delivery, as a delivery itself does
    const { rowCount } = await tx.query(
      `update delivery set state = 'pending', attempts = 0, next_attempt_at = now() where id = $1 and state = 'dead'`,
      [id],
    )
    if (rowCount === 0) return 'not-failed'
    if (current?.state === 'failed') await changeState(tx, study, revision, 'delivering', { destination })
    else await addEvent(tx, study, revision, 'delivery retried', { destination })
    await addJob(tx, 'deliver', { delivery: id }, { key: `deliver:${id}`, queue: deliveryQueue(destination, id) })
    return 'queued'
  })
}

/** Takes a failed study up again where it failed: its dead deliveries, or its analysis. */
export async function retryStudy(database: Database, study: string): Promise<RetryOutcome> {
  const current = await findRevision(database, study)
  if (!current) return 'not-found'
  if (current.state !== 'failed') return 'not-failed'
  const { rows } = await database.query<{ id: number }>(
    `select id from delivery where study_instance_uid = $1 and revision = $2 and state = 'dead'`,
    [study, current.revision],
  )
  for (const { id } of rows) await retryDelivery(database, id)
  if (rows.length > 0) return 'queued'
  return transaction(database, async tx => {
    const { revision, state } = (await findRevision(tx, study, undefined, true))!
    if (state !== 'failed') return 'not-failed'
    const { rows: analyses } = await tx.query<{ provider: string }>(
      `update analysis set status = 'running', error = null, waiting_since = null
        where study_instance_uid = $1 and revision = $2 and arm = 'primary' returning provider`,
      [study, revision],
    )
    if (!analyses[0]) return 'not-failed' // it never got to an analysis: an inconsistent study
    await changeState(tx, study, revision, 'settled', { reason: 'taken up again' })
    await addJob(
      tx,
      'analyze',
      { study, revision },
      { key: `analyze:${study}:${revision}`, queue: await analysisQueue(tx, analyses[0].provider, study) },
    )
    return 'queued'
  })
}
