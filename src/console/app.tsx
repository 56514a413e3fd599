import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react'
import { Button, I18nProvider } from 'react-aria-components'
import { call, onSignedOut, readSession, type Session, useApi } from './api'
import icon from './icon.svg'
import { AccountPage } from './pages/account'
import { AuditPage } from './pages/audit'
import { CanariesPage } from './pages/canaries'
import { ConfigurationPage } from './pages/configuration'
import { DashboardPage } from './pages/dashboard'
import { DeadLettersPage } from './pages/deadLetters'
import { EndpointsPage } from './pages/endpoints'
import { NotificationsPage } from './pages/notifications'
import { RoutesPage } from './pages/routes'
import { SignInPage } from './pages/signIn'
import { StudiesPage } from './pages/studies'
import { StudyPage } from './pages/study'
import { UsersPage } from './pages/users'
import { WizardPage } from './pages/wizard'
import { type Language, languageOf, useWords, WordsContext, wordsOf } from './text'
import type { Key } from './text.en'

interface AppState {
  session: Session
  may(permission: string): boolean
  /** Who is signed in may have changed. */
  refresh(): Promise<void>
}

const AppContext = createContext<AppState | undefined>(undefined)
export const useApp = (): AppState => useContext(AppContext)!

/** `#/studies/1.2.3?x=y` → ['studies', '1.2.3'] */
function placeOf(hash: string): { path: string[]; query: URLSearchParams } {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  return { path: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) }
}

function usePlace() {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const change = () => setHash(location.hash)
    addEventListener('hashchange', change)
    return () => removeEventListener('hashchange', change)
  }, [])
  return useMemo(() => placeOf(hash), [hash])
}

const pages = [
  ['', 'dashboard', 'studies:read'],
  ['studies', 'studies', 'studies:read'],
  ['dead-letters', 'deadLetters', 'studies:read'],
  ['endpoints', 'endpoints', 'configuration:read'],
  ['routes', 'routes', 'configuration:read'],
  ['canaries', 'canaries', 'reports:read'],
  ['configuration', 'configuration', 'configuration:read'],
  ['notifications', 'notifications', 'configuration:read'],
  ['audit', 'audit', 'audit:read'],
  ['users', 'users', 'accounts:manage'],
] as const satisfies readonly (readonly [string, Key, string])[]

function remembered(name: string): string | null {
  return localStorage.getItem(`radbridge.${name}`)
}

export function App(): ReactNode {
  const [language, setLanguage] = useState<Language>(() => languageOf(remembered('language'), navigator.languages))
  const [session, setSession] = useState<Session | undefined>()
  const [problem, setProblem] = useState<string | undefined>()
  const refresh = useCallback(async () => {
    try {
      setSession(await readSession())
      setProblem(undefined)
    } catch (error) {
      setProblem((error as Error).message)
    }
  }, [])
  useEffect(() => {
    onSignedOut(() => void refresh())
    void refresh()
  }, [refresh])
  const words = useMemo(() => wordsOf(language), [language])
  useEffect(() => {
    document.documentElement.lang = language
    localStorage.setItem('radbridge.language', language)
  }, [language])
  const state = useMemo(
    () => session && { session, refresh, may: (permission: string) => session.permissions.includes(permission) },
    [session, refresh],
  )
  return (
    <I18nProvider locale={language === 'de' ? 'de-DE' : 'en-GB'}>
      <WordsContext.Provider value={words}>
        {problem && <div className="notice bad">{problem}</div>}
        {state && (
          <AppContext.Provider value={state}>
            {state.session.name === null ? <SignInPage /> : <Shell language={language} setLanguage={setLanguage} />}
          </AppContext.Provider>
        )}
      </WordsContext.Provider>
    </I18nProvider>
  )
}

function Shell({ language, setLanguage }: { language: Language; setLanguage(language: Language): void }): ReactNode {
  const { t } = useWords()
  const { session, may } = useApp()
  const { path, query } = usePlace()
  const here = path[0] ?? ''
  useEffect(() => {
    const page = pages.find(([name]) => name === here)
    const title = page?.[1] ?? (here === 'wizard' ? 'wizard' : here === 'account' ? 'ownAccount' : undefined)
    document.title = title ? `${t(title)} – Radbridge` : 'Radbridge'
  }, [here, t])
  return (
    <div className="shell">
      <button type="button" className="skip" onClick={() => document.getElementById('content')?.focus()}>
        {t('skip')}
      </button>
      <div className="side">
        <div className="brand">
          <img src={icon} alt="" /> Radbridge
        </div>
        <nav aria-label={t('navigation')}>
          <ul>
            {pages
              .filter(([, , permission]) => may(permission))
              .map(([name, key]) => (
                <li key={name}>
                  <a href={`#/${name}`} aria-current={here === name ? 'page' : undefined}>
                    {t(key)}
                    {name === 'dead-letters' && <DeadCount />}
                  </a>
                </li>
              ))}
          </ul>
        </nav>
        <footer>
          <Theme />
          <div>
            <label htmlFor="language">{t('language')}</label>
            <select id="language" value={language} onChange={event => setLanguage(event.target.value as Language)}>
              <option value="en">English</option>
              <option value="de">Deutsch</option>
            </select>
          </div>
          <div>
            {session.kind === 'session' ? (
              <>
                <a href="#/account">{session.name}</a> ({session.role})
              </>
            ) : (
              <span title={t('openWarning')}>{t('anonymous')}</span>
            )}
          </div>
          {session.kind === 'session' && <SignOut />}
        </footer>
      </div>
      <main id="content" tabIndex={-1}>
        <Page path={path} query={query} />
      </main>
    </div>
  )
}

function Page({ path: [name = '', id], query }: { path: string[]; query: URLSearchParams }): ReactNode {
  const { t } = useWords()
  const { may } = useApp()
  const page = pages.find(([known]) => known === name)
  if (page && !may(page[2])) return <p>{t('noPermission', { permission: page[2] })}</p>
  switch (name) {
    case '':
    case 'sign-in':
      return <DashboardPage />
    case 'studies':
      return id ? <StudyPage key={id} uid={id} /> : <StudiesPage initialState={query.get('state') ?? ''} />
    case 'dead-letters':
      return <DeadLettersPage />
    case 'endpoints':
      return <EndpointsPage />
    case 'routes':
      return <RoutesPage />
    case 'canaries':
      return <CanariesPage />
    case 'configuration':
      return <ConfigurationPage />
    case 'notifications':
      return <NotificationsPage />
    case 'audit':
      return <AuditPage />
    case 'users':
      return <UsersPage />
    case 'account':
      return <AccountPage />
    case 'wizard':
      return <WizardPage />
    default:
      return <p>{t('nothingHere')}</p>
  }
}

function DeadCount(): ReactNode {
  const { data } = useApi<unknown[]>('/deliveries?state=dead', 15_000)
  return data && data.length > 0 ? <span className="badge bad">{data.length}</span> : null
}

function Theme(): ReactNode {
  const { t } = useWords()
  const [theme, setTheme] = useState(remembered('theme') ?? 'auto')
  useEffect(() => {
    document.documentElement.dataset.theme = theme
    localStorage.setItem('radbridge.theme', theme)
  }, [theme])
  return (
    <div>
      <label htmlFor="theme">{t('theme')}</label>
      <select id="theme" value={theme} onChange={event => setTheme(event.target.value)}>
        <option value="auto">{t('themeAuto')}</option>
        <option value="light">{t('themeLight')}</option>
        <option value="dark">{t('themeDark')}</option>
      </select>
    </div>
  )
}

function SignOut(): ReactNode {
  const { t } = useWords()
  const { refresh } = useApp()
  return (
    <Button
      onPress={async () => {
        const { address } = await call<{ address: string | null }>('DELETE', '/session')
        if (address) location.href = address
        else await refresh()
      }}
    >
      {t('signOut')}
    </Button>
  )
}
