import type { ReactNode } from 'react'
import { Button, Tab, TabList, TabPanel, Tabs } from 'react-aria-components'
import { call, useAction, useApi, useEvents } from '../api'
import { useApp } from '../app'
import { Ask, Badge, May, Notice, Show } from '../parts'
import { personName, useWords } from '../text'
import { ImagesAndFindings } from './images'
import type { PatientOfStudy } from './studies'
import { Deliveries, Reports, RouteNow, Timeline } from './studyTabs'

export interface Study {
  studyInstanceUid: string
  revision: number
  state: string
  reason: string | null
  evidence: { kind: string; reason: string; at: string }[]
  instances: number
  receivedAt: string
  /** Only for those who may see it. */
  patient?: PatientOfStudy
  timeline: { revision: number; kind: string; detail: Record<string, unknown>; at: string }[]
  analyses: {
    revision: number
    route: string
    arm: string
    provider: string
    status: string
    error: string | null
    progress: { done: number; of: number; findings: number } | null
    findings: number | null
    startedAt: string
    finishedAt: string | null
  }[]
  results: { revision: number; sopClassUid: string; seriesInstanceUid: string; sopInstanceUid: string; bytes: number }[]
  deliveries: {
    id: number
    revision: number
    sopInstanceUid: string
    destination: string
    state: string
    attempts: number
    lastError: string | null
    nextAttemptAt: string | null
    deliveredAt: string | null
  }[]
}

const ended = ['completed', 'failed', 'ignored']

export function StudyPage({ uid }: { uid: string }): ReactNode {
  const { t } = useWords()
  const { may } = useApp()
  const study = useApi<Study>(`/studies/${uid}?patient=${may('images:read')}`)
  useEvents(study.reload)
  return (
    <>
      <p>
        <a href="#/studies">← {t('studies')}</a>
      </p>
      <h1>{t('study')}</h1>
      {study.data?.patient && <Patient of={study.data.patient} />}
      <Show of={study}>{data => <Whole study={data} reload={study.reload} />}</Show>
    </>
  )
}

function Patient({ of: { name, id, studyDate, description, accessionNumber } }: { of: PatientOfStudy }): ReactNode {
  const { t, date } = useWords()
  const facts = [id, date(studyDate), description, accessionNumber && t('accession', { number: accessionNumber })]
  return (
    <p>
      <strong>{personName(name)}</strong> <span className="soft">{facts.filter(Boolean).join(' · ')}</span>
    </p>
  )
}

function Whole({ study, reload }: { study: Study; reload(): void }): ReactNode {
  const { t, time, number } = useWords()
  const { may } = useApp()
  return (
    <>
      <p className="mono">{study.studyInstanceUid}</p>
      <p>
        <Badge of={study.state} /> {t('revision', { revision: study.revision })} ·{' '}
        {study.instances === 1 ? t('oneImage') : t('manyImages', { count: number(study.instances) })} · {t('received')}{' '}
        {time(study.receivedAt)}
      </p>
      {study.reason && <Notice kind={study.state === 'failed' ? 'bad' : 'info'}>{study.reason}</Notice>}
      <Actions study={study} reload={reload} />
      <Tabs defaultSelectedKey={may('images:read') ? 'images' : 'timeline'}>
        <TabList className="tablist" aria-label={t('study')}>
          {(['images', 'report', 'timeline', 'deliveries', 'route'] as const).map(key => (
            <Tab key={key} id={key} className="tab">
              {t(key === 'images' ? 'findings' : key)}
            </Tab>
          ))}
        </TabList>
        <TabPanel id="images">
          {may('images:read') ? (
            <ImagesAndFindings uid={study.studyInstanceUid} key={`${study.revision}${study.state}`} />
          ) : (
            <p>{t('imagesHidden')}</p>
          )}
        </TabPanel>
        <TabPanel id="report">{may('images:read') ? <Reports study={study} /> : <p>{t('imagesHidden')}</p>}</TabPanel>
        <TabPanel id="timeline">
          <Timeline study={study} />
        </TabPanel>
        <TabPanel id="deliveries">
          <Deliveries study={study} reload={reload} />
        </TabPanel>
        <TabPanel id="route">
          <RouteNow uid={study.studyInstanceUid} />
        </TabPanel>
      </Tabs>
    </>
  )
}

function Actions({ study, reload }: { study: Study; reload(): void }): ReactNode {
  const { t } = useWords()
  const { busy, problem, run } = useAction()
  const isOver = ended.includes(study.state)
  const post = (path: string) =>
    run(async () => {
      await call('POST', `/studies/${study.studyInstanceUid}/${path}`)
      reload()
    })
  return (
    <>
      <div className="row">
        <May permission="studies:operate">
          {study.state === 'failed' && (
            <Button className="primary" isDisabled={busy} onPress={() => post('retry')}>
              {t('retry')}
            </Button>
          )}
          {isOver ? (
            <>
              <Button isDisabled={busy} onPress={() => post('analyze')}>
                {t('analyzeAgain')}
              </Button>
              {study.deliveries.some(({ revision }) => revision === study.revision) && (
                <Button isDisabled={busy} onPress={() => post('deliver')}>
                  {t('deliverAgain')}
                </Button>
              )}
            </>
          ) : (
            <Button isDisabled={busy} onPress={() => post('cancel')}>
              {t('cancelStudy')}
            </Button>
          )}
        </May>
        <May permission="images:read">
          <ViewerLink uid={study.studyInstanceUid} />
        </May>
        {isOver && (
          <May permission="studies:delete">
            <Ask
              label={t('delete')}
              title={t('deleteStudy')}
              hint={t('deleteStudyHint')}
              onConfirm={() =>
                run(async () => {
                  await call('DELETE', `/studies/${study.studyInstanceUid}`)
                  location.hash = '#/studies'
                })
              }
            />
          </May>
        )}
      </div>
      {problem && <Notice kind="bad">{problem}</Notice>}
    </>
  )
}

/** Only where the viewer is installed. */
function ViewerLink({ uid }: { uid: string }): ReactNode {
  const { t } = useWords()
  const { session } = useApp()
  return session.viewer ? (
    <a className="button" href={`viewer/viewer?StudyInstanceUIDs=${uid}`} target="_blank" rel="noreferrer">
      {t('openViewer')}
    </a>
  ) : null
}
