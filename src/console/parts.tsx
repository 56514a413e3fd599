import { type ReactNode, useId, useState } from 'react'
import { Button, Dialog, DialogTrigger, Heading, Modal, ModalOverlay } from 'react-aria-components'
import type { Loaded } from './api'
import { useApp } from './app'
import { useWords } from './text'
import type { Key } from './text.en'

/** What is read, or why it is not there, or that it is on its way. */
export function Show<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ReactNode }): ReactNode {
  const { t } = useWords()
  return (
    <>
      {of.problem && <Notice kind="bad">{of.problem}</Notice>}
      {of.data === undefined ? !of.problem && <p className="soft">{t('loading')}</p> : children(of.data)}
    </>
  )
}

export function Notice({ kind, children }: { kind: 'info' | 'good' | 'warn' | 'bad'; children: ReactNode }): ReactNode {
  return (
    <div className={`notice ${kind}`} role={kind === 'bad' ? 'alert' : 'status'}>
      {children}
    </div>
  )
}

const kinds: Record<string, 'good' | 'bad' | 'warn' | 'info'> = {
  completed: 'good',
  delivered: 'good',
  findings: 'info',
  'no-findings': 'good',
  failed: 'bad',
  dead: 'bad',
  incomplete: 'warn',
  ignored: 'warn',
  success: 'good',
  failure: 'bad',
}

export function Badge({ of, kind }: { of: string; kind?: 'good' | 'bad' | 'warn' | 'info' }): ReactNode {
  const { named } = useWords()
  return <span className={`badge ${kind ?? kinds[of] ?? ''}`}>{named(of)}</span>
}

export function Uid({ of }: { of: string }): ReactNode {
  return (
    <span className="uid mono" title={of}>
      {of}
    </span>
  )
}

/** A table that can be scrolled where it does not fit. */
export function Table({
  caption,
  heads,
  children,
}: {
  caption: string
  heads: ReactNode[]
  children: ReactNode
}): ReactNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scroll" aria-label={caption} tabIndex={0}>
      <table>
        <caption className="hidden">{caption}</caption>
        <thead>
          <tr>
            {heads.map((head, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: columns do not move
              <th key={i} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  )
}

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: string
  hint?: string | undefined
  error?: string | undefined
  children: (attributes: { id: string; 'aria-describedby'?: string }) => ReactNode
}): ReactNode {
  const id = useId()
  const described = hint || error ? { 'aria-describedby': `${id}-hint` } : {}
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, ...described })}
      {(hint || error) && (
        <span id={`${id}-hint`} className={error ? 'error' : 'soft small'}>
          {error ?? hint}
        </span>
      )}
    </div>
  )
}

export function TextInput({
  label,
  value,
  onChange,
  hint,
  type = 'text',
  autoComplete = 'off',
  required,
}: {
  label: string
  value: string
  onChange(value: string): void
  hint?: string | undefined
  type?: string
  autoComplete?: string
  required?: boolean
}): ReactNode {
  return (
    <Field label={label} hint={hint}>
      {attributes => (
        <input
          {...attributes}
          type={type}
          value={value}
          autoComplete={autoComplete}
          required={required}
          step={type === 'number' ? 'any' : undefined}
          onChange={event => onChange(event.target.value)}
        />
      )}
    </Field>
  )
}

export function Choice<V extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string
  value: V
  options: readonly (readonly [NoInfer<V>, string])[]
  onChange: (value: NoInfer<V>) => void
}): ReactNode {
  return (
    <Field label={label}>
      {attributes => (
        <select {...attributes} value={value} onChange={event => onChange(event.target.value as V)}>
          {options.map(([key, text]) => (
            <option key={key} value={key}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

/** A button that asks before it does what cannot be undone. */
export function Ask({
  label,
  title,
  hint,
  onConfirm,
  danger = true,
}: {
  label: string
  title: string
  hint: string
  onConfirm(): void
  danger?: boolean
}): ReactNode {
  const { t } = useWords()
  return (
    <DialogTrigger>
      <Button className={danger ? 'danger' : ''}>{label}</Button>
      <ModalOverlay className="backdrop" isDismissable>
        <Modal>
          <Dialog className="dialog" role="alertdialog">
            {({ close }) => (
              <>
                <Heading slot="title" level={2}>
                  {title}
                </Heading>
                <p>{hint}</p>
                <div className="row">
                  <Button
                    className={danger ? 'danger' : 'primary'}
                    onPress={() => {
                      close()
                      onConfirm()
                    }}
                  >
                    {label}
                  </Button>
                  <Button onPress={close}>{t('close')}</Button>
                </div>
              </>
            )}
          </Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  )
}

/** Shows something only to those who may do it. */
export function May({ permission, children }: { permission: string; children: ReactNode }): ReactNode {
  const { may } = useApp()
  return may(permission) ? children : null
}

export interface TestSteps {
  name: string
  ok: boolean
  steps: { step: string; ok: boolean; detail: string; fix?: string }[]
}

/** What a test of an endpoint found, step by step. */
export function Steps({ of: { ok, steps } }: { of: TestSteps }): ReactNode {
  return (
    <Notice kind={ok ? 'good' : 'bad'}>
      <ul style={listStyle}>
        {steps.map(({ step, ok, detail, fix }) => (
          <li key={step}>
            {ok ? '✓' : '✗'} <strong>{step}</strong>: {detail}
            {fix && <div>{fix}</div>}
          </li>
        ))}
      </ul>
    </Notice>
  )
}
const listStyle = { listStyle: 'none', margin: 0, padding: 0 }

export interface Difference {
  path: string
  kind: 'added' | 'removed' | 'changed'
  from?: unknown
  to?: unknown
}

const signs = { added: '+', removed: '−', changed: '~' } as const

export function Differences({ of }: { of: Difference[] }): ReactNode {
  const { t } = useWords()
  if (of.length === 0) return <p className="soft">{t('noChanges')}</p>
  return (
    <pre className="card">
      {of.map(({ path, kind, from, to }) => (
        <div key={path} className={kind}>
          {signs[kind]} {path}: {kind !== 'added' && JSON.stringify(from)}
          {kind === 'changed' && ' → '}
          {kind !== 'removed' && JSON.stringify(to)}
        </div>
      ))}
    </pre>
  )
}

/** A form whose sending is our own. */
export function Form({ onSubmit, children }: { onSubmit(): void; children: ReactNode }): ReactNode {
  return (
    <form
      onSubmit={event => {
        event.preventDefault()
        onSubmit()
      }}
    >
      {children}
    </form>
  )
}

export function useFields<F extends Record<string, string>>(
  initial: F,
): [F, (name: keyof F) => (value: string) => void] {
  const [fields, setFields] = useState(initial)
  return [fields, name => value => setFields(before => ({ ...before, [name]: value }))]
}

export const roleKeys = [
  ['viewer', 'roleViewer'],
  ['radiologist', 'roleRadiologist'],
  ['operator', 'roleOperator'],
  ['administrator', 'roleAdministrator'],
] as const satisfies readonly (readonly [string, Key])[]
