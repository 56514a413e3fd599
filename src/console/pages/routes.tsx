import { type ReactNode, useEffect, useState } from 'react'
import { Button, DropZone, FileTrigger } from 'react-aria-components'
import { call, useAction } from '../api'
import { useApp } from '../app'
import {
  applyDocument,
  type Configuration,
  type EndpointsDocument,
  type RouteEntry,
  useConfiguration,
} from '../endpoints'
import { Ask, Choice, Form, May, Notice, Show, Table, TextInput, Uid, useFields } from '../parts'
import { useWords } from '../text'
import { type Explained, Explanation } from './studyTabs'

export function RoutesPage(): ReactNode {
  const { t } = useWords()
  const configuration = useConfiguration()
  return (
    <>
      <h1>{t('routes')}</h1>
      <p>{t('routesHint')}</p>
      <Show of={configuration}>
        {data => <Editor key={data.version} configuration={data} reload={configuration.reload} />}
      </Show>
    </>
  )
}

/** Without a list of routes every study goes to the reference analyser. */
const defaultRoutes: RouteEntry[] = [
  { name: 'default', analysis: { primary: 'reference' }, results: ['sr', 'seg', 'sc'] },
]

function Editor({ configuration, reload }: { configuration: Configuration; reload(): void }): ReactNode {
  const { t } = useWords()
  const { may } = useApp()
  const { document, version } = configuration
  const [routes, setRoutes] = useState(document.routes ?? defaultRoutes)
  const [edited, setEdited] = useState<number | undefined>()
  const { busy, problem, run } = useAction()
  const changed = JSON.stringify(routes) !== JSON.stringify(document.routes ?? defaultRoutes)
  const next: EndpointsDocument = { ...document, routes }
  const move = (from: number, by: number) => {
    const list = [...routes]
    const [one] = list.splice(from, 1)
    list.splice(from + by, 0, one!)
    setRoutes(list)
    setEdited(undefined)
  }
  const put = (index: number, entry: RouteEntry) => {
    setRoutes(Object.assign([...routes], { [index]: entry }))
    setEdited(undefined)
  }
  const apply = () =>
    run(async () => {
      await applyDocument(next, version, 'routes')
      reload()
    })
  return (
    <>
      <section className="card">
        <Table
          caption={t('routes')}
          heads={[t('order'), t('name'), t('matches'), t('priority'), t('analysedBy'), t('deliveredTo'), '']}
        >
          {routes.map((route, i) => (
            <tr key={route.name}>
              <td>{i + 1}</td>
              <td>{route.name}</td>
              <td className="small">{wordsOf(route.match) || t('all')}</td>
              <td>{route.priority ?? 'routine'}</td>
              <td>
                {route.analysis.primary}
                {route.analysis.canary && ` + ${route.analysis.canary.provider}`}
              </td>
              <td>{route.deliverTo?.join(', ') || t('none')}</td>
              <td>
                {may('configuration:write') && (
                  <div className="row">
                    <Button
                      aria-label={`${t('moveUp')}: ${route.name}`}
                      isDisabled={i === 0}
                      onPress={() => move(i, -1)}
                    >
                      ↑
                    </Button>
                    <Button
                      aria-label={`${t('moveDown')}: ${route.name}`}
                      isDisabled={i === routes.length - 1}
                      onPress={() => move(i, 1)}
                    >
                      ↓
                    </Button>
                    <Button onPress={() => setEdited(edited === i ? undefined : i)} aria-label={`✎ ${route.name}`}>
                      ✎
                    </Button>
                    <Ask
                      label={t('remove')}
                      title={`${t('remove')}: ${route.name}`}
                      hint=""
                      onConfirm={() => setRoutes(routes.filter(one => one !== route))}
                    />
                  </div>
                )}
              </td>
            </tr>
          ))}
        </Table>
        <May permission="configuration:write">
          <div className="row">
            <Button onPress={() => setEdited(routes.length)}>{t('addRoute')}</Button>
            <Button className="primary" isDisabled={!changed || busy} onPress={apply}>
              {t('apply')}
            </Button>
            {changed && <Button onPress={() => setRoutes(document.routes ?? defaultRoutes)}>{t('cancel')}</Button>}
          </div>
        </May>
        {problem && <Notice kind="bad">{problem}</Notice>}
        {edited !== undefined && (
          <RouteForm
            key={edited}
            route={routes[edited] ?? { name: '', analysis: { primary: 'reference' } }}
            document={document}
            onDone={entry => put(edited, entry)}
          />
        )}
      </section>
      <Trial document={next} changed={changed} />
    </>
  )
}

function wordsOf(match: RouteEntry['match']): string {
  return Object.entries(match ?? {})
    .map(
      ([name, value]) =>
        `${name}: ${Array.isArray(value) && typeof value[0] === 'string' ? value.join(', ') : JSON.stringify(value)}`,
    )
    .join(' · ')
}

const listOf = (text: string) =>
  text
    .split(',')
    .map(part => part.trim())
    .filter(Boolean)

function RouteForm({
  route,
  document,
  onDone,
}: {
  route: RouteEntry
  document: EndpointsDocument
  onDone(route: RouteEntry): void
}): ReactNode {
  const { t } = useWords()
  const [fields, set] = useFields({
    name: route.name,
    modality: route.match?.modality?.join(', ') ?? '',
    bodyPart: route.match?.bodyPart?.join(', ') ?? '',
    priority: route.priority ?? 'routine',
    primary: route.analysis.primary,
  })
  const [deliverTo, setDeliverTo] = useState(route.deliverTo ?? [])
  const providers = ['reference', ...(document.providers ?? []).map(({ name }) => name)]
  const submit = () => {
    const { modality: _m, bodyPart: _b, ...otherMatch } = route.match ?? {}
    const [modality, bodyPart] = [listOf(fields.modality), listOf(fields.bodyPart)]
    onDone({
      ...route,
      name: fields.name,
      match: {
        ...otherMatch,
        ...(modality.length > 0 ? { modality } : {}),
        ...(bodyPart.length > 0 ? { bodyPart: bodyPart.map(part => part.toUpperCase()) } : {}),
      },
      priority: fields.priority,
      analysis: { ...route.analysis, primary: fields.primary },
      deliverTo,
    })
  }
  return (
    <Form onSubmit={submit}>
      <h3>{route.name || t('addRoute')}</h3>
      <TextInput label={t('name')} value={fields.name} onChange={set('name')} required />
      <TextInput label={t('modality')} hint={t('commaSeparated')} value={fields.modality} onChange={set('modality')} />
      <TextInput label={t('bodyPart')} hint={t('commaSeparated')} value={fields.bodyPart} onChange={set('bodyPart')} />
      <Choice
        label={t('priority')}
        value={fields.priority}
        onChange={set('priority')}
        options={['stat', 'routine', 'off-peak'].map(name => [name, name] as const)}
      />
      <Choice
        label={t('analysedBy')}
        value={fields.primary}
        onChange={set('primary')}
        options={providers.map(name => [name, name] as const)}
      />
      <fieldset>
        <legend>{t('deliveredTo')}</legend>
        {(document.destinations ?? []).map(({ name }) => (
          <label key={name}>
            <input
              type="checkbox"
              checked={deliverTo.includes(name)}
              onChange={event =>
                setDeliverTo(event.target.checked ? [...deliverTo, name] : deliverTo.filter(one => one !== name))
              }
            />{' '}
            {name}
          </label>
        ))}
        {(document.destinations ?? []).length === 0 && <span className="soft">{t('none')}</span>}
      </fieldset>
      <button type="submit">{t('save')}</button>
    </Form>
  )
}

interface Tried {
  counts: { route: string | null; studies: number }[]
  studies: ({ studyInstanceUid: string } & Explained)[]
}

const triedDays = 30
/** A header is longer than that in no file that was seen. */
const headerBytes = 2_800_000

async function base64(blob: Blob): Promise<string> {
  const address = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result))
    reader.onerror = () => reject(reader.error)
    reader.readAsDataURL(blob)
  })
  return address.slice(address.indexOf(',') + 1)
}

/** Which route would take which study: of those that are stored, or of a file. */
function Trial({ document, changed }: { document: EndpointsDocument; changed: boolean }): ReactNode {
  const { t, number } = useWords()
  const { busy, problem, run } = useAction()
  const [tried, setTried] = useState<Tried | undefined>()
  const [ofFile, setOfFile] = useState<Explained | undefined>()
  const [study, setStudy] = useState('')
  const routes = JSON.stringify(document.routes)
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was tried holds for the routes it was tried on
  useEffect(() => {
    setTried(undefined)
    setOfFile(undefined)
  }, [routes])
  const attempt = (one?: string) =>
    run(async () => {
      setOfFile(undefined)
      const body = { ...(changed ? { document } : {}), ...(one ? { study: one } : { days: triedDays }) }
      setTried(await call<Tried>('POST', '/routes/try', { body }))
    })
  const attemptFile = (file: File | undefined) =>
    run(async () => {
      if (!file) return
      setTried(undefined)
      const body = { ...(changed ? { document } : {}), file: await base64(file.slice(0, headerBytes)) }
      setOfFile((await call<Tried>('POST', '/routes/try', { body })).studies[0])
    })
  return (
    <section className="card">
      <h2>{t('tryRoutes')}</h2>
      {changed && <Notice kind="info">{t('tryDocument')}</Notice>}
      <div className="row end">
        <Button isDisabled={busy} onPress={() => attempt()}>
          {t('tryOnStudies', { days: triedDays })}
        </Button>
        <Form onSubmit={() => attempt(study.trim())}>
          <div className="row end">
            <TextInput label={t('searchHintUid')} value={study} onChange={setStudy} required />
            <div className="field">
              <button type="submit">{t('tryOnStudy')}</button>
            </div>
          </div>
        </Form>
      </div>
      <DropZone
        className="drop"
        aria-label={t('tryOnFile')}
        onDrop={async event => {
          const item = event.items.find(one => one.kind === 'file')
          if (item?.kind === 'file') await attemptFile(await item.getFile())
        }}
      >
        <p>{t('dropFile')}</p>
        <FileTrigger onSelect={files => void attemptFile(files?.[0])}>
          <Button>{t('chooseFile')}</Button>
        </FileTrigger>
      </DropZone>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {ofFile && <Explanation of={ofFile} />}
      {tried && (
        <>
          <h3>{t('wouldTake')}</h3>
          <ul>
            {tried.counts.map(({ route, studies }) => (
              <li key={route ?? ''}>
                <strong>{route ?? t('noRoute')}</strong>: {number(studies)}
              </li>
            ))}
          </ul>
          {tried.studies.slice(0, 100).map(one => (
            <details key={one.studyInstanceUid}>
              <summary>
                <Uid of={one.studyInstanceUid} /> → {one.route ?? t('noRoute')}
              </summary>
              <Explanation of={one} />
            </details>
          ))}
        </>
      )}
    </section>
  )
}
