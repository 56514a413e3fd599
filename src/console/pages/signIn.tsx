import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction } from '../api'
import { useApp } from '../app'
import { Form, Notice, TextInput, useFields } from '../parts'
import { useWords } from '../text'

export function SignInPage(): ReactNode {
  const { t } = useWords()
  const { session, refresh } = useApp()
  const [byToken, setByToken] = useState(!session.signIn.accounts)
  const [needsCode, setNeedsCode] = useState(false)
  const [fields, set] = useFields({ name: '', password: '', code: '', token: '' })
  const { busy, problem, run } = useAction()
  const told = new URLSearchParams(location.hash.split('?')[1] ?? '').get('problem')
  const submit = () =>
    run(async () => {
      try {
        const body = byToken
          ? { token: fields.token }
          : { name: fields.name, password: fields.password, ...(needsCode ? { code: fields.code } : {}) }
        await call('POST', '/session', { body })
      } catch (error) {
        if ((error as { more?: { code?: string } }).more?.code === 'code-needed') setNeedsCode(true)
        throw error
      }
      if (location.hash.startsWith('#/sign-in')) location.hash = '#/'
      await refresh()
    })
  return (
    <main className="center">
      <div className="dialog card">
        <h1>Radbridge</h1>
        {told && !problem && <Notice kind="bad">{told}</Notice>}
        {problem && <Notice kind={needsCode && fields.code === '' ? 'info' : 'bad'}>{problem}</Notice>}
        {session.signIn.oidc && (
          <p>
            <a className="button" href="api/session/oidc">
              {t('signInSso')}
            </a>
          </p>
        )}
        <Form onSubmit={submit}>
          {byToken ? (
            <TextInput
              label={t('token')}
              hint={t('tokenHint')}
              type="password"
              value={fields.token}
              onChange={set('token')}
              required
            />
          ) : (
            <>
              <TextInput
                label={t('name')}
                value={fields.name}
                onChange={set('name')}
                autoComplete="username"
                required
              />
              <TextInput
                label={t('password')}
                type="password"
                value={fields.password}
                onChange={set('password')}
                autoComplete="current-password"
                required
              />
              {needsCode && (
                <TextInput label={t('code')} value={fields.code} onChange={set('code')} autoComplete="one-time-code" />
              )}
            </>
          )}
          <div className="row">
            <button type="submit" className="primary" disabled={busy}>
              {t('signIn')}
            </button>
            {session.signIn.accounts && (
              <Button onPress={() => setByToken(!byToken)}>{t(byToken ? 'signInAccount' : 'signInToken')}</Button>
            )}
          </div>
        </Form>
      </div>
    </main>
  )
}
