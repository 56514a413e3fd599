import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction } from '../api'
import { useApp } from '../app'
import { applyDocument, type Configuration, type EndpointsDocument, useConfiguration } from '../endpoints'
import { type Entry, type EntryKind, shapeOf } from '../entry'
import { destinationKind, providerKind, sourceKind } from '../entryKinds'
import { Ask, May, Notice, Show, Steps, Table, type TestSteps } from '../parts'
import { useWords } from '../text'
import type { Key } from '../text.en'
import { EntryForm } from './entryForm'

const lists = ['sources', 'providers', 'destinations'] as const
type List = (typeof lists)[number]

export function EndpointsPage(): ReactNode {
  const { t } = useWords()
  const configuration = useConfiguration()
  return (
    <>
      <div className="row spread">
        <h1>{t('endpoints')}</h1>
        <a className="button" href="#/configuration">
          {t('editAsYaml')}
        </a>
      </div>
      <Show of={configuration}>
        {data =>
          lists.map(list => <Entries key={list} list={list} configuration={data} reload={configuration.reload} />)
        }
      </Show>
      <p className="soft small">{t('otherKinds')}</p>
    </>
  )
}

const hints: Partial<Record<List, Key>> = { sources: 'noSources', providers: 'defaultProvider' }
const kinds: Record<List, EntryKind> = { sources: sourceKind, providers: providerKind, destinations: destinationKind }

function Entries({
  list,
  configuration,
  reload,
}: {
  list: List
  configuration: Configuration
  reload(): void
}): ReactNode {
  const { t } = useWords()
  const [adds, setAdds] = useState(false)
  const { problem, busy, run } = useAction()
  const entries = configuration.document[list] ?? []
  const apply = (next: EndpointsDocument, comment: string) =>
    run(async () => {
      await applyDocument(next, configuration.version, comment)
      setAdds(false)
      reload()
    })
  const kind = kinds[list]
  const { session } = useApp()
  const hint = list === 'sources' && session.signIn.needed ? 'noSourcesSignedIn' : hints[list]
  return (
    <section className="card" aria-label={t(list)}>
      <div className="row spread">
        <h2>{t(list)}</h2>
        <May permission="configuration:write">
          <Button onPress={() => setAdds(!adds)} aria-expanded={adds}>
            {t(adds ? 'cancel' : 'add')}
          </Button>
        </May>
      </div>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {adds && (
        <EntryForm
          kind={kind}
          busy={busy}
          label={t('save')}
          onDone={entry =>
            apply({ ...configuration.document, [list]: [...entries, entry] }, `${list}: + ${entry.name}`)
          }
        />
      )}
      {entries.length === 0 ? (
        <p className="soft">{hint ? t(hint) : t('none')}</p>
      ) : (
        <Table caption={t(list)} heads={[t('name'), t('kind'), t('address'), '']}>
          {entries.map(entry => (
            <Row
              key={JSON.stringify(entry)}
              kind={kind}
              entry={entry}
              isTested={list !== 'sources'}
              isSaving={busy}
              onChange={changed =>
                apply(
                  { ...configuration.document, [list]: entries.map(one => (one === entry ? changed : one)) },
                  `${list}: ~ ${entry.name}`,
                )
              }
              onRemove={() =>
                apply(
                  { ...configuration.document, [list]: entries.filter(one => one.name !== entry.name) },
                  `${list}: − ${entry.name}`,
                )
              }
            />
          ))}
        </Table>
      )}
    </section>
  )
}

function Row({
  kind,
  entry,
  isTested,
  isSaving,
  onChange,
  onRemove,
}: {
  kind: EntryKind
  entry: Entry
  isTested: boolean
  isSaving: boolean
  onChange(entry: Entry): void
  onRemove(): void
}): ReactNode {
  const { t } = useWords()
  const { busy, problem, run } = useAction()
  const [result, setResult] = useState<TestSteps | undefined>()
  const [edits, setEdits] = useState(false)
  const known = shapeOf(kind, entry)
  return (
    <>
      <tr>
        <td>{entry.name}</td>
        <td>{String(entry.kind ?? (['stow', 'dimse', 'folder'].filter(key => key in entry).join(', ') || ''))}</td>
        <td className="mono">{addressOf(entry)}</td>
        <td>
          <div className="row">
            {isTested && (
              <May permission="endpoints:test">
                <Button
                  isDisabled={busy}
                  onPress={() =>
                    run(async () => setResult(await call('POST', `/endpoints/${encodeURIComponent(entry.name)}/test`)))
                  }
                >
                  {t(busy ? 'testing' : 'test')}
                  <span className="hidden"> {entry.name}</span>
                </Button>
              </May>
            )}
            <May permission="configuration:write">
              {known && (
                <Button onPress={() => setEdits(!edits)} aria-expanded={edits}>
                  {t(edits ? 'cancel' : 'edit')}
                  <span className="hidden"> {entry.name}</span>
                </Button>
              )}
              <Ask
                label={t('remove')}
                title={`${t('remove')}: ${entry.name}`}
                hint={t('removeHint', { name: entry.name })}
                onConfirm={onRemove}
              />
            </May>
          </div>
        </td>
      </tr>
      {edits && (
        <tr className="still">
          <td colSpan={4}>
            <EntryForm kind={kind} entry={entry} busy={isSaving} label={t('save')} onDone={onChange} />
          </td>
        </tr>
      )}
      {(result || problem) && (
        <tr>
          <td colSpan={4}>
            {problem && <Notice kind="bad">{problem}</Notice>}
            {result && <Steps of={result} />}
          </td>
        </tr>
      )}
    </>
  )
}

function addressOf(entry: Record<string, unknown>): string {
  const { stow, dimse, folder, baseUrl } = entry as {
    stow?: { url?: string; token?: string }
    dimse?: { aeTitle: string; host?: string; port?: number }
    folder?: string
    baseUrl?: string
  }
  return [
    baseUrl,
    stow?.url ?? (stow ? 'STOW-RS' : undefined),
    dimse && [dimse.aeTitle, dimse.host && `${dimse.host}:${dimse.port}`].filter(Boolean).join(' @ '),
    folder,
  ]
    .filter(Boolean)
    .join(' · ')
}
