import { changeState, findRevision } from '../archive/index.js'
import { transaction } from '../platform/database.js'
import { addJob, type JobPayloads } from '../platform/jobs.js'
import { failed } from './analyze.js'
import type { PipelineContext } from './context.js'
import { giveUpDelivery } from './deliver.js'
import { shadowArm } from './shadowReport.js'

const jobsAtOnce = 100

type GivenUp = {
  [N in keyof JobPayloads]: { id: string; name: N; payload: JobPayloads[N]; attempts: number; lastError: string | null }
}[keyof JobPayloads]

/**
 * Ends what a job was about that the queue will not try again: its attempts are used up, or node after node died while it was in hand (platform/deadNodes.ts).
 * Nothing waits for ever in silence: a study fails, a delivery is a dead letter, and an administrator can take either up again.
 */
export async function endWhatWasGivenUp(context: PipelineContext): Promise<void> {
  const { database, log } = context
  // The view of the library, `jobs`, has no payloads. Here it is read only.
  const { rows } = await database.query<GivenUp>(
    `select j.id, t.identifier "name", j.payload, j.attempts, j.last_error "lastError"
       from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
      where j.attempts >= j.max_attempts and j.locked_at is null order by j.id limit ${jobsAtOnce}`,
  )
  for (const job of rows) {
    const reason = `given up after ${job.attempts} attempts: ${job.lastError?.split('\n')[0] ?? 'the service ended each time'}`
    log.error('a job was given up', { job: job.name, ...studyOf(job), reason })
    await end(job, reason, context)
    await database.query('select graphile_worker.complete_jobs(array[$1::bigint])', [job.id])
  }
}

async function end(job: GivenUp, reason: string, context: PipelineContext): Promise<void> {
  const { database } = context
  switch (job.name) {
    case 'settle': // a study that was received is never left as it is
      await addJob(database, 'settle', job.payload, { inSeconds: 60 })
      return
    case 'analyze': {
      const { study, revision } = job.payload
      const current = await findRevision(database, study, revision)
      if (current?.state !== 'settled' && current?.state !== 'analyzing') return
      const { rows } = await database.query<{ route: string; provider: string }>(
        `select route, provider from analysis where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
        [study, revision],
      )
      await failed(study, revision, rows[0]!, reason, context)
      return
    }
    case 'report': {
      const { study, revision } = job.payload
      await transaction(database, async tx => {
        const current = await findRevision(tx, study, revision, true)
        if (current?.state === 'reporting') await changeState(tx, study, revision, 'failed', { reason })
      })
      return
    }
    case 'deliver':
      await giveUpDelivery(job.payload.delivery, reason, context)
      return
    case 'shadow': {
      const { study, revision, provider } = job.payload
      await database.query(
        `update analysis set status = 'failed', error = $4, finished_at = now()
          where study_instance_uid = $1 and revision = $2 and arm = $3 and status = 'running'`,
        [study, revision, shadowArm(provider), reason],
      )
    }
  }
}

function studyOf({ payload }: GivenUp): { study?: string } {
  return 'study' in payload ? { study: payload.study } : {}
}
