import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { Ask, Badge, Form, May, Notice, Show, Table, TextInput } from '../parts'
import { useWords } from '../text'

interface Canary {
  route: string
  provider: string
  percent: number
  frozen: boolean
  ramp: { day: number; percent: number }[]
  startedAt: string
  decisions: { at: string; from: number; to: number; reason: string; sample: number | null; failures: number | null }[]
}

interface Report {
  provider: string
  arm: string
  analyses: number
  failed: number
  errorRate: number
  p50: number | null
  p95: number | null
  p99: number | null
  cost?: { amount: number; currency: string }
}

interface Shadow {
  route: string
  provider: string
  studies: number
  failed: number
  agreement: number | null
  both: number
  onlyDelivered: number
  onlyShadow: number
}

interface Disagreement {
  studyInstanceUid: string
  onlyDelivered: number
  onlyShadow: number
}

export function CanariesPage(): ReactNode {
  const { t } = useWords()
  const canaries = useApi<Canary[]>('/canaries', 10_000)
  const reports = useApi<Report[]>('/providers/report?days=30', 10_000)
  const shadows = useApi<Shadow[]>('/shadows', 30_000)
  return (
    <>
      <h1>{t('canaries')}</h1>
      <Show of={canaries}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('noCanaries')}</p>
          ) : (
            list.map(canary => (
              <One key={canary.route} canary={canary} reports={reports.data ?? []} reload={canaries.reload} />
            ))
          )
        }
      </Show>
      {shadows.data?.map(shadow => (
        <Compared key={shadow.route + shadow.provider} shadow={shadow} />
      ))}
    </>
  )
}

function One({ canary, reports, reload }: { canary: Canary; reports: Report[]; reload(): void }): ReactNode {
  const { t, time, number, duration } = useWords()
  const { busy, problem, run } = useAction()
  const [share, setShare] = useState('')
  const steer = (body: object) =>
    run(async () => {
      await call('POST', `/canaries/${encodeURIComponent(canary.route)}`, { body })
      reload()
    })
  const arms = reports.filter(({ arm }) => arm === 'primary' || arm === 'canary')
  return (
    <section className="card" aria-label={canary.route}>
      <h2>
        {canary.route}: {number(canary.percent, 1)} % → {canary.provider}{' '}
        {canary.frozen && <Badge of={t('frozen')} kind="warn" />}
      </h2>
      <progress value={canary.percent} max={100} aria-label={t('share')} />
      {canary.ramp.length > 0 && (
        <p className="small">
          {t('ramp')}:{' '}
          {canary.ramp.map(({ day, percent }) => t('day', { day, percent: number(percent, 1) })).join(', ')}
        </p>
      )}
      {problem && <Notice kind="bad">{problem}</Notice>}
      <May permission="canaries:control">
        <div className="row end">
          <Ask
            label={t('rollback')}
            title={`${t('rollback')}: ${canary.route}`}
            hint={t('rollbackHint')}
            onConfirm={() => steer({ action: 'rollback' })}
          />
          <Button isDisabled={busy} onPress={() => steer({ action: canary.frozen ? 'resume' : 'freeze' })}>
            {t(canary.frozen ? 'resume' : 'freeze')}
          </Button>
          <Form onSubmit={() => steer({ action: 'set', percent: Number(share) })}>
            <div className="row end">
              <TextInput label={t('setShare')} type="number" value={share} onChange={setShare} required />
              <div className="field">
                <button type="submit" disabled={busy}>
                  {t('apply')}
                </button>
              </div>
            </div>
          </Form>
        </div>
      </May>
      <Table
        caption={t('providers')}
        heads={[t('provider'), t('role'), t('analyses'), t('errors'), t('latency'), t('cost')]}
      >
        {arms.map(one => (
          <tr key={one.provider + one.arm}>
            <td>{one.provider}</td>
            <td>{t(one.arm === 'canary' ? 'canary' : 'primary')}</td>
            <td>{number(one.analyses)}</td>
            <td className={one.errorRate > 0.05 ? 'bad' : ''}>{number(one.errorRate * 100, 1)} %</td>
            <td>
              {duration(one.p50)} / {duration(one.p95)} / {duration(one.p99)}
            </td>
            <td>{one.cost ? `${number(one.cost.amount, 2)} ${one.cost.currency}` : '–'}</td>
          </tr>
        ))}
      </Table>
      <h3>{t('decisions')}</h3>
      <ol className="timeline">
        {canary.decisions.map(({ at, from, to, reason, sample, failures }) => (
          <li key={at} className={to < from ? 'bad' : ''}>
            <time dateTime={at}>{time(at)}</time> {number(from, 1)} % → {number(to, 1)} %: {reason}{' '}
            {sample !== null && (
              <span className="soft small">
                ({failures} / {sample})
              </span>
            )}
          </li>
        ))}
        {canary.decisions.length === 0 && <li>{time(canary.startedAt)}</li>}
      </ol>
    </section>
  )
}

function Compared({ shadow }: { shadow: Shadow }): ReactNode {
  const { t, number } = useWords()
  const found = useApi<Disagreement[]>(
    `/shadows/${encodeURIComponent(shadow.route)}/${encodeURIComponent(shadow.provider)}/disagreements`,
  )
  return (
    <section className="card">
      <h2>
        {shadow.route}: {shadow.provider}
      </h2>
      <p>
        {t('agreement')}: {shadow.agreement === null ? '–' : `${number(shadow.agreement * 100, 1)} %`} · {t('both')}{' '}
        {shadow.both} · {t('onlyDelivered')} {shadow.onlyDelivered} · {t('onlyShadow')} {shadow.onlyShadow} ·{' '}
        {t('studies')} {shadow.studies} · {t('failed')} {shadow.failed}
      </p>
      {found.data && found.data.length > 0 && (
        <>
          <h3>{t('disagreements')}</h3>
          <ul>
            {found.data.map(({ studyInstanceUid, onlyDelivered, onlyShadow }) => (
              <li key={studyInstanceUid}>
                <a className="mono" href={`#/studies/${studyInstanceUid}`}>
                  {studyInstanceUid}
                </a>{' '}
                {t('onlyDelivered')} {onlyDelivered}, {t('onlyShadow')} {onlyShadow}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  )
}
