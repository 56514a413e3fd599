import type { Findings } from '../analysis/findings.js'
import type { NormalizedStudy } from '../analysis/normalizedStudy.js'
import { ProviderProblem } from '../analysis/provider.js'
import { addEvidence, changeState, findRevision, type StudyRevision } from '../archive/index.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { transaction } from '../platform/database.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import type { PipelineContext } from './context.js'
import { normalizedStudy } from './normalizedStudy.js'

/** Normalizes the study, has it analysed, and keeps the findings. */
export async function analyze(
  { study, revision }: JobPayloads['analyze'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database } = context
  const current = await findRevision(database, study, revision)
  if (!current || !['settled', 'analyzing'].includes(current.state)) return
  if (current.state === 'settled') await changeState(database, study, revision, 'analyzing')
  const { rows } = await database.query<{ route: string; provider: string }>(
    `select route, provider from analysis where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
    [study, revision],
  )
  const { provider: name } = rows[0]!
  await database.query('update analysis set started_at = now() where study_instance_uid = $1 and revision = $2', [
    study,
    revision,
  ])
  let findings: Findings
  let undecodable: string | undefined
  try {
    const settings = context.endpoints.providers.find(p => p.name === name)
    const normalized = await normalizedStudy(study, revision, context, settings?.privateCreators)
    undecodable = namesOfUndecodable(normalized)
    findings = await callProvider(name, normalized, settings?.timeoutSeconds ?? 600, context)
  } catch (error) {
    const problem = error as Error
    const final =
      problem instanceof PixelProblem || (problem instanceof ProviderProblem && !problem.retryable) || job.lastAttempt
    if (!final) throw error
    job.log.error('the analysis failed', { revision, provider: name, error: problem.message })
    return failed(study, revision, problem.message, context)
  }
  if (undecodable) {
    job.log.warn('images of the study are not decoded', { revision, undecodable })
    await addEvidence(database, [study], { kind: 'undecodable', reason: undecodable, at: new Date().toISOString() })
  }
  await conclude(study, revision, withEvidence(findings, current), undecodable, context)
  job.log.info('analysed', { revision, provider: name, status: findings.status, findings: findings.items.length })
}

async function callProvider(
  name: string,
  study: NormalizedStudy,
  timeoutSeconds: number,
  context: PipelineContext,
): Promise<Findings> {
  const provider = context.providers.get(name)
  if (!provider) throw new ProviderProblem(`no provider is named ${name}`, false)
  return provider.analyze(study, AbortSignal.timeout(timeoutSeconds * 1000))
}

/** The transfer syntaxes that kept images from the analyser, for the study's state; undefined when there are none. */
function namesOfUndecodable({ undecodable }: NormalizedStudy): string | undefined {
  if (undecodable.length === 0) return undefined
  const list = undecodable.map(({ transferSyntax, instances }) => `${instances} in ${transferSyntax}`).join(', ')
  return `not decoded, and not analysed: ${list}`
}

/** A study that is known to be incomplete never gets an answer that sounds complete. */
function withEvidence(findings: Findings, { evidence }: StudyRevision): Findings {
  const partial = evidence.find(entry => entry.kind === 'partial')
  if (!partial || findings.status === 'not-applicable') return findings
  return {
    ...findings,
    status: 'incomplete',
    reason: [findings.reason, `study may be incomplete: ${partial.reason}`].filter(Boolean).join('; '),
  }
}

async function conclude(
  study: string,
  revision: number,
  findings: Findings,
  undecodable: string | undefined,
  { database }: PipelineContext,
): Promise<void> {
  await transaction(database, async tx => {
    const current = await findRevision(tx, study, revision, true)
    if (current?.state !== 'analyzing') return // superseded, or concluded by another worker
    await tx.query(
      `update analysis set status = $3, findings = $4, error = null, finished_at = now() where study_instance_uid = $1 and revision = $2`,
      [study, revision, findings.status, JSON.stringify(findings)],
    )
    if (findings.status === 'not-applicable') {
      return changeState(tx, study, revision, 'completed', {
        reason: [`not applicable: ${findings.reason ?? ''}`, undecodable].filter(Boolean).join('; '),
      })
    }
    await changeState(tx, study, revision, 'reporting', {
      status: findings.status,
      findings: findings.items.length,
    })
    await addJob(tx, 'report', { study, revision }, { key: `report:${study}:${revision}` })
  })
}

async function failed(study: string, revision: number, reason: string, { database }: PipelineContext): Promise<void> {
  await transaction(database, async tx => {
    await tx.query(
      `update analysis set status = 'failed', error = $3, finished_at = now() where study_instance_uid = $1 and revision = $2`,
      [study, revision, reason],
    )
    await changeState(tx, study, revision, 'failed', { reason })
  })
}
