import { checkHealth } from '../analysis/providers/health.js'
import type { PipelineContext } from './context.js'

const keptDays = 400

/**
 * Notes of each remote provider whether it is there. A health check that lies does not count: a provider whose calls have failed in a row, so that it is left
 * alone, is not there.
 */
export async function watchProviders({ database, endpoints, echo, log }: PipelineContext): Promise<void> {
  await Promise.all(
    endpoints.providers.map(async provider => {
      if (provider.kind === 'reference') return
      const health = await checkHealth(provider, echo)
      const { rows } = await database.query('select 1 from provider_gate where provider = $1 and open_until > now()', [
        provider.name,
      ])
      const problem =
        'problem' in health ? health.problem : rows.length > 0 ? 'its calls have failed several times in a row' : null
      await database.query(
        'insert into provider_health (provider, up, problem) values ($1, $2, $3) on conflict do nothing',
        [provider.name, problem === null, problem],
      )
      const { rows: before } = await database.query<{ up: boolean }>(
        'select up from provider_health where provider = $1 order by at desc offset 1 limit 1',
        [provider.name],
      )
      if (problem && before[0]?.up !== false) log.warn('a provider is not there', { provider: provider.name, problem })
      if (!problem && before[0]?.up === false) log.info('a provider is there again', { provider: provider.name })
    }),
  )
  await database.query('delete from provider_health where at < now() - make_interval(days => $1)', [keptDays])
}
