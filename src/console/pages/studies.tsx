import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { useApi, useEvents } from '../api'
import { useApp } from '../app'
import { Badge, Choice, Form, Show, Table, TextInput, Uid } from '../parts'
import { personName, useWords } from '../text'

export interface PatientOfStudy {
  name: string | null
  id: string | null
  accessionNumber: string | null
  studyDate: string | null
  description: string | null
}

export interface StudySummary {
  studyInstanceUid: string
  revision: number
  state: string
  reason: string | null
  modalities: string[]
  instances: number
  receivedAt: string
  patient?: PatientOfStudy
}

const states = [
  'receiving',
  'settled',
  'analyzing',
  'reporting',
  'delivering',
  'completed',
  'failed',
  'ignored',
] as const
const pageSize = 50

export function StudiesPage({ initialState }: { initialState: string }): ReactNode {
  const { t, named } = useWords()
  const { may } = useApp()
  const [state, setState] = useState(initialState)
  const [modality, setModality] = useState('')
  const [typed, setTyped] = useState('')
  const [text, setText] = useState('')
  const [limit, setLimit] = useState(pageSize)
  const found = useApi<StudySummary[]>('/studies/search', undefined, {
    limit,
    ...(state ? { state } : {}),
    ...(modality ? { modality } : {}),
    ...(text ? { text } : {}),
  })
  useEvents(found.reload)
  const isFiltered = state !== '' || modality !== '' || text !== ''
  return (
    <>
      <h1>{t('studies')}</h1>
      <Form onSubmit={() => setText(typed.trim())}>
        <div className="row end">
          <TextInput
            label={t('search')}
            type="search"
            value={typed}
            onChange={setTyped}
            hint={t(may('images:read') ? 'searchHint' : 'searchHintUid')}
          />
          <Choice
            label={t('state')}
            value={state}
            onChange={setState}
            options={[['', t('all')], ...states.map(name => [name, named(name)] as const)]}
          />
          <Choice
            label={t('modality')}
            value={modality}
            onChange={setModality}
            options={[['', t('all')], ...['CT', 'CR', 'DX', 'MR', 'MG', 'US'].map(name => [name, name] as const)]}
          />
          <div className="field">
            <button type="submit" className="primary">
              {t('search')}
            </button>
          </div>
        </div>
      </Form>
      <Show of={found}>
        {studies =>
          studies.length === 0 ? (
            <p className="soft">{t(isFiltered ? 'noStudies' : 'noStudiesYet')}</p>
          ) : (
            <>
              <List of={studies} />
              {studies.length === limit && limit < 1000 && (
                <p>
                  <Button onPress={() => setLimit(Math.min(1000, limit + 4 * pageSize))}>{t('more')}</Button>
                </p>
              )}
            </>
          )
        }
      </Show>
    </>
  )
}

function List({ of }: { of: StudySummary[] }): ReactNode {
  const { t, time, shortTime, date, number } = useWords()
  const { may } = useApp()
  const withPatient = may('images:read')
  const heads = [
    t('received'),
    t('state'),
    ...(withPatient ? [t('patient'), t('date'), t('description')] : [t('study')]),
    t('modality'),
    t('images'),
    t('reason'),
  ]
  return (
    <Table caption={t('studies')} heads={heads}>
      {of.map(({ studyInstanceUid: uid, state, reason, modalities, instances, receivedAt, revision, patient }) => (
        <tr key={uid}>
          <td className="whole">
            <a href={`#/studies/${uid}`} title={time(receivedAt)}>
              {shortTime(receivedAt)}
            </a>
          </td>
          <td>
            <Badge of={state} /> {revision > 1 && <span className="soft small">r{revision}</span>}
          </td>
          {withPatient ? (
            <>
              <td>
                {personName(patient?.name ?? null)} <span className="soft small">{patient?.id}</span>
              </td>
              <td className="whole">{date(patient?.studyDate ?? null)}</td>
              <td>{patient?.description}</td>
            </>
          ) : (
            <td>
              <Uid of={uid} />
            </td>
          )}
          <td>{modalities.join(', ')}</td>
          <td>{number(instances)}</td>
          <td className="small reason">{reason}</td>
        </tr>
      ))}
    </Table>
  )
}
