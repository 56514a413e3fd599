import { makeWorkerUtils } from 'graphile-worker'
import { sweepOrphans } from '../archive/index.js'
import type { PipelineContext } from './context.js'

const answersKeptDays = 90
const announcementsKeptDays = 30
const workitemsKeptDays = 30

/**
 * Removes what the queue leaves behind (names of queues and tasks without jobs, jobs that were given up for good), and files that no
 * instance refers to.
 */
export async function purge({ database, blobs, log }: PipelineContext): Promise<void> {
  // Their files go with the next sweep over their folder, or were looked at and are kept for so long.
  await database.query('delete from answer where received_at < now() - make_interval(days => $1)', [answersKeptDays])
  await database.query('delete from expected_transfer where until < now()')
  await database.query('delete from announced_instance where announced_at < now() - make_interval(days => $1)', [
    announcementsKeptDays,
  ])
  await database.query(
    `delete from workitem w where state in ('COMPLETED', 'CANCELED') and changed_at < now() - make_interval(days => $1)
        and not exists (select from workitem_subscription s where s.uid = w.uid and s.deletion_lock)`,
    [workitemsKeptDays],
  )
  await database.query(
    `delete from workitem_subscription s where uid <> '' and not exists (select from workitem w where w.uid = s.uid)`,
  )
  const removed = await sweepOrphans(database, blobs)
  if (removed > 0) log.info('files that were never acknowledged have been removed', { files: removed })
  const utilities = await makeWorkerUtils({ pgPool: database })
  try {
    await utilities.cleanup({ tasks: ['GC_TASK_IDENTIFIERS', 'GC_JOB_QUEUES', 'DELETE_PERMAFAILED_JOBS'] })
  } finally {
    await utilities.release()
  }
}
