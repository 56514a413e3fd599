import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { useApp } from '../app'
import { Ask, Badge, Choice, Form, Notice, roleKeys, Show, Table, TextInput, useFields } from '../parts'
import { useWords } from '../text'

interface Account {
  name: string
  role: string
  disabled: boolean
  totp: boolean
  locked: boolean
  signedInAt: string | null
}

interface Token {
  id: number
  name: string
  scopes: string[]
  createdBy: string
  expiresAt: string
  usedAt: string | null
}

export function UsersPage(): ReactNode {
  const { t } = useWords()
  return (
    <>
      <h1>{t('users')}</h1>
      <Accounts />
      <Tokens />
    </>
  )
}

function Accounts(): ReactNode {
  const { t, time } = useWords()
  const { refresh } = useApp()
  const accounts = useApi<Account[]>('/accounts')
  const { busy, problem, run } = useAction()
  const change = (method: string, path: string, body?: object) =>
    run(async () => {
      await call(method, path, body ? { body } : {})
      accounts.reload()
      await refresh()
    })
  return (
    <section className="card" aria-label={t('accounts')}>
      <h2>{t('accounts')}</h2>
      {problem && <Notice kind="bad">{problem}</Notice>}
      <Show of={accounts}>
        {list => (
          <>
            {list.length > 0 && (
              <Table caption={t('accounts')} heads={[t('name'), t('role'), t('authenticator'), t('lastSignIn'), '']}>
                {list.map(({ name, role, disabled, totp, locked, signedInAt }) => {
                  const path = `/accounts/${encodeURIComponent(name)}`
                  return (
                    <tr key={name}>
                      <td>
                        {name} {locked && <Badge of={t('locked')} kind="warn" />}{' '}
                        {disabled && <Badge of={t('disabled')} kind="bad" />}
                      </td>
                      <td>
                        <select
                          aria-label={`${t('role')}: ${name}`}
                          value={role}
                          disabled={busy}
                          onChange={event => change('PATCH', path, { role: event.target.value })}
                        >
                          {roleKeys.map(([value]) => (
                            <option key={value} value={value}>
                              {value}
                            </option>
                          ))}
                        </select>
                      </td>
                      <td>{totp ? t('yes') : t('no')}</td>
                      <td className="whole">{time(signedInAt)}</td>
                      <td>
                        <div className="row">
                          {locked && (
                            <Button onPress={() => change('PATCH', path, { unlock: true })}>{t('unlock')}</Button>
                          )}
                          {totp && (
                            <Ask
                              label={t('removeAuthenticator')}
                              title={`${t('removeAuthenticator')}: ${name}`}
                              hint=""
                              onConfirm={() => change('PATCH', path, { totp: 'off' })}
                            />
                          )}
                          <Button onPress={() => change('PATCH', path, { disabled: !disabled })}>
                            {t(disabled ? 'enable' : 'disable')}
                          </Button>
                          <Ask
                            label={t('delete')}
                            title={`${t('delete')}: ${name}`}
                            hint=""
                            onConfirm={() => change('DELETE', path)}
                          />
                        </div>
                      </td>
                    </tr>
                  )
                })}
              </Table>
            )}
            <AccountForm
              busy={busy}
              isFirst={list.length === 0}
              onDone={(account, done) => change('POST', '/accounts', account).then(ok => ok && done())}
            />
          </>
        )}
      </Show>
    </section>
  )
}

export function AccountForm({
  busy,
  isFirst,
  onDone,
}: {
  busy: boolean
  isFirst: boolean
  onDone(account: { name: string; role: string; password: string }, done: () => void): void
}): ReactNode {
  const { t } = useWords()
  const [fields, set] = useFields({ name: '', role: isFirst ? 'administrator' : 'viewer', password: '' })
  return (
    <Form
      onSubmit={() =>
        onDone(fields, () => {
          set('name')('')
          set('password')('')
        })
      }
    >
      <h3>{t('addAccount')}</h3>
      <TextInput label={t('name')} value={fields.name} onChange={set('name')} autoComplete="username" required />
      <Choice
        label={t('role')}
        value={fields.role}
        onChange={set('role')}
        options={roleKeys
          .map(([value, key]) => [value, t(key)] as const)
          .filter(([value]) => !isFirst || value === 'administrator')}
      />
      <TextInput
        label={t('password')}
        hint={t('passwordHint')}
        type="password"
        value={fields.password}
        onChange={set('password')}
        autoComplete="new-password"
        required
      />
      <button type="submit" className="primary" disabled={busy}>
        {t('addAccount')}
      </button>
    </Form>
  )
}

const scopes = [
  'studies:read',
  'images:read',
  'instances:write',
  'findings:judge',
  'studies:operate',
  'studies:delete',
  'reports:read',
  'configuration:read',
  'configuration:write',
  'endpoints:test',
  'canaries:control',
  'datasets:export',
  'accounts:manage',
  'audit:read',
]

function Tokens(): ReactNode {
  const { t, time } = useWords()
  const tokens = useApi<Token[]>('/tokens')
  const { busy, problem, run } = useAction()
  const [made, setMade] = useState<string | undefined>()
  const [fields, set] = useFields({ name: '', days: '365' })
  const [chosen, setChosen] = useState<string[]>(['studies:read'])
  const make = () =>
    run(async () => {
      const body = { name: fields.name, days: Number(fields.days), scopes: chosen }
      setMade((await call<{ token: string }>('POST', '/tokens', { body })).token)
      set('name')('')
      tokens.reload()
    })
  return (
    <section className="card" aria-label={t('tokens')}>
      <h2>{t('tokens')}</h2>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {made && (
        <Notice kind="good">
          {t('tokenOnce')} <code>{made}</code>
        </Notice>
      )}
      <Show of={tokens}>
        {list =>
          list.length === 0 ? null : (
            <Table caption={t('tokens')} heads={[t('name'), t('scopes'), t('author'), t('expires'), t('used'), '']}>
              {list.map(({ id, name, scopes: may, createdBy, expiresAt, usedAt }) => (
                <tr key={id}>
                  <td>{name}</td>
                  <td className="small">{may.join(', ')}</td>
                  <td>{createdBy}</td>
                  <td className="whole">{time(expiresAt)}</td>
                  <td className="whole">{time(usedAt)}</td>
                  <td>
                    <Ask
                      label={t('remove')}
                      title={`${t('remove')}: ${name}`}
                      hint=""
                      onConfirm={() =>
                        run(async () => {
                          await call('DELETE', `/tokens/${id}`)
                          tokens.reload()
                        })
                      }
                    />
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Show>
      <Form onSubmit={make}>
        <h3>{t('addToken')}</h3>
        <TextInput label={t('name')} value={fields.name} onChange={set('name')} required />
        <TextInput label={t('days')} type="number" value={fields.days} onChange={set('days')} required />
        <fieldset>
          <legend>{t('scopes')}</legend>
          <div className="grid">
            {scopes.map(scope => (
              <label key={scope}>
                <input
                  type="checkbox"
                  checked={chosen.includes(scope)}
                  onChange={event =>
                    setChosen(event.target.checked ? [...chosen, scope] : chosen.filter(one => one !== scope))
                  }
                />{' '}
                {scope}
              </label>
            ))}
          </div>
        </fieldset>
        <button type="submit" className="primary" disabled={busy}>
          {t('addToken')}
        </button>
      </Form>
    </section>
  )
}
