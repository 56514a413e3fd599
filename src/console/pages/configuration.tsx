import { type ReactNode, useEffect, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, callRaw, useAction, useApi } from '../api'
import { useApp } from '../app'
import {
  Ask,
  type Difference,
  Differences,
  Field,
  May,
  Notice,
  Show,
  Steps,
  Table,
  type TestSteps,
  TextInput,
} from '../parts'
import { useWords } from '../text'

interface Version {
  version: number
  author: string
  comment: string
  restores: number | null
  createdAt: string | null
}

interface Comparison {
  version: number
  changes: Difference[]
  tests?: TestSteps[]
}

/** Where nothing is configured yet. */
const example = `destinations:
  - name: pacs
    stow: { url: 'http://127.0.0.1:8042/dicom-web' }
routes:
  - name: chest
    match: { modality: [CT, CR, DX] }
    analysis: { primary: reference }
    deliverTo: [pacs]
`

export function ConfigurationPage(): ReactNode {
  const { t } = useWords()
  const [turn, setTurn] = useState(0)
  return (
    <>
      <h1>{t('configuration')}</h1>
      <div className="two">
        <Editor key={turn} onChanged={() => setTurn(turn + 1)} />
        <History key={`history${turn}`} onChanged={() => setTurn(turn + 1)} />
      </div>
    </>
  )
}

function Editor({ onChanged }: { onChanged(): void }): ReactNode {
  const { t } = useWords()
  const { may } = useApp()
  const [loaded, setLoaded] = useState<{ text: string; version: number } | undefined>()
  const [text, setText] = useState('')
  const [comment, setComment] = useState('')
  const [compared, setCompared] = useState<Comparison | undefined>()
  const { busy, problem, refusal, run } = useAction()
  useEffect(() => {
    void run(async () => {
      const answer = await callRaw('GET', '/configuration?format=yaml')
      const body = (await answer.text()).replace(/^# version .*\n/, '')
      const known = {
        text: body === '{}\n' ? '' : body,
        version: Number(answer.headers.get('etag')?.replace(/"/g, '')),
      }
      setLoaded(known)
      setText(known.text)
    })
  }, [run])
  const compare = (test: boolean) =>
    run(async () => {
      setCompared(undefined)
      setCompared(await call<Comparison>('PUT', `/configuration?dryRun=true&test=${test}`, { text: text || '{}' }))
    })
  const apply = () =>
    run(async () => {
      const query = comment ? `?comment=${encodeURIComponent(comment)}` : ''
      await call('PUT', `/configuration${query}`, {
        text: text || '{}',
        headers: { 'If-Match': `"${loaded?.version}"` },
      })
      onChanged()
    })
  const errors = (refusal?.more.errors ?? []) as { line: number; path: string; message: string }[]
  return (
    <section className="card">
      <h2>
        {t('version')} {loaded?.version}
      </h2>
      <Field label={t('document')}>
        {attributes => (
          <textarea
            {...attributes}
            className="code"
            spellCheck={false}
            placeholder={example}
            value={text}
            readOnly={!may('configuration:write')}
            onChange={event => {
              setText(event.target.value)
              setCompared(undefined)
            }}
          />
        )}
      </Field>
      {problem && (
        <Notice kind="bad">
          {refusal?.status === 412 ? (
            <>
              {t('conflict')} <Button onPress={onChanged}>{t('loadAnew')}</Button>
            </>
          ) : errors.length > 0 ? (
            <ul>
              {errors.map(({ line, path, message }) => (
                <li key={line + path + message}>
                  {line}: {message.includes(path) ? message : `${path}: ${message}`}
                </li>
              ))}
            </ul>
          ) : (
            problem
          )}
        </Notice>
      )}
      <May permission="configuration:write">
        <TextInput label={t('comment')} value={comment} onChange={setComment} />
        <div className="row">
          <Button isDisabled={busy} onPress={() => compare(false)}>
            {t('compare')}
          </Button>
          <Button isDisabled={busy} onPress={() => compare(true)}>
            {t('testChanged')}
          </Button>
          <Button className="primary" isDisabled={busy || !compared || compared.changes.length === 0} onPress={apply}>
            {t('apply')}
          </Button>
        </div>
      </May>
      {compared && (
        <>
          <h3>{t('changes')}</h3>
          <Differences of={compared.changes} />
          {compared.tests?.map(test => (
            <div key={test.name}>
              <h3>{test.name}</h3>
              <Steps of={test} />
            </div>
          ))}
        </>
      )}
    </section>
  )
}

function History({ onChanged }: { onChanged(): void }): ReactNode {
  const { t, time } = useWords()
  const history = useApi<Version[]>('/configuration/versions')
  const { problem, run } = useAction()
  const newest = history.data?.[0]?.version ?? 0
  return (
    <section className="card">
      <h2>{t('history')}</h2>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <Show of={history}>
        {versions =>
          versions.length === 0 ? (
            <p className="soft">{t('nothingHere')}</p>
          ) : (
            <Table caption={t('history')} heads={[t('version'), t('date'), t('author'), t('comment'), '']}>
              {versions.map(({ version, createdAt, author, comment }) => (
                <tr key={version}>
                  <td>{version}</td>
                  <td className="whole">{time(createdAt)}</td>
                  <td>{author}</td>
                  <td>{comment}</td>
                  <td>
                    {version !== newest && (
                      <May permission="configuration:write">
                        <Ask
                          danger={false}
                          label={t('restore')}
                          title={`${t('restore')}: ${t('version')} ${version}`}
                          hint={comment}
                          onConfirm={() =>
                            run(async () => {
                              await call('POST', '/configuration/rollback', {
                                body: { version },
                                headers: { 'If-Match': `"${newest}"` },
                              })
                              onChanged()
                            })
                          }
                        />
                      </May>
                    )}
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Show>
    </section>
  )
}
