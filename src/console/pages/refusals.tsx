import type { ReactNode } from 'react'
import { useApi } from '../api'
import { Show, Table, Uid } from '../parts'
import { useWords } from '../text'

interface Refusal {
  at: string
  source: string
  studyInstanceUid: string | null
  instances: number
  status: string
  reason: string
}

/** Instances that were refused: of one study, or of all. */
export function Refusals({ study }: { study?: string }): ReactNode {
  const { t, time, number } = useWords()
  const refusals = useApi<Refusal[]>(`/refusals?limit=200${study ? `&study=${study}` : ''}`)
  return (
    <Show of={refusals}>
      {list =>
        list.length === 0 ? (
          <p className="soft">{t('noneRefused')}</p>
        ) : (
          <Table
            caption={t('refusedInstances')}
            heads={[t('date'), t('source'), ...(study ? [] : [t('study')]), t('count'), t('reason')]}
          >
            {list.map(({ at, source, studyInstanceUid, instances, status, reason }) => (
              <tr key={at + source + studyInstanceUid + reason}>
                <td className="whole">{time(at)}</td>
                <td>{source}</td>
                {!study && (
                  <td>
                    {studyInstanceUid && (
                      <a href={`#/studies/${studyInstanceUid}`}>
                        <Uid of={studyInstanceUid} />
                      </a>
                    )}
                  </td>
                )}
                <td>{number(instances)}</td>
                <td className="small">
                  <span className="mono">{status}</span> {reason}
                </td>
              </tr>
            ))}
          </Table>
        )
      }
    </Show>
  )
}
