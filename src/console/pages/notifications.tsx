import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { applyDocument, useConfiguration } from '../endpoints'
import type { Entry } from '../entry'
import { notificationKind } from '../entryKinds'
import { Ask, Badge, May, Notice, Show, Table } from '../parts'
import { useWords } from '../text'
import { EntryForm } from './entryForm'

interface Rule {
  name: string
  on: string[]
  by: string
  lastSent: string | null
  waiting: number
  lastError: string | null
}

export function NotificationsPage(): ReactNode {
  const { t } = useWords()
  const rules = useApi<Rule[]>('/notifications', 15_000)
  const configuration = useConfiguration()
  const { busy, problem, run } = useAction()
  const [told, setTold] = useState<string | undefined>()
  const [adds, setAdds] = useState(false)
  const entries = (configuration.data?.document.notifications ?? []) as Entry[]
  const apply = (notifications: Entry[], comment: string) =>
    run(async () => {
      const { document, version } = configuration.data!
      await applyDocument({ ...document, notifications }, version, `notifications: ${comment}`)
      setAdds(false)
      configuration.reload()
      rules.reload()
    })
  const sendTest = (name: string) =>
    run(async () => {
      setTold(undefined)
      setTold((await call<{ detail: string }>('POST', `/notifications/${encodeURIComponent(name)}/test`)).detail)
    })
  return (
    <>
      <div className="row spread">
        <h1>{t('notifications')}</h1>
        {configuration.data && (
          <May permission="configuration:write">
            <Button onPress={() => setAdds(!adds)} aria-expanded={adds}>
              {t(adds ? 'cancel' : 'addRule')}
            </Button>
          </May>
        )}
      </div>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {told && <Notice kind="good">{t('sent', { detail: told })}</Notice>}
      {adds && (
        <section className="card">
          <EntryForm
            kind={notificationKind}
            busy={busy}
            label={t('save')}
            onDone={entry => apply([...entries, entry], `+ ${entry.name}`)}
          />
        </section>
      )}
      <Show of={rules}>
        {list =>
          list.length === 0 ? (
            <p className="soft">{t('noNotifications')}</p>
          ) : (
            <Table
              caption={t('notifications')}
              heads={[t('ruleName'), t('event'), t('address'), t('lastSent'), t('lastError'), '']}
            >
              {list.map(rule => (
                <RuleRow
                  key={rule.name + JSON.stringify(entries.find(({ name }) => name === rule.name))}
                  rule={rule}
                  entry={entries.find(({ name }) => name === rule.name)}
                  busy={busy}
                  onTest={() => sendTest(rule.name)}
                  onChange={entry =>
                    apply(
                      entries.map(one => (one.name === rule.name ? entry : one)),
                      `~ ${rule.name}`,
                    )
                  }
                  onRemove={() =>
                    apply(
                      entries.filter(one => one.name !== rule.name),
                      `− ${rule.name}`,
                    )
                  }
                />
              ))}
            </Table>
          )
        }
      </Show>
    </>
  )
}

function RuleRow({
  rule: { name, on, by, lastSent, lastError, waiting },
  entry,
  busy,
  onTest,
  onChange,
  onRemove,
}: {
  rule: Rule
  entry: Entry | undefined
  busy: boolean
  onTest(): void
  onChange(entry: Entry): void
  onRemove(): void
}): ReactNode {
  const { t, time } = useWords()
  const [edits, setEdits] = useState(false)
  return (
    <>
      <tr>
        <td>{name}</td>
        <td>{on.join(', ')}</td>
        <td className="mono">{by}</td>
        <td>
          {time(lastSent)} {waiting > 0 && <Badge of={`+${waiting}`} kind="warn" />}
        </td>
        <td className="small">{lastError}</td>
        <td>
          <div className="row">
            <May permission="endpoints:test">
              <Button isDisabled={busy} onPress={onTest}>
                {t('sendTest')}
                <span className="hidden"> {name}</span>
              </Button>
            </May>
            {entry && (
              <May permission="configuration:write">
                <Button onPress={() => setEdits(!edits)} aria-expanded={edits}>
                  {t(edits ? 'cancel' : 'edit')}
                  <span className="hidden"> {name}</span>
                </Button>
                <Ask
                  label={t('remove')}
                  title={`${t('remove')}: ${name}`}
                  hint={t('removeHint', { name })}
                  onConfirm={onRemove}
                />
              </May>
            )}
          </div>
        </td>
      </tr>
      {edits && entry && (
        <tr className="still">
          <td colSpan={6}>
            <EntryForm kind={notificationKind} entry={entry} busy={busy} label={t('save')} onDone={onChange} />
          </td>
        </tr>
      )}
    </>
  )
}
