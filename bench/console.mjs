// The console with 100,000 studies: its first page and a search in Chromium, and what the API takes for them, beside an archive with a hundred studies.
//   node bench/console.mjs [STUDIES]
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import pg from 'pg'
import { chromium } from 'playwright-core'
import { startService } from '../dist/main.js'
import { silentLog } from '../dist/platform/log.js'
import { loadSettings } from '../dist/platform/settings.js'

const most = Number(process.argv[2] ?? 100_000)
const rounds = 15

const assets = 'dist/console/assets'
const sizes = readdirSync(assets)
  .filter(name => !name.endsWith('.gz'))
  .map(name => gzipSync(readFileSync(join(assets, name))).length)
console.log(
  `bundle, all pages: ${(sizes.reduce((a, b) => a + b, 0) / 1024).toFixed(0)} KiB gzipped (asked: 350 at most)`,
)

for (const studies of [100, most]) await measure(studies)

async function measure(studies) {
  const scratch = mkdtempSync(join(tmpdir(), 'radbridge-console-'))
  const service = await startService(
    loadSettings({
      RADBRIDGE_DATA_DIR: join(scratch, 'data'),
      RADBRIDGE_HTTP_PORT: '0',
      RADBRIDGE_DIMSE_PORT: '0',
      RADBRIDGE_MINIMUM_FREE_BYTES: '0',
    }),
    silentLog,
  )
  const pool = new pg.Pool({
    host: join(scratch, 'data', 'postgres-socket'),
    user: 'radbridge',
    database: 'radbridge',
    options: '-c search_path=radbridge',
  })
  await pool.query(`
    insert into study (study_instance_uid, attributes, patient_id, patient_name, study_date, accession_number, study_description, received_at)
    select '1.2.826.0.1.' || n, '{}', 'P' || n / 3, 'Name' || n / 3 || '^Given', to_char(date '2020-01-01' + n % 2000, 'YYYYMMDD'), 'A' || n, 'Chest',
           now() - n * interval '20 seconds'
      from generate_series(1, ${studies}) n;
    insert into study_revision (study_instance_uid, revision, state, settled_at, finished_at)
    select study_instance_uid, 1, case when random() < 0.001 then 'failed' when random() < 0.05 then 'ignored' else 'completed' end, received_at, received_at + interval '30 seconds' from study;
    insert into series (series_instance_uid, study_instance_uid, modality, attributes)
    select study_instance_uid || '.' || e, study_instance_uid, (array['CT','MR','DX'])[e], '{}' from study, generate_series(1, 3) e;
    insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, revision, origin, sop_class_uid, transfer_syntax_uid, blob_key, byte_length, crc32, attributes, header)
    select series_instance_uid || '.' || i, series_instance_uid, study_instance_uid, 1, 'received', '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', 'none', 1, 0, '{}', '{}'
      from series, generate_series(1, 4) i;
    insert into study_event (study_instance_uid, revision, kind) select study_instance_uid, 1, k from study, unnest(array['settled','analyzing','completed']) k;
    analyze;`)
  const path = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
  const browser = await chromium.launch({
    executablePath: path,
    args: ['--headless=new', '--no-sandbox', '--disable-background-networking'],
  })
  console.log(`\n${studies} studies, ms                  median     worst of ${rounds}`)
  const told = (name, times) => {
    const sorted = [...times].sort((a, b) => a - b)
    console.log(
      `${name.padEnd(36)} ${sorted[sorted.length >> 1].toFixed(0).padStart(6)}  ${sorted.at(-1).toFixed(0).padStart(6)}`,
    )
  }
  const timed = async work => {
    const began = performance.now()
    await work()
    return performance.now() - began
  }
  const repeat = async work => {
    const times = []
    for (let i = 0; i < rounds; i++) times.push(await timed(() => work(i)))
    return times
  }
  // Nothing is in the cache of the browser; making and closing its profile, some 300 ms, is not counted.
  const first = []
  for (let i = 0; i < rounds; i++) {
    const context = await browser.newContext()
    const page = await context.newPage()
    first.push(
      await timed(async () => {
        await page.goto(`${service.url}/#/studies`)
        await page.locator('tbody tr').first().waitFor()
      }),
    )
    await context.close()
  }
  told('the first page, nothing cached', first)
  const page = await browser.newPage()
  await page.goto(`${service.url}/#/studies`)
  await page.locator('tbody tr').first().waitFor()
  told(
    'a search by name, typed to shown',
    await repeat(async i => {
      const name = `Name${1 + ((i * 7919) % Math.floor(studies / 3 - 1))}`
      await page.getByLabel('Search', { exact: true }).fill(`${name}^`)
      await page.keyboard.press('Enter')
      await page.getByText(`${name}, Given`).first().waitFor()
    }),
  )
  await browser.close()
  const ask = (path, body) => () =>
    fetch(
      `${service.url}/api${path}`,
      body ? { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {},
    ).then(answer => answer.text())
  told(
    'API: dashboard',
    await repeat(async () => {
      await new Promise(resolve => setTimeout(resolve, 0))
      await ask('/dashboard')()
    }),
  )
  told('API: search by name', await repeat(i => ask('/studies/search', { text: `Name${i * 31}^`, limit: 50 })()))
  told('API: failed studies', await repeat(ask('/studies?state=failed&limit=50')))
  told('API: modality MR', await repeat(ask('/studies/search', { modality: 'MR', limit: 50 })))
  await pool.end()
  await service.stop()
  rmSync(scratch, { recursive: true, force: true })
}
