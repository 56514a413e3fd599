import type { ReactNode } from 'react'
import { useApi, useEvents } from '../api'
import { useApp } from '../app'
import { Badge, Notice, Show, Table } from '../parts'
import { useWords } from '../text'

interface Dashboard {
  version: string
  ready: boolean
  problem?: string
  nodes: number
  studies: Record<string, number>
  refusedInstances: number
  receivedByHour: { at: string; studies: number }[]
  turnaroundSeconds: { p50: number | null; p95: number | null; p99: number | null; studies: number }
  openDeliveries: { destination: string; state: string; count: number }[]
  jobs: { due: number; oldestSeconds: number }
  providers: {
    provider: string
    arm: string
    analyses: number
    failed: number
    errorRate: number
    p50: number | null
    p95: number | null
    p99: number | null
    cost?: { amount: number; currency: string }
  }[]
  providerHealth: { provider: string; up: boolean; problem: string | null }[]
  budgets: {
    provider: string
    currency: string
    day: number
    perDay: number | null
    month: number
    perMonth: number | null
  }[]
  storage: { freeBytes: number }
}

const working = ['receiving', 'settled', 'analyzing', 'reporting', 'delivering']

export function DashboardPage(): ReactNode {
  const { t } = useWords()
  const { session, may } = useApp()
  const board = useApi<Dashboard>('/dashboard', 5000)
  const versions = useApi<{ version: number }>(may('configuration:read') ? '/configuration' : undefined)
  useEvents(board.reload)
  return (
    <>
      <h1>{t('dashboard')}</h1>
      {session.kind === 'anonymous' && <Notice kind="warn">{t('openWarning')}</Notice>}
      {versions.data?.version === 0 && may('configuration:write') && (
        <div className="card">
          <h2>{t('firstRun')}</h2>
          <p>{t('firstRunHint')}</p>
          <a className="button" href="#/wizard">
            {t('openWizard')}
          </a>
        </div>
      )}
      <Show of={board}>{data => <Figures data={data} />}</Show>
    </>
  )
}

function Figures({ data }: { data: Dashboard }): ReactNode {
  const { t, number, duration, bytes } = useWords()
  const { p50, p95, p99, studies } = data.turnaroundSeconds
  const received = data.receivedByHour.reduce((sum, hour) => sum + hour.studies, 0)
  const inWork = working.reduce((sum, state) => sum + (data.studies[state] ?? 0), 0)
  const failed = data.studies.failed ?? 0
  return (
    <>
      <Notice kind={data.ready ? 'good' : 'bad'}>
        {data.ready ? t('ready') : t('notReady', { reason: data.problem ?? '' })} · Radbridge {data.version} ·{' '}
        {t('nodes')}: {data.nodes}
      </Notice>
      <div className="grid">
        <Tile label={t('received24')} value={number(received)} />
        <Tile label={t('inWork')} value={number(inWork)} />
        <Tile label={t('failed')} value={number(failed)} bad={failed > 0} href="#/dead-letters" />
        <Tile
          label={t('refused24')}
          value={number(data.refusedInstances)}
          bad={data.refusedInstances > 0}
          href="#/dead-letters"
        />
        <Tile
          label={t('turnaround')}
          value={studies > 0 ? `${duration(p50)} / ${duration(p95)} / ${duration(p99)}` : '–'}
          hint={t('turnaroundHint', { count: number(studies) })}
        />
        <Tile
          label={t('queue')}
          value={number(data.jobs.due)}
          hint={t('queueHint', { oldest: duration(data.jobs.oldestSeconds) })}
        />
        <Tile label={t('disk')} value={bytes(data.storage.freeBytes)} />
      </div>
      <div className="two">
        <section className="card">
          <h2>{t('receivedByHour')}</h2>
          <Bars of={data.receivedByHour} />
        </section>
        <section className="card">
          <h2>{t('openDeliveries')}</h2>
          {data.openDeliveries.length === 0 ? (
            <p className="soft">{t('none')}</p>
          ) : (
            <Table caption={t('openDeliveries')} heads={[t('destination'), t('state'), t('count')]}>
              {data.openDeliveries.map(({ destination, state, count }) => (
                <tr key={destination + state}>
                  <td>{destination}</td>
                  <td>
                    <Badge of={state} />
                  </td>
                  <td>{number(count)}</td>
                </tr>
              ))}
            </Table>
          )}
        </section>
      </div>
      <section className="card">
        <h2>{t('providers')}</h2>
        <Providers data={data} />
      </section>
    </>
  )
}

function Tile({
  label,
  value,
  hint,
  bad = false,
  href,
}: {
  label: string
  value: string
  hint?: string
  bad?: boolean
  href?: string
}): ReactNode {
  return (
    <div className="card">
      <div className="soft small">{href ? <a href={href}>{label}</a> : label}</div>
      <div className={`figure ${bad ? 'bad' : ''} ${value.length > 14 ? 'long' : ''}`}>{value}</div>
      {hint && <div className="soft small">{hint}</div>}
    </div>
  )
}

function Bars({ of }: { of: Dashboard['receivedByHour'] }): ReactNode {
  const { t, language } = useWords()
  const most = Math.max(1, ...of.map(hour => hour.studies))
  const hour = (at: string) =>
    new Date(at).toLocaleTimeString(language === 'de' ? 'de-DE' : 'en-GB', { hour: '2-digit', minute: '2-digit' })
  return (
    <>
      <div
        className="bars"
        role="img"
        aria-label={`${t('receivedByHour')}: ${of.map(({ at, studies }) => `${hour(at)} ${studies}`).join(', ')}`}
      >
        {of.map(({ at, studies }) => (
          <div key={at} style={{ height: `${(studies / most) * 100}%` }} title={`${hour(at)}: ${studies}`} />
        ))}
      </div>
      <div className="row spread soft small">
        <span>{of[0] && hour(of[0].at)}</span>
        <span>{of.at(-1) && hour(of.at(-1)!.at)}</span>
      </div>
    </>
  )
}

function Providers({ data }: { data: Dashboard }): ReactNode {
  const { t, number, duration } = useWords()
  const away = data.providerHealth.filter(({ up }) => !up)
  return (
    <>
      {away.map(({ provider, problem }) => (
        <Notice key={provider} kind="bad">
          {provider}: {problem ?? t('down')}
        </Notice>
      ))}
      {data.budgets
        .filter(({ perDay, perMonth }) => perDay !== null || perMonth !== null)
        .map(({ provider, day, perDay, month, perMonth, currency }) => (
          <p key={provider} className="small">
            {provider}: {number(day, 2)} / {perDay === null ? '∞' : number(perDay, 2)} · {number(month, 2)} /{' '}
            {perMonth === null ? '∞' : number(perMonth, 2)} {currency}
          </p>
        ))}
      {data.providers.length === 0 ? (
        <p className="soft">{t('noAnalyses')}</p>
      ) : (
        <Table
          caption={t('providers')}
          heads={[t('provider'), t('role'), t('analyses'), t('errors'), t('latency'), t('cost')]}
        >
          {data.providers.map(({ provider, arm, analyses, failed, errorRate, p50, p95, p99, cost }) => (
            <tr key={provider + arm}>
              <td>{provider}</td>
              <td>{arm}</td>
              <td>{number(analyses)}</td>
              <td className={failed > 0 ? 'bad' : ''}>
                {number(failed)} ({number(errorRate * 100, 1)} %)
              </td>
              <td>
                {duration(p50)} / {duration(p95)} / {duration(p99)}
              </td>
              <td>{cost ? `${number(cost.amount, 2)} ${cost.currency}` : '–'}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}
