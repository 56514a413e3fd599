import { isAnatomy, matchFindings } from '../analysis/compareWithPrior.js'
import type { Findings } from '../analysis/findings.js'
import { instancesByUid, type StoredInstance } from '../archive/index.js'
import { sameConcept } from '../dicom/concepts.js'
import type { Queryable } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { geometryIn } from './priorExamination.js'

/** Arm of the analyses by a shadow. */
export const shadowArm = (provider: string) => `shadow:${provider}`

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

/** A study in which a lesion was found by one of both alone. */
export interface ShadowDisagreement {
  studyInstanceUid: string
  onlyDelivered: number
  onlyShadow: number
}

/** Studies in which a shadow and what was delivered differ, the latest first. */
export async function shadowDisagreements(
  db: Queryable,
  route: string,
  provider: string,
): Promise<ShadowDisagreement[]> {
  return (await compareRuns(db, await runsOf(db, route, provider))).differing.slice(0, 100)
}

async function shadowReport(db: Queryable, route: string, provider: string): Promise<ShadowReport> {
  const rows = await runsOf(db, route, provider)
  const { both, onlyDelivered, onlyShadow, relative } = await compareRuns(db, rows)
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

/** Of the lesions that a canary's provider or the primary one, as a shadow, found since then: the share that one of them found alone; undefined without any. */
export async function disagreementSince(
  db: Queryable,
  route: string,
  primary: string,
  since: Date,
): Promise<number | undefined> {
  const rows = (await runsOf(db, route, primary)).filter(row => row.choice === 'canary' && row.finishedAt > since)
  const { both, onlyDelivered, onlyShadow } = await compareRuns(db, rows)
  const found = both + onlyDelivered + onlyShadow
  return found > 0 ? (onlyDelivered + onlyShadow) / found : undefined
}

interface ShadowRun {
  study: string
  status: string
  seconds: number
  finishedAt: Date
  /** Of what was delivered. */
  choice: 'primary' | 'canary' | null
  delivered: Findings | null
  findings: Findings | null
}

async function runsOf(db: Queryable, route: string, provider: string): Promise<ShadowRun[]> {
  const { rows } = await db.query<ShadowRun>(
    `select s.study_instance_uid study, s.status, extract(epoch from s.finished_at - s.started_at)::float8 seconds,
            s.finished_at "finishedAt", p.choice, p.findings delivered, s.findings
       from analysis s left join analysis p on p.study_instance_uid = s.study_instance_uid and p.revision = s.revision
                                           and p.arm = 'primary' and p.status in ('findings', 'no-findings')
      where s.route = $1 and s.arm = $2 and s.finished_at is not null order by s.finished_at desc limit ${comparedStudies}`,
    [route, shadowArm(provider)],
  )
  return rows
}

async function compareRuns(db: Queryable, runs: readonly ShadowRun[]) {
  const compared = runs.filter(
    ({ delivered, findings, status }) => delivered && findings && (status === 'findings' || status === 'no-findings'),
  )
  const geometryOf = geometryIn(
    await imagesOf(
      db,
      compared.flatMap(row => [row.delivered!, row.findings!]),
    ),
  )
  let [both, onlyDelivered, onlyShadow] = [0, 0, 0]
  const differing: ShadowDisagreement[] = []
  const relative = new Map<string, number[]>()
  for (const run of compared) {
    const { study } = run
    const [delivered, findings] = [run.delivered!, run.findings!]
    const pairs = matchFindings(
      { studyInstanceUid: study, findings, geometryOf },
      { studyInstanceUid: study, findings: delivered, geometryOf },
    )
    const lesions = (of: Findings) => of.items.filter(item => !isAnatomy(item)).length
    const matched = [...pairs].filter(([item]) => !isAnatomy(item))
    const alone = {
      studyInstanceUid: study,
      onlyDelivered: lesions(delivered) - matched.length,
      onlyShadow: lesions(findings) - matched.length,
    }
    if (alone.onlyDelivered + alone.onlyShadow > 0) differing.push(alone)
    both += matched.length
    onlyDelivered += alone.onlyDelivered
    onlyShadow += alone.onlyShadow
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
  return { both, onlyDelivered, onlyShadow, relative, differing }
}

/** The images that findings lie on, in one query. */
function imagesOf(db: Queryable, findings: readonly Findings[]): Promise<StoredInstance[]> {
  const places = findings.flatMap(({ items }) =>
    items.flatMap(({ regions, mask }) => [...regions, ...(mask?.slices ?? [])]),
  )
  return instancesByUid(db, [...new Set(places.map(place => place.sopInstanceUid))])
}
