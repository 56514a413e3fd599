import { type ReactNode, useState } from 'react'
import { Choice, Form, TextInput, useFields } from '../parts'
import { useWords } from '../text'

/** A form for a new entry of the configuration. */
export interface EntryFormProps {
  busy: boolean
  label: string
  onDone(entry: { name: string } & Record<string, unknown>): void
}

function Sending({ busy, label }: { busy: boolean; label: string }): ReactNode {
  return (
    <button type="submit" className="primary" disabled={busy}>
      {label}
    </button>
  )
}

export function SourceForm({ busy, label, onDone }: EntryFormProps): ReactNode {
  const { t } = useWords()
  const [by, setBy] = useState<'dimse' | 'stow'>('dimse')
  const [fields, set] = useFields({ name: '', aeTitle: '', token: '' })
  const submit = () =>
    onDone({
      name: fields.name,
      ...(by === 'dimse' ? { dimse: { aeTitle: fields.aeTitle } } : { stow: { token: fields.token } }),
    })
  return (
    <Form onSubmit={submit}>
      <TextInput label={t('name')} value={fields.name} onChange={set('name')} required />
      <Choice
        label={t('kind')}
        value={by}
        onChange={setBy}
        options={[
          ['dimse', t('byDimse')],
          ['stow', t('byDicomweb')],
        ]}
      />
      {by === 'dimse' ? (
        <TextInput label={t('aeTitle')} value={fields.aeTitle} onChange={set('aeTitle')} required />
      ) : (
        <TextInput
          label={t('secretReference')}
          hint={t('secretHint')}
          value={fields.token}
          onChange={set('token')}
          required
        />
      )}
      <Sending busy={busy} label={label} />
    </Form>
  )
}

export function DestinationForm({ busy, label, onDone }: EntryFormProps): ReactNode {
  const { t } = useWords()
  const [by, setBy] = useState<'stow' | 'dimse' | 'folder'>('stow')
  const [fields, set] = useFields({ name: '', url: '', token: '', aeTitle: '', host: '', port: '104', folder: '' })
  const submit = () =>
    onDone({
      name: fields.name,
      ...(by === 'stow' ? { stow: { url: fields.url, ...(fields.token ? { token: fields.token } : {}) } } : {}),
      ...(by === 'dimse' ? { dimse: { aeTitle: fields.aeTitle, host: fields.host, port: Number(fields.port) } } : {}),
      ...(by === 'folder' ? { folder: fields.folder } : {}),
    })
  return (
    <Form onSubmit={submit}>
      <TextInput label={t('name')} value={fields.name} onChange={set('name')} required />
      <Choice
        label={t('kind')}
        value={by}
        onChange={setBy}
        options={[
          ['stow', t('byDicomweb')],
          ['dimse', t('byDimse')],
          ['folder', t('intoFolder')],
        ]}
      />
      {by === 'stow' && (
        <>
          <TextInput
            label={t('address')}
            type="url"
            hint="https://pacs.example.org/dicom-web"
            value={fields.url}
            onChange={set('url')}
            required
          />
          <TextInput label={t('secretReference')} hint={t('secretHint')} value={fields.token} onChange={set('token')} />
        </>
      )}
      {by === 'dimse' && (
        <>
          <TextInput label={t('aeTitle')} value={fields.aeTitle} onChange={set('aeTitle')} required />
          <TextInput label={t('host')} value={fields.host} onChange={set('host')} required />
          <TextInput label={t('port')} type="number" value={fields.port} onChange={set('port')} required />
        </>
      )}
      {by === 'folder' && <TextInput label={t('folder')} value={fields.folder} onChange={set('folder')} required />}
      <Sending busy={busy} label={label} />
    </Form>
  )
}

const kinds = [
  ['imaging-rest', 'imaging-rest'],
  ['openai', 'openai'],
] as const

export function ProviderForm({ busy, label, onDone }: EntryFormProps): ReactNode {
  const { t } = useWords()
  const [kind, setKind] = useState<(typeof kinds)[number][0]>('imaging-rest')
  const [fields, set] = useFields({ name: '', url: '', key: '', model: '' })
  const submit = () =>
    onDone({
      name: fields.name,
      kind,
      baseUrl: fields.url,
      ...(fields.key ? { apiKey: fields.key } : {}),
      ...(fields.model ? { model: fields.model } : {}),
    })
  return (
    <Form onSubmit={submit}>
      <TextInput label={t('name')} value={fields.name} onChange={set('name')} required />
      <Choice label={t('kind')} value={kind} onChange={setKind} options={kinds} />
      <TextInput
        label={t('address')}
        type="url"
        hint="https://api.example.org/v1"
        value={fields.url}
        onChange={set('url')}
        required
      />
      <TextInput label={t('secretReference')} hint={t('secretHint')} value={fields.key} onChange={set('key')} />
      <TextInput label="model" value={fields.model} onChange={set('model')} required={kind === 'openai'} />
      <Sending busy={busy} label={label} />
    </Form>
  )
}
