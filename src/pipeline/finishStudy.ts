import { changeState } from '../archive/index.js'
import type { Transaction } from '../platform/database.js'

/** Nothing is left to do for the study: it is completed, or, if what was delivered is the report of a failure, failed. */
export async function finishStudy(tx: Transaction, study: string, revision: number, reason?: string): Promise<void> {
  const { rows } = await tx.query<{ error: string }>(
    `select error from analysis where study_instance_uid = $1 and revision = $2 and arm = 'primary' and status = 'failed'`,
    [study, revision],
  )
  if (rows[0]) return changeState(tx, study, revision, 'failed', { reason: rows[0].error })
  await changeState(tx, study, revision, 'completed', reason ? { reason } : {})
}
