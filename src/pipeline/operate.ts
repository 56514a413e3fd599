import { addEvent, changeState, findRevision } from '../archive/index.js'
import type { AuditEvent } from '../platform/audit.js'
import { transaction } from '../platform/database.js'
import { addJob } from '../platform/jobs.js'
import { deliveryQueue, type PipelineContext } from './context.js'
import { sendOnItsWay } from './settle.js'

/** What came of something that was asked for; `not-now`: the state of the study does not allow it. */
export type OperationOutcome = 'done' | 'not-found' | 'not-now'

const ended = ['completed', 'failed', 'ignored']

/** Analyses a study again, by the configuration of now, as a new revision: its report supersedes the one before. */
export async function analyzeAgain(study: string, by: string, context: PipelineContext): Promise<OperationOutcome> {
  return transaction(context.database, async tx => {
    const current = await findRevision(tx, study, undefined, true)
    if (!current) return 'not-found'
    if (!ended.includes(current.state)) return 'not-now'
    const revision = current.revision + 1
    await tx.query(
      `insert into study_revision (study_instance_uid, revision, state, evidence) values ($1, $2, 'receiving', $3)`,
      [study, revision, JSON.stringify(current.evidence)],
    )
    await tx.query('update study set revision = $2 where study_instance_uid = $1', [study, revision])
    await addEvent(tx, study, revision, 'analysis asked for again', { by })
    await sendOnItsWay(tx, { ...current, revision, state: 'receiving' }, context)
    return 'done'
  })
}

/** Delivers all results of the newest revision once more: the same objects under the same UIDs. */
export async function deliverAgain(study: string, by: string, context: PipelineContext): Promise<OperationOutcome> {
  return transaction(context.database, async tx => {
    const current = await findRevision(tx, study, undefined, true)
    if (!current) return 'not-found'
    if (!ended.includes(current.state)) return 'not-now'
    const { revision } = current
    const { rows } = await tx.query<{ id: number; destination: string }>(
      `update delivery set state = 'pending', attempts = 0, next_attempt_at = now(), delivered_at = null
        where study_instance_uid = $1 and revision = $2 returning id, destination`,
      [study, revision],
    )
    if (rows.length === 0) return 'not-now'
    await changeState(tx, study, revision, 'delivering', { reason: 'delivered again', by })
    for (const { id, destination } of rows)
      await addJob(tx, 'deliver', { delivery: id }, { key: `deliver:${id}`, queue: deliveryQueue(destination, id) })
    return 'done'
  })
}

/** Ends what is under way with a study. What a destination already has stays there. */
export async function cancelStudy(study: string, by: string, context: PipelineContext): Promise<OperationOutcome> {
  return transaction(context.database, async tx => {
    const current = await findRevision(tx, study, undefined, true)
    if (!current) return 'not-found'
    if (ended.includes(current.state)) return 'not-now'
    const { revision } = current
    await tx.query(
      `update analysis set status = 'failed', error = 'cancelled', finished_at = now()
        where study_instance_uid = $1 and revision = $2 and status = 'running'`,
      [study, revision],
    )
    await tx.query(
      `update delivery set state = 'dead', last_error = 'cancelled', next_attempt_at = null
        where study_instance_uid = $1 and revision = $2 and state in ('pending', 'stored')`,
      [study, revision],
    )
    await changeState(tx, study, revision, 'ignored', { reason: 'cancelled', by })
    return 'done'
  })
}

/**
 * Deletes a study with its images and results from this archive. What destinations have stays there.
 * @param event stands in the audit trail exactly if the study is deleted
 */
export async function deleteStudy(
  study: string,
  event: AuditEvent,
  { database, blobs, audit }: PipelineContext,
): Promise<OperationOutcome> {
  let told = () => {}
  const keys = await transaction(database, async tx => {
    const current = await findRevision(tx, study, undefined, true)
    if (!current) return 'not-found'
    if (!ended.includes(current.state)) return 'not-now'
    const { rows } = await tx.query<{ key: string }>(
      'select blob_key key from instance where study_instance_uid = $1',
      [study],
    )
    await tx.query('delete from workitem where study_instance_uid = $1', [study])
    await tx.query('delete from canary_outcome where study_instance_uid = $1', [study])
    await tx.query('delete from announced_instance where study_instance_uid = $1', [study])
    await tx.query('delete from study where study_instance_uid = $1', [study])
    told = await audit.recordIn(tx, event)
    return rows.map(row => row.key)
  })
  if (typeof keys === 'string') return keys
  told()
  // A file that stays for a crash in between goes with the next sweep.
  for (let start = 0; start < keys.length; start += 64)
    await Promise.all(keys.slice(start, start + 64).map(key => blobs.remove(key)))
  return 'done'
}
