import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { loadEndpoints, parseEndpoints } from '../../src/platform/readEndpoints.js'
import { loadSettings } from '../../src/platform/settings.js'

function file(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'radbridge-settings-')), 'radbridge.yaml')
  writeFileSync(path, text)
  return path
}

describe('process settings', () => {
  test('environment over YAML over default', () => {
    const path = file('http:\n  port: 9000\nstudy: { quietSeconds: 5 }\n')
    const settings = loadSettings({ RADBRIDGE_HTTP_PORT: '9001' }, path)
    expect(settings.http).toMatchObject({ host: '127.0.0.1', port: 9001, proxies: 0, corsOrigins: [] })
    expect(settings.study.quietSeconds).toBe(5)
    expect(settings.dataDirectory).toMatch(/\/data$/)
  })

  test.each([
    [
      'an unknown setting, with a suggestion',
      'http:\n  prot: 9000\n',
      /radbridge\.yaml:2: unknown setting http\.prot; did you mean port\?/,
    ],
    [
      'one that has no variable, too',
      'tracing:\n  ratios: 1\n',
      /radbridge\.yaml:2: unknown setting tracing\.ratios; did you mean ratio\?/,
    ],
    ['a wrong type', 'http:\n  host: localhost\n  port: many\n', /radbridge\.yaml:3: http\.port: .*expected number/],
    ['a value out of range', '\nstudy: { quietSeconds: -1 }\n', /radbridge\.yaml:2: study\.quietSeconds: /],
    ['broken YAML', 'http: [\n', /radbridge\.yaml:\d: /],
    ['a list', '- a\n', /radbridge\.yaml:1: expected a mapping/],
    ['a storage of another kind', 'storage: { url: "ftp://host" }\n', /storage\.url: expected file:PATH or s3:/],
    ['a role that there is not', 'roles: [receive, cook]\n', /roles\.1: .*receive/],
  ])('%s stops the start with file, line and what was expected', (_name, text, message) => {
    const path = file(text)
    expect(() => loadSettings({}, path)).toThrow(message)
  })

  test('a bucket and its prefix; roles by variable', () => {
    const settings = loadSettings({ RADBRIDGE_STORAGE: 's3://bucket/of/radbridge/', RADBRIDGE_ROLES: 'receive, admin' })
    expect(settings.bucket).toEqual({ name: 'bucket', prefix: 'of/radbridge/' })
    expect(loadSettings({ RADBRIDGE_STORAGE: 's3://bucket' }).bucket).toEqual({ name: 'bucket', prefix: '' })
    expect(settings.storageDirectory).toMatch(/data\/cache$/)
    expect(settings.roles).toEqual(['receive', 'admin'])
  })

  test('a wrong or unknown variable is named', () => {
    expect(() => loadSettings({ RADBRIDGE_HTTP_PORT: 'many' })).toThrow(
      /environment variable RADBRIDGE_HTTP_PORT: http\.port/,
    )
    expect(() => loadSettings({ RADBRIDGE_HTTP_PROT: '1' })).toThrow(
      /RADBRIDGE_HTTP_PROT: unknown setting; did you mean RADBRIDGE_HTTP_PORT/,
    )
    expect(() => loadSettings({}, '/nowhere.yaml')).toThrow(/cannot be read \(ENOENT\)/)
  })
})

describe('endpoints', () => {
  const parse = (text: string) => parseEndpoints(text, 'endpoints.yaml')

  test('without a document everything goes to the reference analyser', () => {
    expect(loadEndpoints().routes).toEqual([
      expect.objectContaining({
        analysis: {
          primary: 'reference',
          fallback: [],
          shadow: [],
          priors: { max: 1, within: 'P5Y', analyze: false, from: [] },
        },
        deliverTo: [],
      }),
    ])
  })

  test('an empty list of routes is a choice', () => {
    expect(parse('routes: []\n').routes).toEqual([])
  })

  test.each([
    [
      'a secret in the open',
      'sources:\n  - name: a\n    stow: { token: abc123 }\n',
      /endpoints\.yaml:3: sources\.0\.stow\.token: expected a reference/,
    ],
    [
      'a route to nowhere',
      'routes:\n  - name: r\n    analysis: { primary: reference }\n    deliverTo: [pacs]\n',
      /endpoints\.yaml:4: .*no destination is named pacs/,
    ],
    [
      'a provider that is not there',
      'routes:\n  - name: r\n    analysis: { primary: x }\n',
      /no provider is named x; known: reference/,
    ],
    [
      'a kind of provider of a later version',
      'providers: [{ name: a, kind: later }]\n',
      /expected a kind: reference, imaging-rest, openai, kserve or dicom/,
    ],
    [
      'the same name twice',
      'destinations:\n  - { name: a, folder: /x }\n  - { name: a, folder: /y }\n',
      /a is there twice/,
    ],
    [
      'an unknown setting',
      'routes:\n  - name: r\n    analysis: { primary: reference, budget: 3 }\n',
      /endpoints\.yaml:3: unknown setting routes\.0\.analysis\.budget/,
    ],
    ['no address', 'destinations:\n  - { name: a, stow: { url: pacs } }\n', /expected an http/],
  ])('%s is refused with file and line', (_name, text, message) => {
    expect(() => parse(text)).toThrow(message)
  })
})
