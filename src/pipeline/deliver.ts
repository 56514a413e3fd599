import { addEvent, changeState, DamagedBlob, findInstance, findRevision, requireAllWhole } from '../archive/index.js'
import { type DeliveryOutcome, delayBeforeRetry, maxAttempts } from '../delivery/index.js'
import { deriveUid } from '../dicom/uid.js'
import { type Peer, peerOf } from '../dimse/openAssociation.js'
import { type CommitmentReport, requestCommitment } from '../dimse/storageCommitment.js'
import { type Transaction, transaction } from '../platform/database.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import { metrics } from '../platform/metrics.js'
import { inStudySpan } from '../platform/tracing.js'
import { deliveryQueue, type PipelineContext } from './context.js'
import { finishStudy } from './finishStudy.js'

interface DeliveryRow {
  id: number
  study: string
  revision: number
  sopInstanceUid: string
  destination: string
  state: 'pending' | 'stored' | 'delivered' | 'dead'
  attempts: number
}

/** What came of an attempt; `stored`: the destination is asked to commit to keeping the object, and `delivered` is what it has promised. */
type AttemptOutcome = DeliveryOutcome | { outcome: 'stored'; detail: string; commitmentUid: string }

const selectDeliveries =
  'select id, study_instance_uid study, revision, sop_instance_uid "sopInstanceUid", destination, state, attempts from delivery'

/** One attempt to bring one object to one destination. What comes next, another attempt or the end, is decided by its outcome. */
export async function deliver(
  { delivery: id }: JobPayloads['deliver'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database } = context
  const { rows } = await database.query<DeliveryRow>(`${selectDeliveries} where id = $1`, [id])
  const delivery = rows[0]
  if (delivery?.state !== 'pending' && delivery?.state !== 'stored') return
  const tried =
    delivery.state === 'stored'
      ? notCommitted(delivery)
      : await inStudySpan(
          'deliver',
          delivery.study,
          delivery.revision,
          { 'radbridge.destination': delivery.destination, 'radbridge.attempt': delivery.attempts + 1 },
          () => attempt(delivery, context),
        )
  const peer = commitmentPeer(delivery.destination, context)
  const commitmentUid = deriveUid('commitment', id, delivery.attempts + 1)
  const outcome: AttemptOutcome =
    tried.outcome === 'delivered' && peer ? { ...tried, outcome: 'stored', commitmentUid } : tried
  metrics.deliveries.inc({ destination: delivery.destination, outcome: outcome.outcome })
  await transaction(database, tx => conclude(tx, delivery, outcome, { ...context, log: job.log }))
  if (tried.outcome === 'delivered')
    context.audit.tally({
      event: 'instances-sent',
      actor: { name: 'radbridge' },
      study: delivery.study,
      peer: delivery.destination,
      instances: 1,
    })
  if (outcome.outcome === 'stored') await askForCommitment(delivery, outcome.commitmentUid, peer!, context)
}

/** No attempt of the job came to an end: the delivery is a dead letter. */
export async function giveUpDelivery(id: number, reason: string, context: PipelineContext): Promise<void> {
  await transaction(context.database, async tx => {
    const { rows } = await tx.query<DeliveryRow>(`${selectDeliveries} where id = $1`, [id])
    const delivery = rows[0]
    if (delivery?.state !== 'pending' && delivery?.state !== 'stored') return
    await conclude(tx, delivery, { outcome: 'refused', detail: reason }, context)
  })
}

/** Writes down what came of an attempt, and what follows. */
async function conclude(
  tx: Transaction,
  delivery: DeliveryRow,
  outcome: AttemptOutcome,
  context: Pick<PipelineContext, 'endpoints' | 'log'>,
): Promise<void> {
  const { id, study, revision, destination } = delivery
  const log = context.log.child({ study, destination, object: delivery.sopInstanceUid })
  // First of all: an event holds its study by a foreign key, and two deliveries that then want the study for themselves block each other.
  const current = await findRevision(tx, study, revision, true)
  const attempts = delivery.attempts + 1
  const dead = outcome.outcome === 'refused' || (outcome.outcome === 'failed' && attempts >= maxAttempts)
  const state =
    outcome.outcome === 'failed' || outcome.outcome === 'refused' ? (dead ? 'dead' : 'pending') : outcome.outcome
  const wait =
    outcome.outcome === 'stored'
      ? commitmentSeconds
      : outcome.outcome === 'failed'
        ? delayBeforeRetry(attempts, outcome.retryAfterSeconds)
        : 0
  const again = state === 'pending' || state === 'stored' ? wait : null
  const { rowCount } = await tx.query(
    `update delivery set state = $2, attempts = $3, last_error = $4, first_attempt_at = coalesce(first_attempt_at, now()),
            delivered_at = case when $2 = 'delivered' then now() end, next_attempt_at = now() + make_interval(secs => $5), commitment_uid = $6
      where id = $1 and state = $7`,
    [
      id,
      state,
      attempts,
      state === 'delivered' || state === 'stored' ? null : outcome.detail,
      again,
      outcome.outcome === 'stored' ? outcome.commitmentUid : null,
      delivery.state,
    ],
  )
  if (rowCount === 0) return // a report that came twice, or while the delivery was made once more
  if (again !== null)
    await addJob(
      tx,
      'deliver',
      { delivery: id },
      { key: `deliver:${id}`, queue: deliveryQueue(destination, id), inSeconds: again },
    )
  const detail = { destination, attempt: attempts, detail: outcome.detail }
  switch (state) {
    case 'pending':
      await addEvent(tx, study, revision, 'delivery failed', { ...detail, nextAttemptInSeconds: Math.round(wait) })
      log.warn('delivery failed, will be tried again', {
        attempt: attempts,
        inSeconds: Math.round(wait),
        error: outcome.detail,
      })
      return
    case 'stored':
      await addEvent(tx, study, revision, 'stored, commitment asked for', detail)
      log.info('stored, commitment asked for', { attempts, detail: outcome.detail })
      return
    case 'dead':
      await addEvent(tx, study, revision, 'delivery dead', detail)
      log.error('delivery given up: a dead letter waits for an administrator', { attempts, error: outcome.detail })
      break
    case 'delivered':
      await addEvent(tx, study, revision, 'delivered', detail)
      log.info('delivered', { attempts, detail: outcome.detail })
  }
  if (current?.state === 'delivering') await concludeStudy(tx, study, revision, context)
}

/** A destination that has promised nothing for so long is asked again. */
const commitmentSeconds = 300

/** The time for its commitment is over: it is asked once more, or after too many times it is a dead letter. */
function notCommitted({ attempts }: DeliveryRow): DeliveryOutcome {
  return attempts >= maxAttempts
    ? { outcome: 'refused', detail: 'stored, but the destination has not committed to keeping it (storage commitment)' }
    : { outcome: 'delivered', detail: 'stored; not yet committed' }
}

function commitmentPeer(name: string, { endpoints, aeTitle }: PipelineContext): Peer | undefined {
  const destination = endpoints.destinations.find(entry => entry.name === name)
  if (!destination || !('dimse' in destination) || !destination.dimse.commit) return undefined
  return peerOf(destination.dimse, aeTitle)
}

/** A request that fails is made again with the next attempt. */
async function askForCommitment(
  { study, revision, destination, sopInstanceUid }: DeliveryRow,
  commitmentUid: string,
  peer: Peer,
  context: PipelineContext,
): Promise<void> {
  const instance = await findInstance(context.database, sopInstanceUid)
  if (!instance) return
  try {
    await requestCommitment(peer, commitmentUid, [instance], report => commitmentReported(report, context))
  } catch (error) {
    const detail = (error as NodeJS.ErrnoException).code ?? (error as Error).message
    context.log.warn('storage commitment could not be asked for', { study, destination, error: detail })
    await addEvent(context.database, study, revision, 'commitment could not be asked for', { destination, detail })
  }
}

/** What a destination has promised to keep is delivered; what it has not is sent again. Reports of what nobody waits for change nothing. */
export async function commitmentReported(
  { transactionUid, committed, failed }: CommitmentReport,
  context: Pick<PipelineContext, 'database' | 'endpoints' | 'log'>,
): Promise<void> {
  const { database } = context
  const { rows } = await database.query<DeliveryRow>(
    `${selectDeliveries} where commitment_uid = $1 and state = 'stored'`,
    [transactionUid],
  )
  for (const delivery of rows) {
    const isKept = committed.some(entry => entry.sopInstanceUid === delivery.sopInstanceUid)
    const refused = failed.find(entry => entry.sopInstanceUid === delivery.sopInstanceUid)
    if (!isKept && !refused) continue
    const outcome: DeliveryOutcome = isKept
      ? { outcome: 'delivered', detail: 'stored and committed (storage commitment)' }
      : {
          outcome: 'failed',
          detail: `the destination did not commit to keeping it (${refused!.reason.toString(16).toUpperCase().padStart(4, '0')})`,
        }
    await transaction(database, tx => conclude(tx, delivery, outcome, context))
  }
}

async function attempt(
  delivery: DeliveryRow,
  { deliverers, database, blobs }: PipelineContext,
): Promise<DeliveryOutcome> {
  const deliverer = deliverers.get(delivery.destination)
  if (!deliverer) return { outcome: 'refused', detail: 'this destination is no longer configured' }
  const instance = await findInstance(database, delivery.sopInstanceUid)
  if (!instance) return { outcome: 'refused', detail: 'the object is no longer in the archive' }
  try {
    await requireAllWhole(blobs, [instance])
  } catch (error) {
    if (error instanceof DamagedBlob) return { outcome: 'refused', detail: error.message }
    throw error
  }
  return deliverer.deliver({ ...instance, path: await blobs.localPath(instance.blobKey) })
}

/** When no delivery is pending any more the study has reached its end. */
async function concludeStudy(
  tx: Transaction,
  study: string,
  revision: number,
  { endpoints }: Pick<PipelineContext, 'endpoints'>,
): Promise<void> {
  const { rows } = await tx.query<{ state: string; destination: string }>(
    'select state, destination from delivery where study_instance_uid = $1 and revision = $2',
    [study, revision],
  )
  if (rows.some(row => row.state === 'pending' || row.state === 'stored')) return
  for (const name of new Set(rows.filter(row => row.state === 'delivered').map(row => row.destination))) {
    const destination = endpoints.destinations.find(entry => entry.name === name)
    if (destination && 'dimse' in destination && destination.dimse.notify)
      await addJob(tx, 'notifyAvailability', { study, revision, destination: name })
  }
  const dead = [...new Set(rows.filter(row => row.state === 'dead').map(row => row.destination))]
  if (dead.length > 0)
    await changeState(tx, study, revision, 'failed', { reason: `not delivered to ${dead.join(', ')}` })
  else await finishStudy(tx, study, revision)
}
