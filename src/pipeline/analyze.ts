import type { Findings } from '../analysis/findings.js'
import type { NormalizedStudy } from '../analysis/normalizedStudy.js'
import { type Analysis, type Progress, ProviderProblem } from '../analysis/provider.js'
import { addEvidence, changeState, DamagedBlob, findRevision, type StudyRevision } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { raiseUrgent } from '../notifications/raise.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import type { Log } from '../platform/log.js'
import type { ProviderSettings } from '../platform/providerSettings.js'
import { checkBudget } from './budget.js'
import { callProvider, deadlineOf } from './callProvider.js'
import { noteOutcome } from './canary.js'
import { type PipelineContext, urgentPriority } from './context.js'
import { normalizedStudy } from './normalizedStudy.js'
import { type AnalysisToRun, putOff, takenOver } from './passOn.js'
import { followUp } from './priorExamination.js'
import { analyzePriors } from './priors.js'
import { progressOf, Superseded, whileWanted } from './whileAnalyzing.js'

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
  const { rows } = await database.query<AnalysisToRun>(
    `update analysis set started_at = now(), progress = null where study_instance_uid = $1 and revision = $2 and arm = 'primary'
      returning route, provider, choice`,
    [study, revision],
  )
  const toRun = rows[0]!
  const { provider: name } = toRun
  const route = context.endpoints.routes.find(entry => entry.name === toRun.route)
  const settings = context.endpoints.providers.find(entry => entry.name === name)
  let done: { analysis: Analysis; undecodable: string | undefined }
  try {
    done = await run(study, revision, name, settings, route, job, context)
  } catch (error) {
    return afterProblem(error as Error, study, revision, toRun, settings, job, context)
  }
  const { undecodable } = done
  if (undecodable) {
    job.log.warn('images of the study are not decoded', { revision, undecodable })
    await addEvidence(database, [study], { kind: 'undecodable', reason: undecodable, at: new Date().toISOString() })
  }
  const { findings, usage, rejected } = done.analysis
  const known = withEvidence(findings, current)
  const followed = route ? await followUp(database, study, revision, known, route.analysis.priors) : known
  const summarized = await withSummary(name, followed, current, context, job.log)
  const isCanary = toRun.choice === 'canary'
  await conclude(
    study,
    revision,
    { findings: summarized, usage, rejected, undecodable, isCanary, route, log: job.log },
    context,
  )
  job.log.info('analysed', { revision, provider: name, status: findings.status, findings: findings.items.length })
}

/** Has the study analysed, and the earlier examinations that its route asks for beside it. */
async function run(
  study: string,
  revision: number,
  name: string,
  settings: ProviderSettings | undefined,
  route: Route | undefined,
  job: JobContext,
  context: PipelineContext,
): Promise<{ analysis: Analysis; undecodable: string | undefined }> {
  await checkBudget(context.database, settings, job.log)
  await context.providers.get(name)?.ready?.()
  const normalized = await normalizedStudy(study, revision, context, settings?.privateCreators)
  if (settings && settings.kind !== 'reference') noteExport(study, settings, context)
  const onProgress = progressOf(study, revision, context, job.log)
  const priors = route && analyzePriors({ study, revision, route, provider: name, onProgress, log: job.log }, context)
  const ownProgress = (progress: Progress) => onProgress(study, progress)
  try {
    const analysis = await whileWanted(study, revision, context, unwanted =>
      callProvider(name, normalized, deadlineOf(settings), context, ownProgress, unwanted),
    )
    return { analysis, undecodable: namesOfUndecodable(normalized) }
  } finally {
    await priors
  }
}

/** That images of a study go out of the hospital's hands is always kept. */
function noteExport(study: string, { name, ...settings }: ProviderSettings, { audit }: PipelineContext): void {
  const deidentify = 'deidentify' in settings ? settings.deidentify : 'basic'
  audit.note({ event: 'export', actor: { name: 'radbridge' }, study, peer: name, detail: { deidentify } })
}

/** Another provider, another time, another attempt, or the end. @throws the problem, for another attempt */
async function afterProblem(
  problem: Error,
  study: string,
  revision: number,
  toRun: AnalysisToRun,
  settings: ProviderSettings | undefined,
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  if (problem instanceof Superseded) {
    job.log.info('the analysis was ended: a later revision of the study has come', { revision })
    return
  }
  // Pixels that cannot be decoded are so for every provider; whatever else is wrong with one may not be with the next.
  if (problem instanceof ProviderProblem) {
    if (problem.awayForSeconds !== undefined && (await putOff(study, revision, toRun, problem, settings, job, context)))
      return
    if (await takenOver(study, revision, toRun, problem.message, job, context)) return
  }
  const final =
    problem instanceof DamagedBlob ||
    problem instanceof PixelProblem ||
    (problem instanceof ProviderProblem && !problem.retryable) ||
    job.lastAttempt
  if (!final) throw problem
  job.log.error('the analysis failed', { revision, provider: toRun.provider, error: problem.message })
  return failed(study, revision, toRun, problem.message, context)
}

/** The transfer syntaxes that kept images from the analyser, for the study's state; undefined when there are none. */
function namesOfUndecodable({ undecodable }: NormalizedStudy): string | undefined {
  if (undecodable.length === 0) return undefined
  const list = undecodable.map(({ transferSyntax, instances }) => `${instances} in ${transferSyntax}`).join(', ')
  return `not decoded, and not analysed: ${list}`
}

/** A study that is known to be incomplete never gets an answer that sounds complete. */
function withEvidence(findings: Findings, { evidence }: StudyRevision): Findings {
  const partial = evidence.findLast(entry => entry.kind === 'partial' || entry.kind === 'complete')
  if (partial?.kind !== 'partial' || findings.status === 'not-applicable') return findings
  return {
    ...findings,
    status: 'incomplete',
    reason: [findings.reason, `study may be incomplete: ${partial.reason}`].filter(Boolean).join('; '),
  }
}

const summarySeconds = 60

/** The findings with what the provider writes about the changes, if it does; a report without that is better than none. */
async function withSummary(
  provider: string,
  findings: Findings,
  { studyInstanceUid, attributes }: StudyRevision,
  { providers }: PipelineContext,
  log: Log,
): Promise<Findings> {
  const client = providers.get(provider)
  if (!client?.summarize || !findings.comparison) return findings
  const studyDate = textOf(attributes, '00080020')
  const about = { studyInstanceUid, ...(studyDate ? { studyDate } : {}) }
  try {
    const summary = await client.summarize(findings.comparison, about, AbortSignal.timeout(summarySeconds * 1000))
    return { ...findings, conclusion: [findings.conclusion, summary].filter(Boolean).join('\n') }
  } catch (error) {
    log.warn('the provider wrote no longitudinal report', { provider, error: (error as Error).message })
    return findings
  }
}

/** Of a route that is no longer configured. */
const defaultReported: Route['reportOn'] = ['findings', 'no-findings', 'incomplete']

interface Conclusion {
  findings: Findings
  usage: Analysis['usage']
  rejected: Analysis['rejected']
  undecodable: string | undefined
  isCanary: boolean
  route: Route | undefined
  log: Log
}

async function conclude(
  study: string,
  revision: number,
  { findings, usage, rejected, undecodable, isCanary, route, log }: Conclusion,
  { database, endpoints }: PipelineContext,
): Promise<void> {
  await transaction(database, async tx => {
    const current = await findRevision(tx, study, revision, true)
    if (current?.state !== 'analyzing') return // superseded, or concluded by another worker
    await tx.query(
      `update analysis set status = $3, findings = $4, requests = $5, units = $6, rejected = $7, error = null, waiting_since = null, finished_at = now()
        where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
      [
        study,
        revision,
        findings.status,
        JSON.stringify(findings),
        usage?.requests ?? null,
        usage?.units ?? null,
        rejected ? JSON.stringify(rejected) : null,
      ],
    )
    if (isCanary) await noteOutcome(tx, route, study, revision, false, log)
    const urgent = await raiseUrgent(tx, study, revision, findings, endpoints.notifications)
    if (!(route?.reportOn ?? defaultReported).includes(findings.status)) {
      return changeState(tx, study, revision, 'completed', {
        reason: [
          `${findings.status.replace('-', ' ')}: ${findings.reason ?? 'not reported by this route'}`,
          undecodable,
        ]
          .filter(Boolean)
          .join('; '),
      })
    }
    await changeState(tx, study, revision, 'reporting', {
      status: findings.status,
      findings: findings.items.length,
      ...(urgent ? { urgent } : {}),
    })
    // What is urgent goes before all others from here on.
    const first = urgent ? { priority: urgentPriority } : {}
    await addJob(
      tx,
      'report',
      { study, revision, ...(urgent ? { urgent } : {}) },
      { key: `report:${study}:${revision}`, ...first },
    )
  })
}

/** The analysis failed for good: the study ends so, after a report of it if the route wants one. */
export async function failed(
  study: string,
  revision: number,
  { route: name, provider }: { route: string; provider: string },
  reason: string,
  { database, endpoints }: Pick<PipelineContext, 'database' | 'endpoints'>,
): Promise<void> {
  const reported = endpoints.routes.find(entry => entry.name === name)?.reportOn.includes('failed')
  const findings: Findings = {
    algorithm: { name: provider, version: 'unknown', manufacturer: 'unknown' },
    status: 'failed',
    reason,
    lookedFor: [],
    items: [],
  }
  await transaction(database, async tx => {
    await tx.query(
      `update analysis set status = 'failed', error = $3, findings = $4, finished_at = now() where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
      [study, revision, reason, reported ? JSON.stringify(findings) : null],
    )
    if (!reported) return changeState(tx, study, revision, 'failed', { reason })
    await changeState(tx, study, revision, 'reporting', { status: 'failed' })
    await addJob(tx, 'report', { study, revision }, { key: `report:${study}:${revision}` })
  })
}
