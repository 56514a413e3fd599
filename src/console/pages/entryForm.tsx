import { type ReactNode, useState } from 'react'
import { type Entry, type EntryKind, entryFrom, type FieldOf, filledFrom, listOf, shapeOf } from '../entry'
import { Choice, Form, TextInput } from '../parts'
import { useWords } from '../text'

/** A form for an entry of the configuration, a new one or one to change. */
export function EntryForm<E extends Entry>({
  kind,
  entry,
  busy = false,
  label,
  onDone,
}: {
  kind: EntryKind
  entry?: E | undefined
  busy?: boolean
  label: string
  onDone(entry: E): void
}): ReactNode {
  const { t } = useWords()
  const first = entry ? shapeOf(kind, entry) : kind.shapes.find(({ roots }) => roots.length < 2)
  const [shape, setShape] = useState(first ?? kind.shapes[0]!)
  const [filled, setFilled] = useState(() =>
    filledFrom([...kind.shapes.flatMap(({ fields }) => fields), ...kind.fields], entry),
  )
  const [nameField, ...others] = kind.fields
  const asked = [...shape.fields, ...others].filter(field => field.when?.(filled) ?? true)
  const folded = asked.filter(({ more }) => more)
  const [openFirst] = useState(folded.some(({ path }) => filled[path]))
  const one = (field: FieldOf) => (
    <OneField
      key={field.path}
      field={field}
      value={filled[field.path] ?? ''}
      onChange={value => setFilled(before => ({ ...before, [field.path]: value }))}
    />
  )
  return (
    <Form onSubmit={() => onDone(entryFrom(kind, shape, filled, entry) as E)}>
      {one(nameField!)}
      {kind.shapes.length > 1 && (
        <Choice
          label={t('kind')}
          value={shape.key}
          onChange={key => setShape(kind.shapes.find(known => known.key === key)!)}
          options={kind.shapes.map(known => [
            known.key,
            typeof known.label === 'string' ? t(known.label) : known.label.text,
          ])}
        />
      )}
      {asked.filter(({ more }) => !more).map(one)}
      {folded.length > 0 && (
        <details open={openFirst}>
          <summary>{t('moreFields')}</summary>
          {folded.map(one)}
        </details>
      )}
      <p>
        <button type="submit" className="primary" disabled={busy}>
          {label}
        </button>
      </p>
    </Form>
  )
}

function OneField({
  field: { as, label, hint, example, options = [], required },
  value,
  onChange,
}: {
  field: FieldOf
  value: string
  onChange(value: string): void
}): ReactNode {
  const { t } = useWords()
  const hints = [hint && t(hint), example && t('example', { example })].filter(Boolean).join(' ')
  switch (as) {
    case 'check':
      return (
        <div className="field">
          <label>
            <input
              type="checkbox"
              checked={value !== ''}
              onChange={event => onChange(event.target.checked ? 'true' : '')}
            />{' '}
            {t(label)}
          </label>
        </div>
      )
    case 'one':
      return <Choice label={t(label)} value={value} options={options} onChange={onChange} />
    case 'some': {
      const chosen = listOf(value)
      return (
        <fieldset className="choices">
          <legend>{t(label)}</legend>
          {options.map(([key, text]) => (
            <label key={key}>
              <input
                type="checkbox"
                checked={chosen.includes(key)}
                onChange={event =>
                  onChange((event.target.checked ? [...chosen, key] : chosen.filter(known => known !== key)).join(', '))
                }
              />{' '}
              {text}
            </label>
          ))}
          {options.length === 0 && <span className="soft">{t('none')}</span>}
        </fieldset>
      )
    }
    default:
      return (
        <TextInput
          label={t(label)}
          type={as === 'url' || as === 'number' ? as : 'text'}
          hint={hints || undefined}
          value={value}
          onChange={onChange}
          {...(required ? { required } : {})}
        />
      )
  }
}
