// What CT studies of 300 slices of 512 × 512 cost from their first byte to their report, for the sizing table: node bench/capacity.mjs [STUDIES=20]
// They are sent uncompressed, and then in JPEG 2000 (by gdcmconv, where installed). Each image goes to a provider; results go into a folder.
// Printed: seconds of processor time a study (service, PostgreSQL), the most memory of the service, and what an instance leaves in the database.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../test/torture/cluster.mjs'
import { Answers, Studies, sendByStow } from '../test/torture/senders.mjs'
import { startChain } from './chain.mjs'
import { compress, compressors, hasProgram } from './images.mjs'

const count = Number(process.argv[2] ?? 20)
const slices = 300
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-capacity-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

console.log(
  '| CT studies of 300 images | s a study | processor: service | PostgreSQL | memory, MB | database, KB an image |',
)
console.log('| --- | --- | --- | --- | --- | --- |')
await measure('uncompressed', file => file)
if (hasProgram('gdcmconv')) await measure('JPEG 2000', file => compress(file, compressors['JPEG 2000']))
process.exit()

async function measure(name, encode) {
  const folder = mkdtempSync(join(scratch, 'run-'))
  const { node, pool, stop } = await startChain(folder, { latency: [50, 10], environment: { RADBRIDGE_WORKERS: '2' } })
  const studies = new Studies(slices, 512)
  studies.files = studies.files.map(encode)
  const answers = new Answers()
  const { pid } = node.child
  let most = 0
  const watch = setInterval(() => (most = Math.max(most, residentMegabytes(pid))), 200)
  const size = () => pool.query(`select pg_total_relation_size('instance')::float8 n`).then(({ rows }) => rows[0].n)
  const before = {
    processor: processorSeconds(pid),
    postgres: postgresSeconds(),
    at: performance.now(),
    size: await size(),
  }
  for (let study = 1; study <= count; study++)
    await sendByStow(`${node.url}/dicom-web`, studies, study, answers, new AbortController().signal, 0)
  await until(
    `${count} studies`,
    async () => {
      const { rows } = await pool.query(`select count(*)::int n from study_revision where state = 'completed'`)
      return rows[0].n === count
    },
    600,
  )
  const of = (now, then) => ((now - then) / count).toFixed(2)
  clearInterval(watch)
  console.log(
    `| ${name} | ${of(performance.now() / 1000, before.at / 1000)} | ${of(processorSeconds(pid), before.processor)} | ${of(postgresSeconds(), before.postgres)} | ${most.toFixed(0)} | ${(((await size()) - before.size) / count / slices / 1024).toFixed(1)} |`,
  )
  await stop()
}

function residentMegabytes(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024
}

/** User and system time of a process, seconds. */
function processorSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Of all processes of PostgreSQL that run. */
function postgresSeconds() {
  let seconds = 0
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name)))
    try {
      if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres') seconds += processorSeconds(pid)
    } catch {} // it has ended
  return seconds
}
