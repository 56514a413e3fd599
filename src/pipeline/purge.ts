import { makeWorkerUtils } from 'graphile-worker'
import { sweepOrphans, TooManyOrphans, watched } from '../archive/index.js'
import type { PipelineContext } from './context.js'
import { deleteStudy } from './operate.js'

const answersKeptDays = 90
const announcementsKeptDays = 30
const workitemsKeptDays = 30

/**
 * Removes what the queue leaves behind (names of queues without jobs, deaths of jobs that are done), and files that no instance
 * refers to.
 */
export async function purge(context: PipelineContext): Promise<void> {
  const { database } = context
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
    `delete from workitem_subscription s where uid not in ('${watched.all}', '${watched.filtered}') and not exists (select from workitem w where w.uid = s.uid)`,
  )
  await database.query(
    'delete from job_death d where not exists (select from graphile_worker.jobs j where j.id = d.job_id)',
  )
  await sweep(context)
  await retire(context)
  const utilities = await makeWorkerUtils({ pgPool: database })
  try {
    // Not GC_TASK_IDENTIFIERS: workers know tasks by the number of their row, and would never see a job of a task that was made anew.
    await utilities.cleanup({ tasks: ['GC_JOB_QUEUES'] })
  } finally {
    await utilities.release()
  }
}

async function sweep({ database, blobs, log }: PipelineContext): Promise<void> {
  try {
    const removed = await sweepOrphans(database, blobs)
    if (removed > 0) log.info('files that were never acknowledged have been removed', { files: removed })
  } catch (error) {
    if (!(error instanceof TooManyOrphans)) throw error
    log.error('nothing was removed from the store', { error: error.message })
  }
}

const studiesAtOnce = 500

/** Deletes studies that a rule of retention no longer keeps. Whoever deleted them stands in the audit trail: the service, by which rule. */
async function retire(context: PipelineContext): Promise<void> {
  const { database, endpoints, log } = context
  for (const { name, afterDays, states, delivered } of endpoints.retention) {
    let deleted = 0
    for (;;) {
      const { rows } = await database.query<{ study: string }>(
        `select s.study_instance_uid study from study s join study_revision v using (study_instance_uid, revision)
          where s.last_instance_at < now() - make_interval(secs => $1) and coalesce(v.finished_at, v.changed_at) < now() - make_interval(secs => $1)
            and v.state = any ($2)
            and (not $3 or not exists (select from delivery d where d.study_instance_uid = s.study_instance_uid and d.state <> 'delivered'))
          order by s.last_instance_at limit ${studiesAtOnce}`,
        [afterDays * 86_400, states, delivered],
      )
      for (const { study } of rows) {
        const event = {
          event: 'study-deleted',
          actor: { name: 'radbridge' },
          study,
          detail: { retention: name },
        } as const
        if ((await deleteStudy(study, event, context)) === 'done') deleted++
      }
      if (rows.length < studiesAtOnce) break
    }
    if (deleted > 0) log.info('studies were deleted by a rule of retention', { rule: name, studies: deleted })
  }
}
