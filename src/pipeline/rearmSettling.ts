import type { Database } from '../platform/database.js'

/**
 * Starts the quiet period of every receiving study anew. Called when a node comes up and no other was there: while nothing could be
 * received, silence says nothing about a study, and its sender may be in the middle of sending again.
 * @returns how many studies were put off
 */
export async function rearmSettling(database: Database, quietSeconds: number): Promise<number> {
  const { rowCount } = await database.query(
    `with touched as (
       update study s set last_instance_at = now() from study_revision v
        where v.study_instance_uid = s.study_instance_uid and v.revision = s.revision and v.state = 'receiving'
          and exists (select from instance i where i.study_instance_uid = s.study_instance_uid and i.origin = 'received')
       returning s.study_instance_uid as uid)
     select graphile_worker.add_job('settle', json_build_object('study', uid), job_key => 'settle:' || uid,
                                    run_at => now() + $1 * interval '1 second') from touched`,
    [quietSeconds],
  )
  return rowCount ?? 0
}
