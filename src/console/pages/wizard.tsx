import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi, useEvents } from '../api'
import { useApp } from '../app'
import {
  applyDocument,
  type Configuration,
  type EndpointsDocument,
  type RouteEntry,
  useConfiguration,
} from '../endpoints'
import type { Entry, EntryKind } from '../entry'
import { destinationKind, providerKind, routeKind, sourceKind } from '../entryKinds'
import { type Difference, Differences, Notice, Show, Steps, type TestSteps } from '../parts'
import { useWords } from '../text'
import type { Key } from '../text.en'
import { EntryForm } from './entryForm'
import type { StudySummary } from './studies'
import { AccountForm } from './users'

const steps = [
  'wizardAccount',
  'wizardSource',
  'wizardDestination',
  'wizardProvider',
  'wizardRoute',
  'wizardFinish',
] as const

/** From nothing to the first result. Nothing of it is in force before the last step. */
export function WizardPage(): ReactNode {
  const { t } = useWords()
  const configuration = useConfiguration()
  const [step, setStep] = useState(0)
  const [filled, setFilled] = useState<Filled>({})
  return (
    <>
      <h1>{t('wizard')}</h1>
      <ol className="steps">
        {steps.map((key, i) => (
          <li key={key} aria-current={i === step ? 'step' : undefined}>
            {t(key)}
          </li>
        ))}
      </ol>
      <Show of={configuration}>
        {data => (
          <section className="card">
            <Step
              step={step}
              configuration={data}
              filled={filled}
              onFilled={change => {
                setFilled({ ...filled, ...change })
                setStep(step + 1)
              }}
              onNext={() => setStep(step + 1)}
            />
            <div className="row">
              {step > 0 && <Button onPress={() => setStep(step - 1)}>{t('back')}</Button>}
              {step < steps.length - 1 && <Button onPress={() => setStep(step + 1)}>{t('skipStep')}</Button>}
            </div>
          </section>
        )}
      </Show>
    </>
  )
}

/** What was filled in so far. */
interface Filled {
  source?: Entry
  destination?: Entry
  provider?: Entry & { kind: string }
  route?: RouteEntry | undefined
}

const firstRoute: RouteEntry = {
  name: 'chest',
  match: { modality: ['CT', 'CR', 'DX'] },
  analysis: { primary: 'reference' },
  results: ['sr', 'seg', 'sc'],
}

/** The route that the wizard sets up: that of an earlier time, if there is one. */
function routeOf({ routes = [] }: EndpointsDocument, { destination, provider, route }: Filled): RouteEntry {
  if (route) return route
  const before = routes.find(({ name }) => name === firstRoute.name) ?? firstRoute
  return {
    ...before,
    analysis: provider ? { ...before.analysis, primary: provider.name } : before.analysis,
    deliverTo: [...new Set([...(before.deliverTo ?? []), ...(destination ? [destination.name] : [])])],
  }
}

/** The document with what was filled in. Other routes stay as they are, and before the new one. */
function documentOf(before: EndpointsDocument, filled: Filled): EndpointsDocument {
  const { source, destination, provider, route } = filled
  const { sources = [], destinations = [], providers = [], routes = [] } = before
  const others = routes.filter(({ name }) => name !== firstRoute.name)
  return {
    ...before,
    ...(source ? { sources: [...sources, source] } : {}),
    ...(destination ? { destinations: [...destinations, destination] } : {}),
    ...(provider ? { providers: [...providers, provider] } : {}),
    ...(destination || provider || route ? { routes: [...others, routeOf(before, filled)] } : {}),
  }
}

function Step({
  step,
  configuration,
  filled,
  onFilled,
  onNext,
}: {
  step: number
  configuration: Configuration
  filled: Filled
  onFilled(change: Filled): void
  onNext(): void
}): ReactNode {
  const { t } = useWords()
  const document = documentOf(configuration.document, filled)
  function ask<E extends Entry>(hint: Key, kind: EntryKind, entry: E | undefined, onDone: (entry: E) => void) {
    return (
      <>
        <p>{t(hint)}</p>
        <EntryForm<E> key={step} kind={kind} entry={entry} label={t('next')} onDone={onDone} />
      </>
    )
  }
  switch (step) {
    case 0:
      return (
        <>
          <p>{t('wizardAccountHint')}</p>
          <FirstAccount onNext={onNext} />
        </>
      )
    case 1:
      return ask('wizardSourceHint', sourceKind, filled.source, source => onFilled({ source }))
    // The route is proposed anew for another destination or provider.
    case 2:
      return ask('wizardDestinationHint', destinationKind, filled.destination, destination =>
        onFilled({ destination, route: undefined }),
      )
    case 3:
      return ask('wizardProviderHint', providerKind, filled.provider, provider =>
        onFilled({ provider, route: undefined }),
      )
    case 4:
      return ask('wizardRouteHint', routeKind(document), routeOf(configuration.document, filled), route =>
        onFilled({ route }),
      )
    default:
      return <Finish configuration={configuration} document={document} />
  }
}

function FirstAccount({ onNext }: { onNext(): void }): ReactNode {
  const { refresh, session } = useApp()
  const { busy, problem, run } = useAction()
  if (session.signIn.accounts) return null
  return (
    <>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <AccountForm
        busy={busy}
        isFirst
        onDone={account =>
          run(async () => {
            await call('POST', '/accounts', { body: account })
            // From now on everybody has to sign in: the one who made the account is signed in with it.
            await call('POST', '/session', { body: { name: account.name, password: account.password } })
            await refresh()
            onNext()
          })
        }
      />
    </>
  )
}

interface Comparison {
  version: number
  changes: Difference[]
  tests?: TestSteps[]
}

function Finish({ configuration, document }: { configuration: Configuration; document: EndpointsDocument }): ReactNode {
  const { t } = useWords()
  const { busy, problem, run } = useAction()
  const [compared, setCompared] = useState<Comparison | undefined>()
  const [applied, setApplied] = useState<number | undefined>()
  const compare = () =>
    run(async () => setCompared(await call('PUT', '/configuration?dryRun=true&test=true', { body: document })))
  const apply = () =>
    run(async () => setApplied((await applyDocument(document, configuration.version, 'first steps')).version))
  if (applied !== undefined || (compared && compared.changes.length === 0)) return <FirstStudy />
  return (
    <>
      <p>{t('wizardFinishHint')}</p>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {!compared ? (
        <Button className="primary" isDisabled={busy} onPress={compare}>
          {t('compare')}
        </Button>
      ) : (
        <>
          <Differences of={compared.changes} />
          {compared.tests?.map(test => (
            <div key={test.name}>
              <h3>{test.name}</h3>
              <Steps of={test} />
            </div>
          ))}
          <p>
            <Button className="primary" isDisabled={busy} onPress={apply}>
              {t('apply')}
            </Button>
          </p>
        </>
      )}
    </>
  )
}

function FirstStudy(): ReactNode {
  const { t } = useWords()
  const studies = useApi<StudySummary[]>('/studies?limit=1', 2000)
  const service = useApi<{ aeTitle: string; dimsePort: number }>('/service')
  useEvents(studies.reload)
  const { session } = useApp()
  const { busy, problem, run } = useAction()
  const [token, setToken] = useState<string | undefined>()
  const first = studies.data?.[0]
  const here = new URL('dicom-web', location.href).href
  return (
    <>
      <p>{t('wizardSend')}</p>
      <pre className="card">
        {token
          ? `RADBRIDGE_SEND=${token} npx radbridge send FILES --to ${here} --token env:RADBRIDGE_SEND\n`
          : `npx radbridge send FILES --to ${here}\n`}
        {service.data && service.data.dimsePort > 0
          ? `C-STORE: ${service.data.aeTitle} @ ${location.hostname}:${service.data.dimsePort}\n`
          : ''}
        {`STOW-RS: ${here}/studies`}
      </pre>
      {session.signIn.needed && !token && (
        <Button
          isDisabled={busy}
          onPress={() =>
            run(async () => {
              const body = { name: 'first steps', scopes: ['instances:write'], days: 1 }
              setToken((await call<{ token: string }>('POST', '/tokens', { body })).token)
            })
          }
        >
          {t('wizardToken')}
        </Button>
      )}
      {problem && <Notice kind="bad">{problem}</Notice>}
      {first ? (
        <Notice kind="good">
          {t('wizardArrived')} <a href={`#/studies/${first.studyInstanceUid}`}>{t('wizardOpen')}</a>
        </Notice>
      ) : (
        <Notice kind="info">{t('wizardWaiting')}</Notice>
      )}
    </>
  )
}
