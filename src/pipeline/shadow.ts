import { type Analysis, ProviderProblem } from '../analysis/provider.js'
import { findRevision } from '../archive/index.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { Transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import { checkBudget } from './budget.js'
import { callProvider, deadlineOf } from './callProvider.js'
import type { PipelineContext } from './context.js'
import { normalizedStudy } from './normalizedStudy.js'
import { shadowArm } from './shadowReport.js'

/** Has the study analysed by the route's shadows, after all that is waited for. */
export async function startShadows(tx: Transaction, route: Route, study: string, revision: number): Promise<void> {
  for (const provider of route.analysis.shadow) {
    await tx.query(
      `insert into analysis (study_instance_uid, revision, route, arm, provider, status) values ($1, $2, $3, $4, $5, 'running')
       on conflict do nothing`,
      [study, revision, route.name, shadowArm(provider), provider],
    )
    await addJob(
      tx,
      'shadow',
      { study, revision, provider },
      { key: `shadow:${provider}:${study}:${revision}`, queue: `shadow:${provider}`, maxAttempts: 3, priority: 10 },
    )
  }
}

/** An analysis that nobody waits for: its findings are kept and compared, and never delivered. */
export async function shadow(
  { study, revision, provider: name }: JobPayloads['shadow'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database } = context
  const current = await findRevision(database, study, revision)
  if (!current || current.newest > revision) return // a later revision has a shadow of its own
  const settings = context.endpoints.providers.find(p => p.name === name)
  const finish = (status: string, analysis: Analysis | undefined, error: string | null) =>
    database.query(
      `update analysis set status = $4, findings = $5, requests = $6, units = $7, error = $8, finished_at = now()
        where study_instance_uid = $1 and revision = $2 and arm = $3`,
      [
        study,
        revision,
        shadowArm(name),
        status,
        analysis ? JSON.stringify(analysis.findings) : null,
        analysis?.usage?.requests ?? null,
        analysis?.usage?.units ?? null,
        error,
      ],
    )
  await database.query(
    'update analysis set started_at = now() where study_instance_uid = $1 and revision = $2 and arm = $3',
    [study, revision, shadowArm(name)],
  )
  try {
    await checkBudget(database, settings, job.log)
    await context.providers.get(name)?.ready?.()
    const normalized = await normalizedStudy(study, revision, context, settings?.privateCreators)
    const analysis = await callProvider(name, normalized, deadlineOf(settings), context)
    await finish(analysis.findings.status, analysis, null)
  } catch (error) {
    const problem = error as Error
    const final =
      problem instanceof PixelProblem || (problem instanceof ProviderProblem && !problem.retryable) || job.lastAttempt
    if (!final) throw error
    await finish('failed', undefined, problem.message)
  }
}
