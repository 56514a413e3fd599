import { spent } from '../pipeline/index.js'
import type { Queryable } from '../platform/database.js'
import type { ProviderSettings } from '../platform/providerSettings.js'
import { type Share, shareOf } from './verdicts.js'

/** From the first moment on, up to but not including the second. */
export interface Period {
  from: Date
  to: Date
}

/** How a provider did in one role over some time. */
export interface ProviderReport {
  provider: string
  /** `primary`, `canary`, `shadow`, or `prior`: earlier examinations. */
  arm: string
  analyses: number
  failed: number
  incomplete: number
  errorRate: number
  /** Of analyses that ended, from start to end, seconds. */
  p50: number | null
  p95: number | null
  p99: number | null
  requests: number
  units: number
  cost?: { amount: number; currency: string }
  /** By radiologists' verdicts; null without any. Of the findings that were judged: */
  falsePositives: Share | null
  /** Of the lesions that are there by the verdicts: those that were found. */
  sensitivity: Share | null
  /** Of the minutes in which it was asked how it is: those in which it was there; null for the embedded analyser. */
  uptime: number | null
}

/** Analyses that ended in the period by provider and role. A canary's failures that the primary provider made good are the canary's. */
export async function providerReports(
  db: Queryable,
  { from, to }: Period,
  providers: readonly ProviderSettings[],
): Promise<ProviderReport[]> {
  const { rows } = await db.query<Omit<ProviderReport, 'errorRate' | 'falsePositives' | 'sensitivity' | 'uptime'>>(
    `with done as (
       select provider, case when arm like 'shadow:%' then 'shadow' when arm like 'prior:%' then 'prior' else choice end arm, status,
              extract(epoch from finished_at - started_at)::float8 seconds, requests, units
         from analysis where finished_at >= $1 and finished_at < $2
       union all
       select c.provider, 'canary', 'failed', null, null, null
         from canary_outcome o join canary c using (route)
         join analysis a on a.study_instance_uid = o.study_instance_uid and a.revision = o.revision and a.arm = 'primary'
        where o.failed and a.choice = 'primary' and o.at >= $1 and o.at < $2
     )
     select provider, arm, count(*)::int analyses, count(*) filter (where status = 'failed')::int failed,
            count(*) filter (where status = 'incomplete')::int incomplete,
            percentile_cont(0.5) within group (order by seconds) p50, percentile_cont(0.95) within group (order by seconds) p95,
            percentile_cont(0.99) within group (order by seconds) p99,
            coalesce(sum(requests), 0)::int requests, coalesce(sum(units), 0)::float8 units
       from done group by provider, arm order by provider, arm`,
    [from, to],
  )
  const { rows: verdicts } = await db.query<{
    provider: string
    arm: string
    right: number
    wrong: number
    missed: number
  }>(
    `select a.provider, a.choice arm, count(*) filter (where v.verdict = 'true-positive')::int "right",
            count(*) filter (where v.verdict = 'false-positive')::int wrong, count(*) filter (where v.verdict = 'missed')::int missed
       from verdict v join analysis a on a.study_instance_uid = v.study_instance_uid and a.revision = v.revision and a.arm = 'primary'
      where v.at >= $1 and v.at < $2 group by a.provider, a.choice`,
    [from, to],
  )
  const { rows: uptimes } = await db.query<{ provider: string; uptime: number }>(
    `select provider, avg(up::int)::float8 uptime from provider_health where at >= $1 and at < $2 group by provider`,
    [from, to],
  )
  return rows.map(row => {
    const judged = verdicts.find(entry => entry.provider === row.provider && entry.arm === row.arm)
    const settings = providers.find(entry => entry.name === row.provider)
    const price = settings && settings.kind !== 'reference' ? settings.price : undefined
    return {
      ...row,
      errorRate: row.failed / row.analyses,
      falsePositives: judged ? shareOf(judged.wrong, judged.wrong + judged.right) : null,
      sensitivity: judged ? shareOf(judged.right, judged.right + judged.missed) : null,
      uptime: uptimes.find(entry => entry.provider === row.provider)?.uptime ?? null,
      ...(price ? { cost: { amount: (row.units / 1e6) * price.perMillionUnits, currency: price.currency } } : {}),
    }
  })
}

/** What has been spent today and this month (UTC), and what of it is allowed. */
export interface BudgetReport {
  provider: string
  currency: string
  day: number
  month: number
  perDay: number | null
  perMonth: number | null
}

export async function budgetReports(db: Queryable, providers: readonly ProviderSettings[]): Promise<BudgetReport[]> {
  const priced = providers.flatMap(entry =>
    entry.kind !== 'reference' && entry.price ? [{ ...entry, price: entry.price }] : [],
  )
  return Promise.all(
    priced.map(async ({ name, price, budget }) => ({
      provider: name,
      currency: price.currency,
      ...(await spent(db, name, price.perMillionUnits)),
      perDay: budget?.perDay ?? null,
      perMonth: budget?.perMonth ?? null,
    })),
  )
}

/** The same as a table for people. */
export function providerReportMarkdown(reports: readonly ProviderReport[], title: string): string {
  const number = (value: number | null) => (value === null ? '' : value.toFixed(2))
  const percent = (share: Share | null) =>
    share
      ? `${(share.value * 100).toFixed(0)} % of ${share.of} (${(share.low * 100).toFixed(0)} to ${(share.high * 100).toFixed(0)})`
      : ''
  const rows = reports.map(report =>
    [
      report.provider,
      report.arm,
      report.analyses,
      `${(report.errorRate * 100).toFixed(1)} %`,
      report.incomplete,
      number(report.p50),
      number(report.p95),
      number(report.p99),
      report.requests,
      report.units,
      report.cost ? `${report.cost.amount.toFixed(2)} ${report.cost.currency}` : '',
      report.uptime === null ? '' : `${(report.uptime * 100).toFixed(2)} %`,
      percent(report.falsePositives),
      percent(report.sensitivity),
    ].join(' | '),
  )
  return [
    `# Providers, ${title}`,
    '',
    '| provider | role | analyses | failed | incomplete | p50 s | p95 s | p99 s | requests | units | cost | uptime | false positives | sensitivity |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map(row => `| ${row} |`),
    '',
  ].join('\n')
}
