// Studies a minute with 1, 2 and 4 nodes on this machine, against a provider that takes 300 ms for an answer, so that it is not the processor that is measured.
// node bench/scale.mjs [STUDIES=240] [INSTANCES=1000000]
// Then what one study costs beside a thousand stored instances, and beside so many.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { fillArchive } from '../test/fixtures/manyStudies.mjs'
import { makeProvider, Node, startPostgres, until } from '../test/torture/cluster.mjs'
import { Answers, Studies, sendByStow } from '../test/torture/senders.mjs'

const count = Number(process.argv[2] ?? 240)
const most = Number(process.argv[3] ?? 1_000_000)
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-scale-'))
const results = []
if (count > 0) for (const nodeCount of [1, 2, 4]) results.push(await measure(nodeCount))
if (count > 0) console.log(`\n| nodes | studies a minute | × | ideal |\n| --- | --- | --- | --- |`)
for (const { nodes, perMinute } of results)
  console.log(`| ${nodes} | ${Math.round(perMinute)} | ${(perMinute / results[0].perMinute).toFixed(2)} | ${nodes} |`)
await measureCost()
rmSync(scratch, { recursive: true, force: true })
process.exit()

/** A study of four slices at a time, from its first byte to `completed`, by a node that does all. */
async function measureCost() {
  const folder = mkdtempSync(join(scratch, 'cost-'))
  const postgres = await startPostgres(join(folder, 'database'))
  writeFileSync(join(folder, 'endpoints.yaml'), 'routes: [{ name: all, analysis: { primary: reference } }]\n')
  const node = await Node.make('node', {
    folder: join(folder, 'node'),
    store: `file:${join(folder, 'store')}`,
    databaseUrl: postgres.url,
    endpoints: join(folder, 'endpoints.yaml'),
    environment: {
      LD_PRELOAD: '',
      RADBRIDGE_QUIET_SECONDS: '0',
      RADBRIDGE_LOG_LEVEL: 'warn',
      RADBRIDGE_MINIMUM_FREE_BYTES: '0',
    },
  })
  await node.start()
  const pool = new pg.Pool({ connectionString: postgres.url, options: '-c search_path=radbridge' })
  const studies = new Studies(4)
  const answers = new Answers()
  let [next, filled] = [1, 0]
  console.log(`\n| stored instances | ms a study, median | p95 | whole tables read |\n| --- | --- | --- | --- |`)
  for (const instances of [1000, 100_000, most]) {
    await fillArchive(pool, filled + 1, (filled = Math.round(instances / 100)))
    const scans = async () => {
      await sleep(11_000) // statistics of idle sessions come after ten seconds
      return (
        await pool.query(
          `select coalesce(sum(seq_scan), 0)::int n from pg_stat_user_tables where schemaname = 'radbridge' and n_live_tup > 5000`,
        )
      ).rows[0].n
    }
    const before = await scans()
    const times = []
    for (let i = 0; i < 120; i++) {
      const { studyInstanceUid } = studies.instance(next, 0)
      const at = performance.now()
      await sendByStow(`${node.url}/dicom-web`, studies, next++, answers, new AbortController().signal, 0)
      for (;;) {
        const { rows } = await pool.query(
          'select state from study_revision where study_instance_uid = $1 order by revision desc limit 1',
          [studyInstanceUid],
        )
        if (rows[0]?.state === 'completed') break
        await sleep(2)
      }
      if (i >= 20) times.push(performance.now() - at)
    }
    times.sort((a, b) => a - b)
    const whole = (await scans()) - before
    console.log(`| ${instances} | ${times[50].toFixed(1)} | ${times[95].toFixed(1)} | ${whole} |`)
  }
  await pool.end()
  await node.stop()
  await postgres.stop()
}

async function measure(nodeCount) {
  const folder = mkdtempSync(join(scratch, 'run-'))
  const postgres = await startPostgres(join(folder, 'database'))
  const provider = await (await makeProvider()).start()
  await provider.behave({ latency: 300 })
  writeFileSync(
    join(folder, 'endpoints.yaml'),
    `providers: [{ name: remote, kind: imaging-rest, baseUrl: '${provider.url}', concurrency: 100 }]\nroutes: [{ name: all, analysis: { primary: remote } }]\n`,
  )
  const make = (name, environment) =>
    Node.make(name, {
      folder: join(folder, name),
      store: `file:${join(folder, 'store')}`,
      databaseUrl: postgres.url,
      endpoints: join(folder, 'endpoints.yaml'),
      environment: {
        RADBRIDGE_QUIET_SECONDS: '0',
        RADBRIDGE_LOG_LEVEL: 'warn',
        RADBRIDGE_MINIMUM_FREE_BYTES: '0',
        ...environment,
      },
    })
  const workers = await Promise.all(
    Array.from({ length: nodeCount }, (_, i) => make(`worker-${i}`, { RADBRIDGE_ROLES: 'work' })),
  )
  for (const node of workers) await node.start()
  const receiver = await (await make('receiver', { RADBRIDGE_ROLES: 'receive,admin' })).start()
  const pool = new pg.Pool({ connectionString: postgres.url, options: '-c search_path=radbridge' })
  const completed = async () =>
    (
      await pool.query(
        `select count(*)::int n, min(settled_at) first, max(finished_at) last from study_revision where state = 'completed'`,
      )
    ).rows[0]
  const studies = new Studies(4)
  const answers = new Answers()
  const queue = Array.from({ length: count }, (_, i) => i + 1)
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      while (queue.length > 0)
        await sendByStow(`${receiver.url}/dicom-web`, studies, queue.shift(), answers, new AbortController().signal, 0)
    }),
  )
  await until(`${count} studies`, async () => (await completed()).n === count, 600)
  // While there is enough to do for all: from the first tenth that was done to the last.
  const { rows } = await pool.query(
    `select extract(epoch from finished_at)::float8 at from study_revision where state = 'completed' order by 1`,
  )
  const [from, to] = [Math.floor(count * 0.1), Math.floor(count * 0.9)]
  const perMinute = ((to - from) / (rows[to].at - rows[from].at)) * 60
  console.log(`${nodeCount} nodes: ${Math.round(perMinute)} studies a minute`)
  await pool.end()
  await Promise.all([...workers, receiver].map(node => node.stop()))
  await provider.stop('SIGKILL')
  await postgres.stop()
  return { nodes: nodeCount, perMinute }
}
