import type { Progress } from '../analysis/provider.js'
import { findRevision, noteProgress } from '../archive/index.js'
import type { Log } from '../platform/log.js'
import type { PipelineContext } from './context.js'
import type { OnProgress } from './priors.js'

/** A later revision of the study has come: nobody waits for this one any more. */
export class Superseded extends Error {}

const lookMilliseconds = 1000

/** Ends the work when the revision is no longer being analysed. @throws Superseded */
export async function whileWanted<T>(
  study: string,
  revision: number,
  { database }: PipelineContext,
  work: (unwanted: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController()
  const timer = setInterval(async () => {
    const current = await findRevision(database, study, revision).catch(() => undefined)
    if (current && current.state !== 'analyzing') stop.abort()
  }, lookMilliseconds)
  try {
    return await work(stop.signal)
  } catch (error) {
    throw stop.signal.aborted ? new Superseded() : error
  } finally {
    clearInterval(timer)
  }
}

const progressMilliseconds = 200

/** Keeps how far the analysis of the study and its priors is, a few times a second: the first answer at once. */
export function progressOf(study: string, revision: number, { database }: PipelineContext, log: Log): OnProgress {
  const parts = new Map<string, Progress>()
  let last = Number.NEGATIVE_INFINITY
  return (part, progress) => {
    parts.set(part, progress)
    const now = performance.now()
    const [done, of, findings] = [...parts.values()].reduce(
      ([a, b, c], { done, of, findings }) => [a + done, b + of, c + findings],
      [0, 0, 0],
    )
    if (now - last < progressMilliseconds && done < of) return
    last = now
    const percent = of > 0 ? Math.floor((100 * done) / of) : 0
    noteProgress(database, study, revision, percent).catch(error =>
      log.warn('progress could not be told', { error: String(error.message) }),
    )
    database
      .query(
        `update analysis set progress = $3
          where study_instance_uid = $1 and revision = $2 and arm = 'primary' and coalesce((progress ->> 'done')::int, 0) <= $4`,
        [
          study,
          revision,
          { done, of, findings },
          done, // these updates run side by side: an earlier one must not win
        ],
      )
      .catch(error => log.warn('progress could not be noted', { error: String(error.message) }))
  }
}
