import type { ReactNode } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { Badge, May, Notice, Show, Table, Uid } from '../parts'
import { detailText, useWords } from '../text'
import { Refusals } from './refusals'
import type { Study } from './study'

interface Report {
  sopInstanceUid: string
  revision: number
  flags: string[]
  tree: string[]
}

export function Reports({ study }: { study: Study }): ReactNode {
  const { t, bytes } = useWords()
  const reports = useApi<Report[]>(`/studies/${study.studyInstanceUid}/reports`)
  return (
    <>
      <Notice kind="warn">{t('verified')}</Notice>
      <Show of={reports}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('nothingHere')}</p>
          ) : (
            list.map(({ sopInstanceUid, revision, flags, tree }) => (
              <section key={sopInstanceUid} className="card">
                <h2>
                  {t('revision', { revision })}{' '}
                  {flags.map(flag => (
                    <Badge key={flag} of={flag} kind="warn" />
                  ))}
                </h2>
                <pre className="tree">{tree.join('\n')}</pre>
              </section>
            ))
          )
        }
      </Show>
      <h2>{t('results')}</h2>
      {study.results.length === 0 ? (
        <p className="soft">{t('none')}</p>
      ) : (
        <Table caption={t('results')} heads={[t('kind'), 'SOP Instance UID', '', '']}>
          {study.results.map(({ sopInstanceUid, sopClassUid, revision, bytes: size }) => (
            <tr key={sopInstanceUid}>
              <td>
                {classNames[sopClassUid] ?? sopClassUid} <span className="soft small">r{revision}</span>
              </td>
              <td>
                <Uid of={sopInstanceUid} />
              </td>
              <td>{bytes(size)}</td>
              <td>
                <a href={`api/studies/${study.studyInstanceUid}/files/${sopInstanceUid}`} download>
                  {t('download')}
                </a>
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

const classNames: Record<string, string> = {
  '1.2.840.10008.5.1.4.1.1.88.33': 'Comprehensive SR',
  '1.2.840.10008.5.1.4.1.1.88.34': 'Comprehensive 3D SR',
  '1.2.840.10008.5.1.4.1.1.66.4': 'Segmentation',
  '1.2.840.10008.5.1.4.1.1.66.7': 'Label Map Segmentation',
  '1.2.840.10008.5.1.4.1.1.7': 'Secondary Capture',
  '1.2.840.10008.5.1.4.1.1.11.1': 'Presentation State',
  '1.2.840.10008.5.1.4.1.1.30': 'Parametric Map',
  '1.2.840.10008.5.1.4.1.1.104.1': 'Encapsulated PDF',
}

export function Timeline({ study }: { study: Study }): ReactNode {
  const { t, named, time, duration } = useWords()
  let last = new Date(study.receivedAt).getTime()
  return (
    <div className="two">
      <section className="card">
        <h2>{t('timeline')}</h2>
        <ol className="timeline">
          <li>
            <strong>{named('receiving')}</strong> <time dateTime={study.receivedAt}>{time(study.receivedAt)}</time>
          </li>
          {study.timeline.map(({ kind, detail, at, revision }, i) => {
            const now = new Date(at).getTime()
            const passed = (now - last) / 1000
            last = now
            return (
              // biome-ignore lint/suspicious/noArrayIndexKey: entries are only ever added
              <li key={i} className={kind === 'failed' ? 'bad' : ''}>
                <strong>{named(kind)}</strong> {revision > 1 && <span className="soft small">r{revision}</span>}{' '}
                <time dateTime={at}>
                  {time(at)} (+{duration(passed)})
                </time>
                <div className="small">{detailText(detail)}</div>
              </li>
            )
          })}
        </ol>
      </section>
      <div>
        <section className="card">
          <h2>{t('evidence')}</h2>
          <ul>
            {study.evidence.map(({ kind, reason, at }) => (
              <li key={kind + reason + at}>
                <Badge of={kind} kind={kind === 'partial' ? 'warn' : 'info'} /> {reason}
              </li>
            ))}
          </ul>
        </section>
        <section className="card">
          <h2>{t('refusedInstances')}</h2>
          <Refusals study={study.studyInstanceUid} />
        </section>
        <section className="card">
          <h2>{t('analyses')}</h2>
          <Table caption={t('analyses')} heads={[t('route'), t('provider'), t('state'), '']}>
            {study.analyses.map(one => (
              <tr key={one.revision + one.route + one.arm}>
                <td>
                  {one.route} <span className="soft small">{one.arm}</span>
                </td>
                <td>{one.provider}</td>
                <td>
                  <Badge of={one.status} /> {one.error && <div className="small bad">{one.error}</div>}
                  {one.status === 'running' && one.progress && (
                    <progress value={one.progress.done} max={one.progress.of} aria-label={one.provider} />
                  )}
                </td>
                <td>
                  {one.finishedAt &&
                    duration((new Date(one.finishedAt).getTime() - new Date(one.startedAt).getTime()) / 1000)}
                </td>
              </tr>
            ))}
          </Table>
        </section>
      </div>
    </div>
  )
}

export function Deliveries({ study, reload }: { study: Study; reload(): void }): ReactNode {
  const { t, time } = useWords()
  const { busy, problem, run } = useAction()
  if (study.deliveries.length === 0) return <p className="soft">{t('none')}</p>
  return (
    <>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <Table
        caption={t('deliveries')}
        heads={[t('destination'), t('state'), t('attempts'), 'SOP Instance UID', t('nextAttempt'), t('lastError'), '']}
      >
        {study.deliveries.map(one => (
          <tr key={one.id}>
            <td>{one.destination}</td>
            <td>
              <Badge of={one.state} />
            </td>
            <td>{one.attempts}</td>
            <td>
              <Uid of={one.sopInstanceUid} />
            </td>
            <td>{time(one.deliveredAt ?? one.nextAttemptAt)}</td>
            <td className="small">{one.lastError}</td>
            <td>
              {one.state === 'dead' && (
                <May permission="studies:operate">
                  <Button
                    isDisabled={busy}
                    onPress={() =>
                      run(async () => {
                        await call('POST', `/deliveries/${one.id}/retry`)
                        reload()
                      })
                    }
                  >
                    {t('retry')}
                  </Button>
                </May>
              )}
            </td>
          </tr>
        ))}
      </Table>
    </>
  )
}

export interface Explained {
  route: string | null
  explanation: { route: string; matches: boolean; reason: string }[]
}

export function Explanation({ of }: { of: Explained }): ReactNode {
  const { t } = useWords()
  return (
    <>
      <p>
        <strong>{of.route ?? t('noRoute')}</strong>
      </p>
      <ul>
        {of.explanation.map(({ route, matches, reason }) => (
          <li key={route}>
            {matches ? '✓' : '✗'} {route}: {reason}
          </li>
        ))}
      </ul>
    </>
  )
}

export function RouteNow({ uid }: { uid: string }): ReactNode {
  const { t } = useWords()
  const route = useApi<Explained>(`/studies/${uid}/route`)
  return (
    <section className="card">
      <h2>{t('routeNow')}</h2>
      <Show of={route}>{data => <Explanation of={data} />}</Show>
    </section>
  )
}
