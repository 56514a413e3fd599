import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { encode } from 'uqr'
import { call, useAction } from '../api'
import { useApp } from '../app'
import { Form, Notice, TextInput, useFields } from '../parts'
import { useWords } from '../text'

export function AccountPage(): ReactNode {
  const { t } = useWords()
  const { session } = useApp()
  return (
    <>
      <h1>{t('ownAccount')}</h1>
      <p>
        {session.name} · {session.role}
      </p>
      <div className="two">
        <Password />
        <Authenticator />
      </div>
    </>
  )
}

function Password(): ReactNode {
  const { t } = useWords()
  const { refresh } = useApp()
  const { busy, problem, run } = useAction()
  const [fields, set] = useFields({ current: '', password: '', code: '' })
  const submit = () =>
    run(async () => {
      const { current, password, code } = fields
      await call('PUT', '/session/password', { body: { current, password, ...(code ? { code } : {}) } })
      await refresh()
    })
  return (
    <section className="card">
      <h2>{t('changePassword')}</h2>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <Form onSubmit={submit}>
        <TextInput
          label={t('currentPassword')}
          type="password"
          value={fields.current}
          onChange={set('current')}
          autoComplete="current-password"
          required
        />
        <TextInput
          label={t('newPassword')}
          hint={t('passwordHint')}
          type="password"
          value={fields.password}
          onChange={set('password')}
          autoComplete="new-password"
          required
        />
        <TextInput label={t('code')} value={fields.code} onChange={set('code')} autoComplete="one-time-code" />
        <button type="submit" disabled={busy}>
          {t('changePassword')}
        </button>
      </Form>
    </section>
  )
}

function Authenticator(): ReactNode {
  const { t } = useWords()
  const { busy, problem, run } = useAction()
  const [begun, setBegun] = useState<{ uri: string; secret: string } | undefined>()
  const [code, setCode] = useState('')
  const [done, setDone] = useState(false)
  return (
    <section className="card">
      <h2>{t('authenticator')}</h2>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {done && <Notice kind="good">{t('authenticatorDone')}</Notice>}
      {!begun ? (
        <Button isDisabled={busy} onPress={() => run(async () => setBegun(await call('POST', '/session/totp')))}>
          {t('setUpAuthenticator')}
        </Button>
      ) : (
        !done && (
          <Form
            onSubmit={() =>
              run(async () => {
                await call('PUT', '/session/totp', { body: { code } })
                setDone(true)
              })
            }
          >
            <p>{t('authenticatorHint')}</p>
            <QrCode of={begun.uri} />
            <p>
              <code>{begun.secret}</code>
            </p>
            <TextInput label={t('code')} value={code} onChange={setCode} autoComplete="one-time-code" required />
            <button type="submit" className="primary" disabled={busy}>
              {t('confirm')}
            </button>
          </Form>
        )
      )}
    </section>
  )
}

function QrCode({ of }: { of: string }): ReactNode {
  const { t } = useWords()
  const { data, size } = encode(of, { border: 2 })
  const dark = data.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : [])))
  return (
    <svg className="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={t('qrCode')}>
      <path d={dark.join('')} />
    </svg>
  )
}
