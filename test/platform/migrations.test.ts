import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { startTestDatabase } from '../fixtures/database.js'

const folder = 'src/platform/migrations'
/** Of 0.1.0, which is not released yet: what comes with it is what nodes of that version work with. */
const last = '0015_index_known_studies.sql'
const files = readdirSync(folder).sort()

/** What a node of the version before could not work with, while it is still there in a rolling upgrade. */
const breaking: readonly [RegExp, string][] = [
  [/\bdrop\s+(table|column|view|type|function|schema)\b/i, 'drops something'],
  [/\brename\b/i, 'renames something'],
  [/\balter\s+column\s+\S+\s+(set\s+data\s+)?type\b/i, 'changes a type'],
  [/\bset\s+not\s+null\b/i, 'forbids what was allowed'],
  [/\badd\s+column\s+(?![^,;]*\bdefault\b)[^,;]*\bnot\s+null\b/i, 'adds a column that inserts of before do not fill'],
]

test('the rules see what they are for', () => {
  const examples = [
    'alter table study drop column reason;',
    'alter table study rename to studies;',
    'alter table study alter column revision type bigint;',
    'alter table study alter column reason set not null;',
    'alter table study add column site text not null;',
  ]
  expect(examples.map(sql => breaking.findIndex(([pattern]) => pattern.test(sql)))).toEqual([0, 1, 2, 3, 4])
  expect(
    breaking.some(([pattern]) => pattern.test(`alter table study add column site text not null default '';`)),
  ).toBe(false)
})

test('what comes after 0.1.0 only adds: nodes of the version before go on beside it', () => {
  expect(files).toContain(last)
  for (const file of files.filter(name => name > last)) {
    const sql = readFileSync(`${folder}/${file}`, 'utf8')
    // What nobody needs any more may go, one version after the last that needed it, and says so in its first line.
    if (/^-- contract: not needed since \d+\.\d+\.\d+/.test(sql)) continue
    const code = sql.replace(/--.*$|\/\*[\s\S]*?\*\//gm, '')
    expect([file, breaking.filter(([pattern]) => pattern.test(code)).map(([, what]) => what)]).toEqual([file, []])
  }
})

let base: Awaited<ReturnType<typeof startTestDatabase>>
beforeAll(async () => {
  base = await startTestDatabase()
})
afterAll(() => base?.stop())

test('what a node of 0.1.0 asks of functions that have got a successor is still answered', async () => {
  const { rows } = await base.database.query(`select * from begin_call('remote', 1, 0, 5)`)
  expect(rows[0]).toMatchObject({ away: false, wait_seconds: 0 })
  const { rowCount } = await base.database.query(
    `insert into provider_call (provider, expires_at) values ('remote', now()) returning id`,
  )
  expect(rowCount).toBe(1)
})
