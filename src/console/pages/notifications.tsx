import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { Badge, May, Notice, Show, Table } from '../parts'
import { useWords } from '../text'

interface Rule {
  name: string
  on: string[]
  by: string
  lastSent: string | null
  waiting: number
  lastError: string | null
}

export function NotificationsPage(): ReactNode {
  const { t, time } = useWords()
  const rules = useApi<Rule[]>('/notifications', 15_000)
  const { busy, problem, run } = useAction()
  const [told, setTold] = useState<string | undefined>()
  return (
    <>
      <div className="row spread">
        <h1>{t('notifications')}</h1>
        <a className="button" href="#/configuration">
          {t('editAsYaml')}
        </a>
      </div>
      <p>{t('notificationsHint')}</p>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {told && <Notice kind="good">{t('sent', { detail: told })}</Notice>}
      <Show of={rules}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('noNotifications')}</p>
          ) : (
            <Table
              caption={t('notifications')}
              heads={[t('ruleName'), t('event'), t('address'), t('lastSent'), t('lastError'), '']}
            >
              {list.map(({ name, on, by, lastSent, lastError, waiting }) => (
                <tr key={name}>
                  <td>{name}</td>
                  <td>{on.join(', ')}</td>
                  <td className="mono">{by}</td>
                  <td>
                    {time(lastSent)} {waiting > 0 && <Badge of={`+${waiting}`} kind="warn" />}
                  </td>
                  <td className="small">{lastError}</td>
                  <td>
                    <May permission="endpoints:test">
                      <Button
                        isDisabled={busy}
                        onPress={() =>
                          run(async () => {
                            setTold(undefined)
                            const answer = await call<{ detail: string }>(
                              'POST',
                              `/notifications/${encodeURIComponent(name)}/test`,
                            )
                            setTold(answer.detail)
                          })
                        }
                      >
                        {t('sendTest')}
                      </Button>
                    </May>
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Show>
    </>
  )
}
