import type { ProviderProblem } from '../analysis/provider.js'
import { addEvent } from '../archive/index.js'
import { transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { addJob, type JobContext } from '../platform/jobs.js'
import type { ProviderSettings } from '../platform/providerSettings.js'
import { noteOutcome } from './canary.js'
import { analysisQueue, type PipelineContext } from './context.js'

export interface AnalysisToRun {
  route: string
  provider: string
  choice: 'primary' | 'canary'
}

/**
 * Another provider takes the study over from one that could not analyse it: after a canary's, which is counted as a failure, the primary one, and
 * after that one by one those of `fallback`. @returns whether there is one
 */
export async function takenOver(
  study: string,
  revision: number,
  { route: name, choice, provider }: AnalysisToRun,
  reason: string,
  job: JobContext,
  { database, endpoints }: PipelineContext,
): Promise<boolean> {
  const route = endpoints.routes.find(entry => entry.name === name)
  if (!route) return false
  const next = nextProvider(route, { route: name, choice, provider })
  if (!next) return false
  await transaction(database, async tx => {
    await tx.query(
      `update analysis set provider = $3, choice = 'primary' where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
      [study, revision, next],
    )
    if (choice === 'canary') await noteOutcome(tx, route, study, revision, true, job.log)
    await addEvent(tx, study, revision, choice === 'canary' ? 'canary failed' : 'provider failed', {
      provider,
      reason,
      nowAnalysedBy: next,
    })
    // Not under the key of this job, which is still there.
    await addJob(
      tx,
      'analyze',
      { study, revision },
      { key: `analyze:${study}:${revision}:${next}`, queue: await analysisQueue(tx, next, study) },
    )
  })
  return true
}

/**
 * The provider is away, and no other can take the study over: it waits, and is tried again when the provider may be back. Studies come back one after
 * another, spread over some time, so that a provider that has just come up is not overrun.
 * @returns whether it waits
 */
export async function putOff(
  study: string,
  revision: number,
  analysis: AnalysisToRun,
  problem: ProviderProblem,
  settings: ProviderSettings | undefined,
  job: JobContext,
  { database, endpoints }: PipelineContext,
): Promise<boolean> {
  const route = endpoints.routes.find(entry => entry.name === analysis.route)
  if (!settings || settings.kind === 'reference' || (route && nextProvider(route, analysis))) return false
  const { rows } = await database.query<{ waiting: number | null }>(
    `update analysis set waiting_since = coalesce(waiting_since, now()) where study_instance_uid = $1 and revision = $2 and arm = 'primary'
     returning extract(epoch from now() - waiting_since)::float8 waiting`,
    [study, revision],
  )
  const waited = rows[0]?.waiting ?? 0
  if (waited > settings.waitHours * 3600) return false
  const spread = Math.min(600, Math.max('breaker' in settings ? settings.breaker.openSeconds : 30, waited / 4))
  const seconds = (problem.awayForSeconds ?? 0) + Math.random() * spread
  await transaction(database, async tx => {
    if (waited === 0)
      await addEvent(tx, study, revision, 'waiting for the provider', {
        provider: analysis.provider,
        reason: problem.message,
      })
    await addJob(
      tx,
      'analyze',
      { study, revision },
      {
        // Not under the key of this job, which is still there.
        key: `analyze:${study}:${revision}:waiting:${job.jobId}`,
        queue: await analysisQueue(tx, analysis.provider, study),
        inSeconds: seconds,
      },
    )
  })
  if (waited === 0) job.log.warn('the study waits for its provider', { revision, provider: analysis.provider })
  return true
}

function nextProvider({ analysis }: Route, { choice, provider }: AnalysisToRun): string | undefined {
  const order = [analysis.primary, ...analysis.fallback]
  const next = choice === 'canary' ? analysis.primary : order[order.indexOf(provider) + 1]
  return next === provider ? undefined : next
}
