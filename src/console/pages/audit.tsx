import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { Badge, Choice, Notice, Show, Table, TextInput } from '../parts'
import { detailText, useWords } from '../text'

interface Entry {
  id: number
  at: string
  event: string
  outcome: string
  actor: string
  data: {
    actor: { address?: string; role?: string }
    study?: string
    instances?: number
    peer?: string
    detail?: object
  }
}

const events = [
  'login',
  'logout',
  'access-refused',
  'sender-refused',
  'configuration-changed',
  'accounts-changed',
  'operated',
  'instances-received',
  'instances-sent',
  'instances-accessed',
  'query',
  'export',
  'study-deleted',
  'audit-log-used',
  'application-start',
  'application-stop',
]

export function AuditPage(): ReactNode {
  const { t, time } = useWords()
  const [event, setEvent] = useState('')
  const [actor, setActor] = useState('')
  const [limit, setLimit] = useState(100)
  const query = new URLSearchParams({
    limit: String(limit),
    ...(event ? { event } : {}),
    ...(actor ? { actor } : {}),
  })
  const entries = useApi<Entry[]>(`/audit?${query}`)
  return (
    <>
      <h1>{t('audit')}</h1>
      <Proof />
      <div className="row end">
        <Choice
          label={t('event')}
          value={event}
          onChange={setEvent}
          options={[['', t('all')], ...events.map(name => [name, name] as const)]}
        />
        <TextInput label={t('actor')} value={actor} onChange={setActor} />
      </div>
      <Show of={entries}>
        {list => (
          <>
            <Table caption={t('audit')} heads={['#', t('date'), t('event'), t('outcome'), t('actor'), t('detail')]}>
              {list.map(({ id, at, event: what, outcome, actor: who, data }) => (
                <tr key={id}>
                  <td>{id}</td>
                  <td className="whole">{time(at)}</td>
                  <td className="whole">{what}</td>
                  <td>
                    <Badge of={outcome} />
                  </td>
                  <td>
                    {who} <span className="soft small">{data.actor.address}</span>
                  </td>
                  <td className="small">
                    {data.study && <a href={`#/studies/${data.study}`}>{data.study}</a>}{' '}
                    {[
                      data.instances && t('instancesCount', { count: data.instances }),
                      data.peer,
                      data.detail && detailText(data.detail),
                    ]
                      .filter(Boolean)
                      .join(' · ')}
                  </td>
                </tr>
              ))}
            </Table>
            {list.length === limit && limit < 1000 && (
              <p>
                <Button onPress={() => setLimit(Math.min(1000, limit + 300))}>{t('more')}</Button>
              </p>
            )}
          </>
        )}
      </Show>
    </>
  )
}

function Proof(): ReactNode {
  const { t, number } = useWords()
  const { busy, problem, run } = useAction()
  const [proof, setProof] = useState<
    { entries: number; intact: boolean; brokenAt?: number; head: string } | undefined
  >()
  return (
    <>
      <div className="row">
        <Button isDisabled={busy} onPress={() => run(async () => setProof(await call('GET', '/audit/verify')))}>
          {t('verify')}
        </Button>
        <a className="button" href="api/audit/export" download="audit.jsonl">
          {t('exportJson')}
        </a>
        <a className="button" href="api/audit/export?format=dicom" download="audit.xml">
          {t('exportDicom')}
        </a>
      </div>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {proof && (
        <Notice kind={proof.intact ? 'good' : 'bad'}>
          {proof.intact
            ? t('intact', { count: number(proof.entries), head: proof.head })
            : t('broken', { id: proof.brokenAt ?? 0 })}
        </Notice>
      )}
    </>
  )
}
