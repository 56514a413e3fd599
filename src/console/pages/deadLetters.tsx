import type { ReactNode } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi, useEvents } from '../api'
import { May, Notice, Show, Table, Uid } from '../parts'
import { useWords } from '../text'
import { Refusals } from './refusals'
import type { StudySummary } from './studies'

interface Delivery {
  id: number
  studyInstanceUid: string
  destination: string
  attempts: number
  lastError: string | null
}

export function DeadLettersPage(): ReactNode {
  const { t, time } = useWords()
  const dead = useApi<Delivery[]>('/deliveries?state=dead')
  const failed = useApi<StudySummary[]>('/studies?state=failed&limit=200')
  const { busy, problem, run } = useAction()
  const reload = () => {
    dead.reload()
    failed.reload()
  }
  useEvents(reload)
  const post = (paths: string[]) =>
    run(async () => {
      for (const path of paths) await call('POST', path)
      reload()
    })
  return (
    <>
      <h1>{t('deadLetters')}</h1>
      <p>{t('deadHint')}</p>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <Show of={dead}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('noDead')}</p>
          ) : (
            <>
              <May permission="studies:operate">
                <Button
                  className="primary"
                  isDisabled={busy}
                  onPress={() => post(list.map(({ id }) => `/deliveries/${id}/retry`))}
                >
                  {t('retryAll', { count: list.length })}
                </Button>
              </May>
              <Table
                caption={t('deadLetters')}
                heads={[t('study'), t('destination'), t('attempts'), t('lastError'), '']}
              >
                {list.map(({ id, studyInstanceUid, destination, attempts, lastError }) => (
                  <tr key={id}>
                    <td>
                      <a href={`#/studies/${studyInstanceUid}`}>
                        <Uid of={studyInstanceUid} />
                      </a>
                    </td>
                    <td>{destination}</td>
                    <td>{attempts}</td>
                    <td className="small">{lastError}</td>
                    <td>
                      <May permission="studies:operate">
                        <Button isDisabled={busy} onPress={() => post([`/deliveries/${id}/retry`])}>
                          {t('retry')}
                        </Button>
                      </May>
                    </td>
                  </tr>
                ))}
              </Table>
            </>
          )
        }
      </Show>
      <h2>{t('failedStudies')}</h2>
      <Show of={failed}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('none')}</p>
          ) : (
            <Table caption={t('failedStudies')} heads={[t('received'), t('study'), t('reason'), '']}>
              {list.map(({ studyInstanceUid, receivedAt, reason }) => (
                <tr key={studyInstanceUid}>
                  <td className="whole">{time(receivedAt)}</td>
                  <td>
                    <a href={`#/studies/${studyInstanceUid}`}>
                      <Uid of={studyInstanceUid} />
                    </a>
                  </td>
                  <td className="small">{reason}</td>
                  <td>
                    <May permission="studies:operate">
                      <Button isDisabled={busy} onPress={() => post([`/studies/${studyInstanceUid}/retry`])}>
                        {t('retry')}
                      </Button>
                    </May>
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Show>
      <h2>{t('refusedInstances')}</h2>
      <Refusals />
    </>
  )
}
