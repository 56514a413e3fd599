import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { type Entry, type EntryKind, entryFrom, filledFrom, shapeOf } from '../../src/console/entry.js'
import { destinationKind, notificationKind, providerKind, routeKind, sourceKind } from '../../src/console/entryKinds.js'
import { endpointsJsonSchema, endpointsSchema } from '../../src/platform/endpoints.js'

const document = {
  sources: [
    { name: 'ct', dimse: { aeTitle: 'CT1', addresses: ['10.0.0.0/8', '192.0.2.1'], host: 'ct', port: 104 } },
    { name: 'web', stow: { token: 'env:WEB' }, accept: { modalities: ['CT', 'DX'], maxInstanceBytes: 1000 } },
    { name: 'both', stow: { username: 'a', password: 'env:A' }, dimse: { aeTitle: 'BOTH' } },
  ],
  providers: [
    {
      name: 'rest',
      kind: 'imaging-rest',
      baseUrl: 'https://ai.example',
      chunk: 10,
      budget: { perMonth: 100 },
      price: { perMillionUnits: 1, currency: 'EUR' },
    },
    {
      name: 'vision',
      kind: 'openai',
      baseUrl: 'https://v.example',
      model: 'm',
      price: { perMillionUnits: 2, currency: 'EUR' },
    },
    { name: 'old', kind: 'dicom', stow: { url: 'https://d.example' }, answersFrom: 'ct' },
    { name: 'older', kind: 'dicom', dimse: { aeTitle: 'OLD', host: 'old', port: 104 }, answersFrom: 'ct' },
  ],
  destinations: [
    { name: 'pacs', stow: { url: 'https://pacs.example', http2: true, confirm: true }, format: { language: 'de' } },
    { name: 'main', dimse: { aeTitle: 'MAIN', host: 'main', port: 11112, commit: true, tls: {} } },
    { name: 'here', folder: '/srv/results' },
  ],
  routes: [
    {
      name: 'chest',
      match: { modality: ['CT'], description: 'thorax' },
      analysis: {
        primary: 'rest',
        shadow: ['reference'],
        canary: { provider: 'vision', percent: 10, ramp: [{ day: 1, percent: 10 }] },
      },
      deliverTo: ['pacs', 'main'],
    },
    { name: 'rest', priority: 'stat', analysis: { primary: 'reference' }, results: [] },
  ],
  notifications: [
    {
      name: 'on-call',
      on: ['urgent-finding', 'disk'],
      urgent: [
        { type: { scheme: 'SCT', value: '27925004' }, quantity: { scheme: 'SCT', value: '103339001' }, above: 20 },
        { probability: 0.9 },
      ],
      email: { to: ['a@example.org', 'b@example.org'] },
      quietHours: { from: '22:00', to: '06:00', timeZone: 'Europe/Berlin' },
    },
  ],
}
const kinds: Record<keyof typeof document, EntryKind> = {
  sources: sourceKind,
  providers: providerKind,
  destinations: destinationKind,
  routes: routeKind(document),
  notifications: notificationKind,
}
const fieldsOf = ({ fields, shapes }: EntryKind) => [...shapes.flatMap(shape => shape.fields), ...fields]
const every = Object.entries(document).flatMap(([list, entries]) =>
  entries.map(entry => [list as keyof typeof document, entry.name, entry as Entry] as const),
)

interface Node {
  properties?: Record<string, Node>
  anyOf?: Node[]
  items?: Node
  enum?: string[]
}
/** The values that a place of the JSON Schema knows. */
function enumAt(node: Node, [name, ...rest]: string[]): string[] | undefined {
  if (name === undefined) return node.enum ?? node.items?.enum
  const next = [node, ...(node.anyOf ?? [])].map(variant => variant.properties?.[name]).find(Boolean)
  return next && enumAt(next, rest)
}

describe('forms of the console for entries of the configuration', () => {
  test('the entries that are tried are allowed', () => {
    expect(endpointsSchema.safeParse(document).error).toBeUndefined()
  })

  test.each(every)('%s: %s is as it was when nothing is changed', (list, _, entry) => {
    const kind = kinds[list]
    const shape = shapeOf(kind, entry)!
    expect(entryFrom(kind, shape, filledFrom(fieldsOf(kind), entry), entry)).toEqual(entry)
  })

  test('what a form lets choose is what the schema knows', () => {
    const schema = endpointsJsonSchema() as { properties: Record<string, { items: Node }> }
    const choices = (list: keyof typeof kinds, path: string) =>
      fieldsOf(kinds[list])
        .find(field => field.path === path)!
        .options!.map(([value]) => value)
        .filter(Boolean)
    for (const [list, path] of [
      ['notifications', 'on'],
      ['routes', 'results'],
      ['routes', 'priority'],
      ['destinations', 'format.language'],
      ['destinations', 'format.report'],
    ] as const)
      expect([path, choices(list, path)]).toEqual([path, enumAt(schema.properties[list]!.items, path.split('.'))])
  })

  test('what a form does not ask for stays, what is emptied goes', () => {
    const [chest] = document.routes
    const filled = {
      ...filledFrom(fieldsOf(kinds.routes), chest as Entry),
      'analysis.canary.provider': '',
      deliverTo: '',
    }
    expect(entryFrom(kinds.routes, kinds.routes.shapes[0]!, filled, chest as Entry)).toEqual({
      name: 'chest',
      match: { modality: ['CT'], description: 'thorax' },
      analysis: { primary: 'rest', shadow: ['reference'] },
    })
  })

  test('another kind of destination takes the place of the former one', () => {
    const [pacs] = document.destinations
    const folder = destinationKind.shapes.find(({ key }) => key === 'folder')!
    const filled = { ...filledFrom(fieldsOf(destinationKind), pacs as Entry), folder: ' /srv/out ' }
    expect(entryFrom(destinationKind, folder, filled, pacs as Entry)).toEqual({
      name: 'pacs',
      folder: '/srv/out',
      format: { language: 'de' },
    })
  })

  test('a new rule, and one without its urgent findings', () => {
    const [shape] = notificationKind.shapes
    const filled = filledFrom(fieldsOf(notificationKind), undefined)
    const rule = entryFrom(notificationKind, shape!, {
      ...filled,
      name: 'new',
      on: 'urgent-finding',
      'urgent.0.probability': '0.9',
      'webhook.url': 'https://pager.example',
    })
    expect(rule).toEqual({
      name: 'new',
      on: ['urgent-finding'],
      urgent: [{ probability: 0.9 }],
      webhook: { url: 'https://pager.example' },
    })
    const later = { ...filledFrom(fieldsOf(notificationKind), rule), on: 'disk' }
    expect(entryFrom(notificationKind, shape!, later, rule)).toEqual({
      name: 'new',
      on: ['disk'],
      webhook: { url: 'https://pager.example' },
    })
  })

  test('each entry of the example has a form, but for those that are edited as text', () => {
    const example = parse(readFileSync('deploy/endpoints.example.yaml', 'utf8')) as Record<string, Entry[]>
    const without = Object.entries(kinds).flatMap(([list, kind]) =>
      (example[list] ?? []).filter(entry => !shapeOf(kind, entry)).map(({ name }) => `${list}/${name}`),
    )
    expect(without).toEqual([])
  })
})
