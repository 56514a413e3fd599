import { ProviderProblem } from '../analysis/provider.js'
import type { Queryable } from '../platform/database.js'
import type { Log } from '../platform/log.js'
import type { ProviderSettings } from '../platform/providerSettings.js'

/** What a provider has cost since the beginning of the day and of the month, UTC, in the currency of its price. */
export async function spent(
  db: Queryable,
  provider: string,
  perMillionUnits: number,
): Promise<{ day: number; month: number }> {
  const { rows } = await db.query<{ day: number; month: number }>(
    `select coalesce(sum(units) filter (where finished_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'), 0) * $2 / 1e6 as day,
            coalesce(sum(units), 0) * $2 / 1e6 as month
       from analysis where provider = $1 and finished_at >= date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'`,
    [provider, perMillionUnits],
  )
  return rows[0]!
}

/**
 * Whether a provider may still be called. Analyses that run at this moment are not counted yet: a budget is exceeded by those at most.
 * @throws ProviderProblem if its budget is spent and that stops it
 */
export async function checkBudget(db: Queryable, settings: ProviderSettings | undefined, log: Log): Promise<void> {
  if (!settings || settings.kind === 'reference' || !settings.budget || !settings.price) return
  const { perDay, perMonth, whenSpent } = settings.budget
  const { perMillionUnits, currency } = settings.price
  const { day, month } = await spent(db, settings.name, perMillionUnits)
  const over =
    perDay !== undefined && day >= perDay
      ? `of ${perDay} ${currency} for today`
      : perMonth !== undefined && month >= perMonth
        ? `of ${perMonth} ${currency} for this month`
        : undefined
  if (!over) return
  if (whenSpent === 'stop') throw new ProviderProblem(`the budget ${over} is spent`, false)
  log.warn('the budget of a provider is spent; it is called all the same', { provider: settings.name, budget: over })
}
