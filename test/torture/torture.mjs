// npm run torture [-- --minutes 20 --studies 200 --nodes 3]
//
// Several nodes on one PostgreSQL and one store take studies by STOW-RS and C-STORE through a balancer, have them analysed by a provider that misbehaves, and report
// to a PACS, while nodes are killed, the database is restarted, the PACS and the provider go away, the disk fills and clocks jump. In the end nothing that was
// acknowledged may be missing or changed, and every study has one valid report. Prints JSON of what happened and, last, a line `N passed, N failed`.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import {
  canJump,
  makePacs,
  makeProvider,
  mountSmallDisk,
  Node,
  startBalancer,
  startPostgres,
  until,
} from './cluster.mjs'
import { Answers, Studies, sendByDimse, sendByStow } from './senders.mjs'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    studies: { type: 'string', default: '200' },
    slices: { type: 'string', default: '100' },
    nodes: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
  },
})
const [minutes, studyCount, slices, nodeCount] = ['minutes', 'studies', 'slices', 'nodes'].map(name =>
  Number(values[name]),
)
const senders = 6
const quietSeconds = 30
const diskMebibytes = Math.ceil((studyCount * slices * 9.5) / 1024) + 300
const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-torture-'))
const between = (least, most) => least + Math.random() * (most - least)
const say = text => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)

const done = []
const check = (what, problems) => {
  done.push({
    what,
    ok: problems.length === 0,
    problems: problems.slice(0, 10),
    more: Math.max(0, problems.length - 10),
  })
  say(
    `${problems.length === 0 ? 'passed' : 'FAILED'}: ${what}${problems.length > 0 ? ` (${problems.length}): ${problems[0]}` : ''}`,
  )
}
const faults = {}
const fault = name => {
  faults[name] = (faults[name] ?? 0) + 1
}

const store = join(scratch, 'store')
const disk = mountSmallDisk(store, diskMebibytes)
mkdirSync(store, { recursive: true })
const postgres = await startPostgres(join(scratch, 'database'))
const pacs = await makePacs(join(scratch, 'pacs'))
const provider = await makeProvider()
await Promise.all([pacs.start(), provider.start()])
await provider.behave({ latency: [60, 20], drop: 0.1, failRequests: 0.05, reset: 0.03 })
writeFileSync(
  join(scratch, 'endpoints.yaml'),
  `providers: [{ name: remote, kind: imaging-rest, baseUrl: '${provider.url}', timeoutSeconds: 10, breaker: { openSeconds: 3 } }]
destinations: [{ name: pacs, stow: { url: '${pacs.url}' } }]
routes: [{ name: all, analysis: { primary: remote }, deliverTo: [pacs] }]
`,
)
const nodes = await Promise.all(
  Array.from({ length: nodeCount }, (_, i) =>
    Node.make(`node ${i + 1}`, {
      folder: join(scratch, `node-${i + 1}`),
      store: `file:${store}`,
      databaseUrl: postgres.url,
      endpoints: join(scratch, 'endpoints.yaml'),
      environment: {
        RADBRIDGE_QUIET_SECONDS: String(quietSeconds),
        RADBRIDGE_MINIMUM_FREE_BYTES: String(24 * 1024 * 1024),
        RADBRIDGE_LOG_LEVEL: 'warn',
      },
    }),
  ),
)
await Promise.all(nodes.map(node => node.start()))
const web = await startBalancer(nodes, node => node.port)
const dimse = await startBalancer(nodes, node => node.dimsePort)
const url = `http://127.0.0.1:${web.port}`
say(
  `${nodeCount} nodes, PACS ${pacs.name}, ${studyCount} studies of ${slices}, ${minutes} minutes${disk ? '' : ', no small disk'}${canJump ? '' : ', no clocks that jump'}`,
)

// --- What goes wrong ---
const end = new AbortController()
const wait = seconds => sleep(seconds * 1000, undefined, { signal: end.signal }).catch(() => {})
async function again(first, pause, what) {
  await wait(first)
  while (!end.signal.aborted) {
    await what().catch(error => say(`fault: ${error.message}`))
    await wait(between(...pause))
  }
}
/** Never the last one: with no node at all a sender can only wait. */
const killNode = () =>
  again(3, [3, 6], async () => {
    const running = nodes.filter(node => node.runs)
    if (running.length < 2) return
    const node = running[Math.floor(Math.random() * running.length)]
    fault('node killed')
    await node.stop('SIGKILL')
    await wait(between(0.2, 1.5))
    // While the database is away it ends again at once; it is started until it stays.
    void (async () => {
      while (!node.runs && !stopped) {
        await node.start().catch(() => {})
        await sleep(500)
      }
    })()
  })
let stopped = false
const restartDatabase = () =>
  again(20, [35, 50], async () => {
    const signal = Math.random() < 0.5 ? 'SIGINT' : 'SIGKILL'
    fault(signal === 'SIGINT' ? 'database restarted' : 'database crashed')
    postgres.kill(signal)
  })
const cutConnections = () =>
  again(30, [25, 40], async () => {
    fault('connections to the database cut')
    await sql(
      'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()',
    )
  })
const pacsAway = () =>
  again(40, [50, 70], async () => {
    fault('PACS away')
    await pacs.stop('SIGTERM')
    await wait(between(5, 12))
    await pacs.start()
  })
const providerAway = () =>
  again(25, [45, 60], async () => {
    fault('provider away')
    await provider.stop('SIGKILL')
    await wait(between(4, 12))
    await provider.start()
    await provider.behave({
      latency: [60, 20],
      drop: 0.1,
      failRequests: 0.05,
      reset: 0.03,
      ...(Math.random() < 0.5 ? { silentLimit: 400 } : { limit: 20 }),
    })
  })
const fillDisk = () =>
  again(35, [60, 80], async () => {
    const { bavail, bsize } = statfsSync(store)
    // Half of the times below the watermark, half of the times to the last byte.
    const left = Math.random() < 0.5 ? 8 * 1024 * 1024 : 0
    fault(left ? 'disk nearly full' : 'disk full')
    const ballast = join(store, 'ballast')
    try {
      execFileSync('fallocate', ['-l', String(Math.max(4096, bavail * bsize - left)), ballast])
    } finally {
      await wait(between(3, 8))
      rmSync(ballast, { force: true })
    }
  })
const jumpClocks = () =>
  again(15, [10, 20], async () => {
    fault('clock jumped')
    nodes[Math.floor(Math.random() * nodes.length)].jump(Math.round(between(-7200, 7200)))
  })

async function sql(text, parameters) {
  const client = new pg.Client({ connectionString: postgres.url, options: '-c search_path=radbridge' })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(text, parameters)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

// --- The work ---
const answers = new Answers()
const studies = new Studies(slices)
const waiting = Array.from({ length: studyCount }, (_, i) => i + 1)
const pace = (minutes * 60 * 1000 * 0.9) / studyCount
const began = performance.now()
const giveUp = new AbortController()
const unsent = []
const work = Promise.all(
  Array.from({ length: senders }, async (_, lane) => {
    for (;;) {
      const study = waiting.shift()
      if (study === undefined) return
      await sleep(Math.max(0, began + pace * (study - 1) - performance.now()))
      const sent =
        lane % 2 === 0
          ? await sendByStow(`${url}/dicom-web`, studies, study, answers, giveUp.signal)
          : await sendByDimse(dimse.port, studies, study, answers, giveUp.signal, scratch)
      if (!sent) unsent.push(`study ${study} could not be sent`)
    }
  }),
)
const trouble = [
  killNode,
  restartDatabase,
  cutConnections,
  pacsAway,
  providerAway,
  ...(disk ? [fillDisk] : []),
  ...(canJump ? [jumpClocks] : []),
].map(what => what())
await Promise.race([work, sleep(minutes * 60 * 1000)])
say('the trouble is over; what is left is sent')
end.abort()
await Promise.all(trouble)
for (const node of nodes) node.jump(0)
if (!pacs.runs) await pacs.start()
if (!provider.runs) await provider.start()
await provider.behave({ latency: [60, 20] })
for (const node of nodes)
  await until(
    node.name,
    async () =>
      node.runs ||
      (await node.start().then(
        () => true,
        () => undefined,
      )),
  )
await until('the nodes', async () => (await Promise.all(nodes.map(node => node.probe()))).every(Boolean))
setTimeout(() => giveUp.abort(), 600_000).unref() // a slow machine has more left to be sent
await work
const secondsOfWork = (performance.now() - began) / 1000
check(
  'no node ended by itself',
  nodes.flatMap(node => node.ended.map(code => `${node.name}: exit code ${code}`)),
)
check('every instance was taken in the end', unsent)
check('every refusal was an honest one', answers.violations)

// --- What is there in the end ---
const uids = Array.from({ length: studyCount }, (_, i) => studies.instance(i + 1, 0).studyInstanceUid)
const states = async () => {
  const rows = await sql(
    'select s.study_instance_uid uid, s.revision, v.state, v.reason from study s join study_revision v using (study_instance_uid, revision)',
  )
  return new Map(rows.map(row => [row.uid, row]))
}
const settled = async () =>
  [...(await states()).values()].filter(({ state }) => ['completed', 'failed'].includes(state)).length === studyCount
// Deliveries come back after pauses that have grown while the PACS was away.
await until('all studies', settled, 1200).catch(error => say(error.message))
// What failed while the world was broken is taken up again by an administrator, once.
const failed = [...(await states()).values()].filter(({ state }) => state === 'failed')
for (const { uid } of failed) await fetch(`${url}/api/studies/${uid}/retry`, { method: 'POST' })
if (failed.length > 0)
  await until('the studies that were taken up again', settled, 120).catch(error => say(error.message))

const last = await states()
check(
  'every study came to its report; no dead letter is left that a retry does not clear',
  uids.flatMap(uid =>
    last.get(uid)?.state === 'completed' ? [] : [`${uid}: ${last.get(uid)?.state} ${last.get(uid)?.reason}`],
  ),
)
check(
  'every study is one revision: no sender was taken for two',
  uids.flatMap(uid => (last.get(uid)?.revision === 1 ? [] : [`${uid}: revision ${last.get(uid)?.revision}`])),
)

const changed = []
const hash = bytes => createHash('sha256').update(bytes).digest('hex')
for (let study = 1; study <= studyCount; study++) {
  await Promise.all(
    Array.from({ length: slices }, async (_, slice) => {
      const { bytes, studyInstanceUid, seriesInstanceUid, sopInstanceUid } = studies.instance(study, slice)
      const path = `/dicom-web/studies/${studyInstanceUid}/series/${seriesInstanceUid}/instances/${sopInstanceUid}`
      const answer = await fetch(`${url}${path}`, { headers: { Accept: 'application/dicom; transfer-syntax=*' } })
      const stored = Buffer.from(await answer.arrayBuffer())
      if (answer.status !== 200) changed.push(`${sopInstanceUid}: ${answer.status}`)
      else if (hash(wholePart(stored, answer)) !== hash(bytes)) changed.push(`${sopInstanceUid}: other bytes`)
    }),
  )
}
check(`each of ${studyCount * slices} acknowledged instances is there, byte for byte`, changed)

const [unreported, invalid] = [[], []]
let validated = 0
for (const uid of uids) {
  const answer = await fetch(`${pacs.url}/studies/${uid}/instances?Modality=SR&includefield=00080018`, {
    headers: { Accept: 'application/dicom+json' },
  })
  const reports = answer.status === 200 ? await answer.json() : []
  if (reports.length !== 1) unreported.push(`${uid}: ${reports.length} reports`)
  if (reports.length === 0 || !existsSync('/usr/bin/dciodvfy')) continue
  const path = `${pacs.url}/studies/${uid}/series/${reports[0]['0020000E'].Value[0]}/instances/${reports[0]['00080018'].Value[0]}`
  const object = await fetch(path, {
    headers: { Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
  })
  const file = join(scratch, 'report.dcm')
  writeFileSync(file, wholePart(Buffer.from(await object.arrayBuffer()), object))
  validated++
  const words = validate(file)
  if (words) invalid.push(`${uid}: ${words}`)
}
check('every study has exactly one report at the PACS', unreported)
check(`each of ${validated} reports is valid by dciodvfy`, invalid)

const leftJobs =
  await sql(`select t.identifier "name", count(*)::int from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
  where t.identifier in ('settle', 'analyze', 'report', 'deliver') group by 1`)
check(
  'no job is left',
  leftJobs.map(row => `${row.count} ${row.name}`),
)
const fsck = (() => {
  try {
    execFileSync(process.execPath, [command, 'fsck', '--checksums'], {
      env: nodes[0].env,
      encoding: 'utf8',
      stdio: 'pipe',
    })
    return []
  } catch (error) {
    // Files without a row, of instances that were never acknowledged, are what kills leave behind.
    return /gone|length|other bytes/.test(error.stdout ?? '') ? [String(error.stdout).slice(-500)] : []
  }
})()
check('no row of the index lacks its file', fsck)

stopped = true
web.stop()
dimse.stop()
await Promise.all(nodes.map(node => node.stop()))
await Promise.all([pacs.stop(), provider.stop('SIGKILL')])
await postgres.stop()
disk?.unmount()
const passed = done.filter(({ ok }) => ok).length
console.log(
  JSON.stringify(
    {
      minutes: Math.round(secondsOfWork / 6) / 10,
      nodes: nodeCount,
      pacs: pacs.name,
      studies: studyCount,
      instances: studyCount * slices,
      retried: failed.length,
      faults,
      answers: Object.fromEntries([...answers.counts].sort()),
      checks: done,
    },
    null,
    1,
  ),
)
if (values.keep || passed < done.length) say(`kept: ${scratch}`)
else rmSync(scratch, { recursive: true, force: true })
console.log(`${passed} passed, ${done.length - passed} failed`)
process.exit(passed === done.length ? 0 : 1)

/** The one part of a multipart answer, or the answer itself. */
function wholePart(bytes, answer) {
  const boundary = /boundary="?([^";]+)/.exec(answer.headers.get('content-type') ?? '')?.[1]
  if (!boundary) return bytes
  const begin = bytes.indexOf('\r\n\r\n') + 4
  return bytes.subarray(begin, bytes.lastIndexOf(`\r\n--${boundary}`))
}

function validate(file) {
  try {
    execFileSync('dciodvfy', ['-new', file], { encoding: 'utf8', stdio: 'pipe' })
    return undefined
  } catch (error) {
    return /^Error.*$/m.exec(`${error.stderr}`)?.[0]
  }
}
