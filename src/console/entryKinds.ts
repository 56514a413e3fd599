import type { EntryKind, FieldOf } from './entry.js'

const name: FieldOf = { path: 'name', label: 'name', required: true }
const secret = (path: string): FieldOf => ({ path, label: 'secretReference', hint: 'secretHint' })
const same = (...values: string[]) => values.map(value => [value, value] as const)

const listening: FieldOf[] = [
  { path: 'dimse.aeTitle', label: 'aeTitle', required: true },
  { path: 'dimse.addresses', label: 'addresses', as: 'list', hint: 'addressesHint', example: '10.1.0.0/16' },
  { path: 'dimse.host', label: 'host', hint: 'sourceHostHint', more: true },
  { path: 'dimse.port', label: 'port', as: 'number', more: true },
]
const signingIn: FieldOf[] = [
  secret('stow.token'),
  { path: 'stow.username', label: 'userName', more: true },
  { path: 'stow.password', label: 'passwordReference', more: true },
]
const pushing: FieldOf[] = [
  ...signingIn,
  { path: 'stow.certificate', label: 'certificate', hint: 'certificateHint', more: true },
]

export const sourceKind: EntryKind = {
  fields: [
    name,
    { path: 'accept.modalities', label: 'onlyModalities', as: 'codes', hint: 'commaSeparated', more: true },
  ],
  shapes: [
    { key: 'both', label: 'byBoth', roots: ['dimse', 'stow'], fields: [...listening, ...pushing] },
    { key: 'dimse', label: 'byDimse', roots: ['dimse'], fields: listening },
    { key: 'stow', label: 'byDicomweb', roots: ['stow'], fields: pushing },
  ],
}

const url = (path: string, example: string): FieldOf => ({ path, label: 'address', as: 'url', example, required: true })
const peer: FieldOf[] = [
  { path: 'dimse.aeTitle', label: 'aeTitle', required: true },
  { path: 'dimse.host', label: 'host', required: true },
  { path: 'dimse.port', label: 'port', as: 'number', initial: '104', required: true },
]

export const destinationKind: EntryKind = {
  fields: [
    name,
    {
      path: 'format.language',
      label: 'reportLanguage',
      as: 'one',
      more: true,
      options: [['', '–'], ...same('en', 'de', 'fr', 'es', 'ja', 'zh')],
    },
    {
      path: 'format.report',
      label: 'reportClass',
      as: 'one',
      more: true,
      options: [
        ['', '–'],
        ['comprehensive-3d', 'Comprehensive 3D SR'],
        ['comprehensive', 'Comprehensive SR'],
      ],
    },
  ],
  shapes: [
    {
      key: 'stow',
      label: 'byDicomweb',
      roots: ['stow'],
      fields: [
        url('stow.url', 'https://pacs.example.org/dicom-web'),
        ...signingIn,
        { path: 'stow.confirm', label: 'confirmDelivery', as: 'check', more: true },
      ],
    },
    {
      key: 'dimse',
      label: 'byDimse',
      roots: ['dimse'],
      fields: [
        ...peer,
        { path: 'dimse.commit', label: 'commitDelivery', as: 'check' },
        { path: 'dimse.notify', label: 'notifyDelivery', as: 'check', more: true },
      ],
    },
    {
      key: 'folder',
      label: 'intoFolder',
      roots: ['folder'],
      fields: [{ path: 'folder', label: 'folder', required: true }],
    },
  ],
}

const called: FieldOf[] = [
  url('baseUrl', 'https://api.example.org/v1'),
  secret('apiKey'),
  { path: 'concurrency', label: 'concurrency', as: 'number', more: true },
  { path: 'requestsPerMinute', label: 'requestsPerMinute', as: 'number', more: true },
]
const answers: FieldOf = { path: 'answersFrom', label: 'answersFrom', hint: 'answersFromHint', required: true }

/** Inputs and outputs of `kserve` are written as text. */
export const providerKind: EntryKind = {
  fields: [
    name,
    { path: 'price.perMillionUnits', label: 'price', as: 'number', more: true },
    { path: 'price.currency', label: 'currency', example: 'EUR', more: true },
    { path: 'budget.perMonth', label: 'budgetPerMonth', as: 'number', more: true },
  ],
  shapes: [
    {
      key: 'imaging-rest',
      label: { text: 'imaging-rest' },
      roots: ['baseUrl'],
      constant: { kind: 'imaging-rest' },
      fields: [...called, { path: 'model', label: 'model' }],
    },
    {
      key: 'openai',
      label: { text: 'openai' },
      roots: ['baseUrl'],
      constant: { kind: 'openai' },
      fields: [...called, { path: 'model', label: 'model', required: true }],
    },
    {
      key: 'dicom-dimse',
      label: { text: 'dicom, C-STORE' },
      roots: ['answersFrom', 'dimse'],
      constant: { kind: 'dicom' },
      fields: [...peer, answers],
    },
    {
      key: 'dicom-stow',
      label: { text: 'dicom, DICOMweb' },
      roots: ['answersFrom', 'stow'],
      constant: { kind: 'dicom' },
      fields: [url('stow.url', 'https://ai.example.org/dicom-web'), ...signingIn, answers],
    },
  ],
}

type Names = readonly { name: string }[] | undefined
const named = (list: Names) => same(...(list ?? []).map(entry => entry.name))

/** What routes can choose among is in the document. */
export function routeKind(document: { sources?: Names; providers?: Names; destinations?: Names }): EntryKind {
  const providers = [...same('reference'), ...named(document.providers)]
  const hasCanary = (filled: Record<string, string>) => filled['analysis.canary.provider'] !== ''
  const fields: FieldOf[] = [
    name,
    { path: 'match.modality', label: 'modality', as: 'codes', hint: 'commaSeparated' },
    { path: 'match.bodyPart', label: 'bodyPart', as: 'codes', hint: 'commaSeparated' },
    { path: 'match.source', label: 'sources', as: 'some', options: named(document.sources) },
    {
      path: 'priority',
      label: 'priority',
      as: 'one',
      options: same('stat', 'routine', 'off-peak'),
      default: 'routine',
    },
    { path: 'analysis.primary', label: 'analysedBy', as: 'one', options: providers, initial: 'reference' },
    { path: 'analysis.shadow', label: 'shadows', as: 'some', options: providers },
    {
      path: 'analysis.canary.provider',
      label: 'canaryProvider',
      as: 'one',
      options: [['', '–'], ...providers],
      without: 'analysis.canary',
    },
    { path: 'analysis.canary.percent', label: 'canaryPercent', as: 'number', required: true, when: hasCanary },
    {
      path: 'results',
      label: 'results',
      as: 'some',
      options: [
        ['sr', 'Structured Report'],
        ['seg', 'Segmentation'],
        ['sc', 'Secondary Capture'],
        ['gsps', 'Presentation State'],
        ['map', 'Parametric Map'],
        ['pdf', 'PDF'],
        ['longitudinal', 'Longitudinal Report'],
      ],
      initial: 'sr, seg, sc',
      default: 'sr, seg',
      keepEmpty: true,
    },
    { path: 'deliverTo', label: 'deliveredTo', as: 'some', options: named(document.destinations) },
  ]
  return { fields, shapes: [{ key: 'route', label: 'route', roots: [], fields: [] }] }
}

const isUrgent = (filled: Record<string, string>) => filled.on?.split(', ').includes('urgent-finding') ?? false

export const notificationKind: EntryKind = {
  fields: [
    name,
    {
      path: 'on',
      label: 'event',
      as: 'some',
      options: same(
        'urgent-finding',
        'study-failed',
        'dead-letter',
        'provider-away',
        'provider-back',
        'destination-away',
        'disk',
        'store-damaged',
        'budget',
        'canary-step',
        'drift',
      ),
      initial: 'dead-letter, study-failed, provider-away, destination-away, disk, store-damaged',
    },
    { path: 'urgent.0.type.scheme', label: 'urgentTypeScheme', example: 'SCT', when: isUrgent },
    { path: 'urgent.0.type.value', label: 'urgentType', example: '27925004', when: isUrgent },
    { path: 'urgent.0.quantity.scheme', label: 'urgentQuantityScheme', example: 'SCT', when: isUrgent },
    { path: 'urgent.0.quantity.value', label: 'urgentQuantity', example: '103339001', when: isUrgent },
    { path: 'urgent.0.above', label: 'urgentAbove', as: 'number', when: isUrgent },
    { path: 'urgent.0.probability', label: 'urgentProbability', as: 'number', when: isUrgent },
    { path: 'webhook.url', label: 'webhook', as: 'url', example: 'https://pager.example.org/radbridge' },
    { path: 'webhook.secret', label: 'webhookSecret', hint: 'secretHint', more: true },
    { path: 'email.to', label: 'email', as: 'list', hint: 'emailHint' },
    { path: 'quietHours.from', label: 'quietFrom', example: '22:00', more: true },
    { path: 'quietHours.to', label: 'quietTo', example: '06:00', more: true },
    { path: 'perHour', label: 'perHour', as: 'number', more: true },
    { path: 'patient', label: 'withPatient', as: 'check', more: true },
  ],
  shapes: [{ key: 'rule', label: 'ruleName', roots: [], fields: [] }],
}
