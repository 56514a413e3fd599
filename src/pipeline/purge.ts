import { makeWorkerUtils } from 'graphile-worker'
import type { PipelineContext } from './context.js'

/** Removes what the queue leaves behind: names of queues and tasks without jobs, and jobs that were given up for good. */
export async function purge({ database }: PipelineContext): Promise<void> {
  const utilities = await makeWorkerUtils({ pgPool: database })
  try {
    await utilities.cleanup({ tasks: ['GC_TASK_IDENTIFIERS', 'GC_JOB_QUEUES', 'DELETE_PERMAFAILED_JOBS'] })
  } finally {
    await utilities.release()
  }
}
