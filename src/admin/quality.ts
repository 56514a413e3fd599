import type { Queryable } from '../platform/database.js'
import type { Period } from './providerReport.js'
import { type Share, shareOf } from './verdicts.js'

/** What verdicts are told apart by. */
interface Group {
  provider: string
  model: string
  version: string
  modality: string
  /** Who sent the study. */
  site: string
  arm: string
}

/** How right a model was, by radiologists' verdicts, in one kind of study. */
export interface QualityReport extends Group {
  falsePositives: Share | null
  sensitivity: Share | null
  /**
   * How well the confidence tells right findings from wrong ones: the area under the ROC curve of the findings that were judged, with its 95 % interval; null without
   * findings of both kinds that have a confidence.
   */
  auc: { value: number; low: number; high: number; right: number; wrong: number } | null
}

interface Judged extends Group {
  verdict: 'true-positive' | 'false-positive' | 'missed'
  probability: number | null
}

/** By model, modality, site and role, of the verdicts that were given in the period. */
export async function qualityReports(db: Queryable, { from, to }: Period): Promise<QualityReport[]> {
  const { rows } = await db.query<Judged>(
    `select a.provider, a.findings #>> '{algorithm,name}' model, a.findings #>> '{algorithm,version}' "version", a.choice arm, v.verdict,
            coalesce((select string_agg(distinct modality, '\\' order by modality) from series e
                       where e.study_instance_uid = v.study_instance_uid
                         and exists (select from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received')), '') modality,
            coalesce((select min(source) from instance i where i.study_instance_uid = v.study_instance_uid and i.origin = 'received'), '') site,
            (select (i ->> 'probability')::float8 from jsonb_array_elements(a.findings -> 'items') i
              where i ->> 'trackingUid' = v.tracking_uid limit 1) probability
       from verdict v join analysis a on a.study_instance_uid = v.study_instance_uid and a.revision = v.revision and a.arm = 'primary'
      where v.at >= $1 and v.at < $2 and a.findings is not null`,
    [from, to],
  )
  const groups = new Map<string, Judged[]>()
  for (const row of rows) {
    const key = JSON.stringify([row.provider, row.model, row.version, row.modality, row.site, row.arm])
    const group = groups.get(key)
    if (group) group.push(row)
    else groups.set(key, [row])
  }
  return [...groups.values()].map(list => {
    const count = (verdict: Judged['verdict']) => list.filter(row => row.verdict === verdict).length
    const [right, wrong, missed] = [count('true-positive'), count('false-positive'), count('missed')]
    const confidences = (verdict: Judged['verdict']) =>
      list.filter(row => row.verdict === verdict).flatMap(row => row.probability ?? [])
    const { provider, model, version, modality, site, arm } = list[0]!
    return {
      provider,
      model,
      version,
      modality,
      site,
      arm,
      falsePositives: shareOf(wrong, wrong + right),
      sensitivity: shareOf(right, right + missed),
      auc: areaUnderCurve(confidences('true-positive'), confidences('false-positive')),
    }
  })
}

/**
 * The probability that a right finding has a greater confidence than a wrong one (Mann and Whitney), with the 95 % interval of Hanley and McNeil,
 * Radiology 143 (1982) 29-36.
 */
export function areaUnderCurve(right: readonly number[], wrong: readonly number[]): QualityReport['auc'] {
  const [n, m] = [right.length, wrong.length]
  if (n === 0 || m === 0) return null
  // By ranks, so that it takes n log n; equal confidences share theirs.
  const all = [...right.map(value => ({ value, right: true })), ...wrong.map(value => ({ value, right: false }))].sort(
    (a, b) => a.value - b.value,
  )
  let ranks = 0
  for (let start = 0; start < all.length; ) {
    let end = start
    while (end < all.length && all[end]!.value === all[start]!.value) end++
    const rank = (start + 1 + end) / 2
    for (let i = start; i < end; i++) if (all[i]!.right) ranks += rank
    start = end
  }
  const value = (ranks - (n * (n + 1)) / 2) / (n * m)
  const q1 = value / (2 - value)
  const q2 = (2 * value ** 2) / (1 + value)
  const variance = (value * (1 - value) + (n - 1) * (q1 - value ** 2) + (m - 1) * (q2 - value ** 2)) / (n * m)
  const half = 1.959964 * Math.sqrt(Math.max(0, variance))
  return { value, low: Math.max(0, value - half), high: Math.min(1, value + half), right: n, wrong: m }
}

/** A model that does otherwise of late than before. */
export interface DriftAlarm {
  provider: string
  arm: string
  /** `false positives` of the findings that were judged; `positive studies` of those analysed. */
  what: 'false positives' | 'positive studies'
  before: Share
  lately: Share
  /** Probability of such a difference by chance (two-sided test of two proportions). */
  p: number
}

const lately = 7
const before = 60
const smallest = 30
const alarming = 0.001

/** Compares the last seven days with the sixty before, where both have enough to compare. */
export async function driftAlarms(db: Queryable, now = new Date()): Promise<DriftAlarm[]> {
  const edge = new Date(now.getTime() - lately * 86_400_000)
  const start = new Date(edge.getTime() - before * 86_400_000)
  const { rows } = await db.query<{
    provider: string
    arm: string
    what: DriftAlarm['what']
    late: boolean
    count: number
    total: number
  }>(
    `select a.provider, a.choice arm, 'false positives' what, v.at >= $2 late,
            count(*) filter (where v.verdict = 'false-positive')::int count, count(*)::int total
       from verdict v join analysis a on a.study_instance_uid = v.study_instance_uid and a.revision = v.revision and a.arm = 'primary'
      where v.at >= $1 and v.at < $3 and v.verdict <> 'missed' group by 1, 2, 4
     union all
     select provider, choice, 'positive studies', finished_at >= $2, count(*) filter (where status = 'findings')::int, count(*)::int
       from analysis where arm = 'primary' and status in ('findings', 'no-findings') and finished_at >= $1 and finished_at < $3 group by 1, 2, 4`,
    [start, edge, now],
  )
  return rows
    .filter(row => row.late)
    .flatMap(row => {
      const earlier = rows.find(
        other => !other.late && other.provider === row.provider && other.arm === row.arm && other.what === row.what,
      )
      if (!earlier || row.total < smallest || earlier.total < smallest) return []
      const p = differenceByChance(earlier.count, earlier.total, row.count, row.total)
      if (p >= alarming) return []
      return [
        {
          provider: row.provider,
          arm: row.arm,
          what: row.what,
          before: shareOf(earlier.count, earlier.total)!,
          lately: shareOf(row.count, row.total)!,
          p,
        },
      ]
    })
}

/** The same as lines for people; empty without any. */
export function alarmsMarkdown(alarms: readonly DriftAlarm[]): string {
  if (alarms.length === 0) return ''
  const percent = ({ value, of }: Share) => `${(value * 100).toFixed(0)} % of ${of}`
  const lines = alarms.map(
    ({ provider, arm, what, before: earlier, lately: late, p }) =>
      `- **${provider}** (${arm}): ${what} ${percent(late)} in the last ${lately} days, ${percent(earlier)} in the ${before} days before (p ${p < 0.0001 ? '< 0.0001' : p.toFixed(4)})`,
  )
  return ['', '## Alarms', '', ...lines, ''].join('\n')
}

/** Two-sided z test of two proportions with a common variance. */
export function differenceByChance(a: number, ofA: number, b: number, ofB: number): number {
  const common = (a + b) / (ofA + ofB)
  const deviation = Math.sqrt(common * (1 - common) * (1 / ofA + 1 / ofB))
  if (deviation === 0) return 1
  return complementaryError(Math.abs(a / ofA - b / ofB) / deviation / Math.SQRT2)
}

/** erfc(x) for x ≥ 0 with an error below 1.2e-7 of it (Numerical Recipes 6.2). */
function complementaryError(x: number): number {
  const t = 1 / (1 + 0.5 * x)
  const terms = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ]
  return t * Math.exp(-x * x + terms.reduceRight((sum, term) => term + t * sum, 0))
}
