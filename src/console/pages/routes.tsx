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
import { routeKind } from '../entryKinds'
import { Ask, Form, May, Notice, Show, Table, TextInput, Uid } from '../parts'
import { detailText, useWords } from '../text'
import { EntryForm } from './entryForm'
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
              <td className="small">{detailText(route.match ?? {}) || t('all')}</td>
              <td>{route.priority ?? 'routine'}</td>
              <td>
                {route.analysis.primary}
                {route.analysis.canary && ` + ${route.analysis.canary.provider}`}
                {route.analysis.shadow?.map(shadow => ` (${shadow})`)}
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
                      hint={t('removeHint', { name: route.name })}
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
          <>
            <h3>{routes[edited]?.name ?? t('addRoute')}</h3>
            <EntryForm<RouteEntry>
              key={edited}
              kind={routeKind(document)}
              entry={routes[edited]}
              label={t('save')}
              onDone={entry => put(edited, entry)}
            />
          </>
        )}
      </section>
      <Trial document={next} changed={changed} />
    </>
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
