import { isAnatomy, matchFindings } from '../analysis/compareWithPrior.js'
import type { Findings } from '../analysis/findings.js'
import { type Analysis, ProviderProblem } from '../analysis/provider.js'
import { findRevision, instancesByUid, type StoredInstance } from '../archive/index.js'
import { sameConcept } from '../dicom/concepts.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { Queryable, Transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import { callProvider, deadlineOf } from './analyze.js'
import { checkBudget } from './budget.js'
import type { PipelineContext } from './context.js'
import { normalizedStudy } from './normalizedStudy.js'
import { geometryIn } from './priorExamination.js'

const armOf = (provider: string) => `shadow:${provider}`

/** Has the study analysed by the route's shadows, after all that is waited for. */
export async function startShadows(tx: Transaction, route: Route, study: string, revision: number): Promise<void> {
  for (const provider of route.analysis.shadow) {
    await tx.query(
      `insert into analysis (study_instance_uid, revision, route, arm, provider, status) values ($1, $2, $3, $4, $5, 'running')
       on conflict do nothing`,
      [study, revision, route.name, armOf(provider), provider],
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
        armOf(name),
        status,
        analysis ? JSON.stringify(analysis.findings) : null,
        analysis?.usage?.requests ?? null,
        analysis?.usage?.units ?? null,
        error,
      ],
    )
  await database.query(
    'update analysis set started_at = now() where study_instance_uid = $1 and revision = $2 and arm = $3',
    [study, revision, armOf(name)],
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

/** How a shadow compares with what was delivered, over the latest studies that both have analysed. */
export interface ShadowReport {
  route: string
  provider: string
  studies: number
  failed: number
  /** Lesions that both found, of all that one of them found; null if there was none. */
  agreement: number | null
  both: number
  onlyDelivered: number
  onlyShadow: number
  /** Of quantities that both measured in one lesion: the mean of |shadow − delivered| / delivered. */
  differences: { quantity: string; pairs: number; meanRelative: number }[]
  secondsP50: number | null
  secondsP95: number | null
}

const comparedStudies = 500

export async function shadowReports(db: Queryable, routes: readonly Route[]): Promise<ShadowReport[]> {
  const reports: ShadowReport[] = []
  for (const { name, analysis } of routes)
    for (const provider of analysis.shadow) reports.push(await shadowReport(db, name, provider))
  return reports
}

async function shadowReport(db: Queryable, route: string, provider: string): Promise<ShadowReport> {
  const { rows } = await db.query<{
    study: string
    status: string
    seconds: number
    delivered: Findings | null
    findings: Findings | null
  }>(
    `select s.study_instance_uid study, s.status, extract(epoch from s.finished_at - s.started_at)::float8 seconds,
            p.findings delivered, s.findings
       from analysis s left join analysis p on p.study_instance_uid = s.study_instance_uid and p.revision = s.revision
                                           and p.arm = 'primary' and p.status in ('findings', 'no-findings')
      where s.route = $1 and s.arm = $2 and s.finished_at is not null order by s.finished_at desc limit ${comparedStudies}`,
    [route, armOf(provider)],
  )
  const compared = rows.filter(({ delivered, findings }) => delivered && findings)
  const geometryOf = geometryIn(
    await imagesOf(
      db,
      compared.flatMap(row => [row.delivered!, row.findings!]),
    ),
  )
  let [both, onlyDelivered, onlyShadow] = [0, 0, 0]
  const relative = new Map<string, number[]>()
  for (const { study, delivered, findings, status } of compared) {
    if (!delivered || !findings || (status !== 'findings' && status !== 'no-findings')) continue
    const pairs = matchFindings(
      { studyInstanceUid: study, findings, geometryOf },
      { studyInstanceUid: study, findings: delivered, geometryOf },
    )
    const lesions = (of: Findings) => of.items.filter(item => !isAnatomy(item)).length
    const matched = [...pairs].filter(([item]) => !isAnatomy(item))
    both += matched.length
    onlyDelivered += lesions(delivered) - matched.length
    onlyShadow += lesions(findings) - matched.length
    for (const [ours, theirs] of matched) {
      for (const { quantity, unit, value } of ours.measurements) {
        const other = theirs.measurements.find(m => sameConcept(m.quantity, quantity) && sameConcept(m.unit, unit))
        if (!other || other.value === 0) continue
        const list = relative.get(quantity.meaning) ?? []
        list.push(Math.abs(value - other.value) / Math.abs(other.value))
        relative.set(quantity.meaning, list)
      }
    }
  }
  const found = both + onlyDelivered + onlyShadow
  const seconds = rows.map(row => row.seconds).sort((a, b) => a - b)
  const percentile = (share: number) =>
    seconds[Math.min(seconds.length - 1, Math.floor(share * seconds.length))] ?? null
  return {
    route,
    provider,
    studies: rows.length,
    failed: rows.filter(row => row.status === 'failed').length,
    agreement: found > 0 ? both / found : null,
    both,
    onlyDelivered,
    onlyShadow,
    differences: [...relative].map(([quantity, list]) => ({
      quantity,
      pairs: list.length,
      meanRelative: list.reduce((sum, value) => sum + value, 0) / list.length,
    })),
    secondsP50: percentile(0.5),
    secondsP95: percentile(0.95),
  }
}

/** The images that findings lie on, in one query. */
function imagesOf(db: Queryable, findings: readonly Findings[]): Promise<StoredInstance[]> {
  const places = findings.flatMap(({ items }) =>
    items.flatMap(({ regions, mask }) => [...regions, ...(mask?.slices ?? [])]),
  )
  return instancesByUid(db, [...new Set(places.map(place => place.sopInstanceUid))])
}
