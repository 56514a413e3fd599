import { addEvent, changeState, findInstance, findRevision } from '../archive/index.js'
import { type DeliveryOutcome, delayBeforeRetry, maxAttempts } from '../delivery/index.js'
import { type Transaction, transaction } from '../platform/database.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import { deliveryQueue, type PipelineContext } from './context.js'
import { finishStudy } from './finishStudy.js'

interface DeliveryRow {
  id: number
  study: string
  revision: number
  sopInstanceUid: string
  destination: string
  state: 'pending' | 'delivered' | 'dead'
  attempts: number
}

const selectDelivery = `select id, study_instance_uid study, revision, sop_instance_uid "sopInstanceUid", destination, state, attempts
                          from delivery where id = $1`

/** One attempt to bring one object to one destination. What comes next, another attempt or the end, is decided by its outcome. */
export async function deliver(
  { delivery: id }: JobPayloads['deliver'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database } = context
  const { rows } = await database.query<DeliveryRow>(selectDelivery, [id])
  const delivery = rows[0]
  if (delivery?.state !== 'pending') return
  const outcome = await attempt(delivery, context)
  const log = job.log.child({
    study: delivery.study,
    destination: delivery.destination,
    object: delivery.sopInstanceUid,
  })
  await transaction(database, async tx => {
    // First of all: an event holds its study by a foreign key, and two deliveries that then want the study for themselves block each other.
    const current = await findRevision(tx, delivery.study, delivery.revision, true)
    const attempts = delivery.attempts + 1
    const dead = outcome.outcome === 'refused' || (outcome.outcome === 'failed' && attempts >= maxAttempts)
    const wait = outcome.outcome === 'failed' ? delayBeforeRetry(attempts, outcome.retryAfterSeconds) : 0
    const state = outcome.outcome === 'delivered' ? 'delivered' : dead ? 'dead' : 'pending'
    await tx.query(
      `update delivery set state = $2, attempts = $3, last_error = $4, first_attempt_at = coalesce(first_attempt_at, now()),
              delivered_at = case when $2 = 'delivered' then now() end, next_attempt_at = $5 where id = $1`,
      [
        id,
        state,
        attempts,
        state === 'delivered' ? null : outcome.detail,
        state === 'pending' ? new Date(Date.now() + wait * 1000) : null,
      ],
    )
    const detail = { destination: delivery.destination, attempt: attempts, detail: outcome.detail }
    if (state === 'pending') {
      await addEvent(tx, delivery.study, delivery.revision, 'delivery failed', {
        ...detail,
        nextAttemptInSeconds: Math.round(wait),
      })
      await addJob(
        tx,
        'deliver',
        { delivery: id },
        {
          key: `deliver:${id}`,
          queue: deliveryQueue(delivery.destination, id),
          runAt: new Date(Date.now() + wait * 1000),
        },
      )
      log.warn('delivery failed, will be tried again', {
        attempt: attempts,
        inSeconds: Math.round(wait),
        error: outcome.detail,
      })
      return
    }
    await addEvent(tx, delivery.study, delivery.revision, state === 'dead' ? 'delivery dead' : 'delivered', detail)
    if (state === 'dead')
      log.error('delivery given up: a dead letter waits for an administrator', { attempts, error: outcome.detail })
    else log.info('delivered', { attempts, detail: outcome.detail })
    if (current?.state === 'delivering') await concludeStudy(tx, delivery.study, delivery.revision)
  })
}

async function attempt(
  delivery: DeliveryRow,
  { deliverers, database, blobs }: PipelineContext,
): Promise<DeliveryOutcome> {
  const deliverer = deliverers.get(delivery.destination)
  if (!deliverer) return { outcome: 'refused', detail: 'this destination is no longer configured' }
  const instance = await findInstance(database, delivery.sopInstanceUid)
  if (!instance) return { outcome: 'refused', detail: 'the object is no longer in the archive' }
  return deliverer.deliver({ ...instance, path: blobs.pathOf(instance.blobKey) })
}

/** When no delivery is pending any more the study has reached its end. */
async function concludeStudy(tx: Transaction, study: string, revision: number): Promise<void> {
  const { rows } = await tx.query<{ state: string; destination: string }>(
    'select state, destination from delivery where study_instance_uid = $1 and revision = $2',
    [study, revision],
  )
  if (rows.some(row => row.state === 'pending')) return
  const dead = [...new Set(rows.filter(row => row.state === 'dead').map(row => row.destination))]
  if (dead.length > 0)
    await changeState(tx, study, revision, 'failed', { reason: `not delivered to ${dead.join(', ')}` })
  else await finishStudy(tx, study, revision)
}
