import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'

interface Locked {
  version?: string
  license?: string
  dev?: boolean
  devOptional?: boolean
  dependencies?: Record<string, string>
}

const packages: Record<string, Locked> = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages
const file = 'docs/licences.md'
/** Licences under which all of it may be used and passed on. */
const allowed = [
  'MIT',
  'MIT-0',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Python-2.0',
  'MIT OR Apache-2.0',
  '(MIT AND Zlib)',
]
/** Packages that do not name their licence in package.json, and where it stands. */
const elsewhere: Readonly<Record<string, string>> = { 'png-js': 'MIT' }
/** What the pages of the console hold is part of what is passed on. */
const bundled = ['react', 'react-dom', 'react-aria-components', 'uqr']

const nameOf = (path: string) => path.replace(/^.*node_modules\//, '')

function used(): [name: string, version: string, licence: string][] {
  const paths = new Set(
    Object.entries(packages).flatMap(([path, { dev, devOptional }]) =>
      path !== '' && !dev && !devOptional ? [path] : [],
    ),
  )
  const add = (name: string) => {
    const path = `node_modules/${name}`
    if (paths.has(path) || !packages[path]) return
    paths.add(path)
    for (const dependency of Object.keys(packages[path].dependencies ?? {})) add(dependency)
  }
  for (const name of bundled) {
    paths.delete(`node_modules/${name}`)
    add(name)
  }
  return [...paths]
    .map(path => {
      const { version = '', license } = packages[path]!
      return [nameOf(path), version, license ?? elsewhere[nameOf(path)] ?? 'unknown'] as [string, string, string]
    })
    .sort(([a, v], [b, w]) => (a === b ? (v < w ? -1 : 1) : a < b ? -1 : 1))
}

test('every package that is passed on has a licence that allows it', () => {
  const list = used()
  expect(list.length).toBeGreaterThan(100)
  expect(list.filter(([, , licence]) => !allowed.includes(licence))).toEqual([])
})

test('docs/licences.md lists them; UPDATE=1 writes it anew', () => {
  const rows = used().map(([name, version, licence]) => `| ${name} | ${version} | ${licence} |`)
  const text = [
    '# Licences',
    '',
    'Packages that are passed on with Radbridge: its dependencies, and what the pages of the console are built from. `npm sbom --sbom-format cyclonedx --omit=dev` prints them as a',
    'bill of materials.',
    '',
    '| package | version | licence |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
  if (process.env.UPDATE) writeFileSync(file, text)
  expect(existsSync(file) ? readFileSync(file, 'utf8') : '').toBe(text)
})
