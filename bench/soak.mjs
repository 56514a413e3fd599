// A long run at full rate: node bench/soak.mjs [MINUTES=30]
// Modalities send studies of 20 small instances as fast as they come to their reports (they wait while a hundred are on their way), each is analysed by a provider and reported into a
// folder, a viewer searches and reads.
// Printed: memory and file handles of the service over time, with their slopes, and the latencies of the first and the last tenth.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Answers, Studies, sendByDimse, sendByStow } from '../test/torture/senders.mjs'
import { startChain } from './chain.mjs'

const minutes = Number(process.argv[2] ?? 30)
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-soak-'))
const { node, pool, stop } = await startChain(scratch, { latency: [20, 5] })

const studies = new Studies(20)
const answers = new Answers()
const end = new AbortController()
const began = performance.now()
const now = () => (performance.now() - began) / 1000
const latencies = { 'STOW-RS, 10 instances': [], 'QIDO-RS': [] }
let next = 1
/** Studies that have not come to their end. */
let onTheirWay = 0
const turn = async () => {
  while (onTheirWay > 100 && !end.signal.aborted) await sleep(50)
  return next++
}
const stow = async () => {
  while (!end.signal.aborted) {
    const study = await turn()
    const at = performance.now()
    await sendByStow(`${node.url}/dicom-web`, studies, study, answers, end.signal, 0)
    latencies['STOW-RS, 10 instances'].push([now(), (performance.now() - at) / 2])
  }
}
const dimse = async () => {
  while (!end.signal.aborted) await sendByDimse(node.dimsePort, studies, await turn(), answers, end.signal, scratch, 0)
}
const viewer = async () => {
  while (!end.signal.aborted) {
    const at = performance.now()
    const study = studies.instance(Math.max(1, next - 20), 0).studyInstanceUid
    const answer = await fetch(`${node.url}/dicom-web/studies/${study}/instances?Modality=SR`)
    await answer.arrayBuffer()
    latencies['QIDO-RS'].push([now(), performance.now() - at])
    await sleep(100)
  }
}
const samples = []
const watch = async () => {
  while (!end.signal.aborted) {
    const { pid } = node.child
    const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024
    samples.push({ at: now(), resident, handles: readdirSync(`/proc/${pid}/fd`).length })
    await sleep(2000)
  }
}
const count = async () => {
  while (!end.signal.aborted) {
    const { rows } = await pool.query(
      `select count(*)::int n from study_revision where state in ('receiving', 'settled', 'analyzing', 'reporting', 'delivering')`,
    )
    onTheirWay = rows[0].n
    await sleep(500)
  }
}
const tell = async () => {
  for (let minute = 1, from = next; !end.signal.aborted; minute++) {
    await sleep(60_000, undefined, { signal: end.signal }).catch(() => {})
    const since = (list, p) =>
      percentile(
        list.filter(([at]) => at > now() - 60).map(([, ms]) => ms),
        p,
      ).toFixed(0)
    const last = Object.entries(latencies).map(
      ([name, list]) => `${name} p50 ${since(list, 0.5)} p99 ${since(list, 0.99)}`,
    )
    console.log(
      `minute ${minute}: ${next - from} studies, ${onTheirWay} on their way; ms: ${last.join('; ')}; ${samples.at(-1).resident.toFixed(0)} MB`,
    )
    from = next
  }
}
const work = [stow(), stow(), dimse(), viewer(), watch(), count(), tell()]
await sleep(minutes * 60_000)
end.abort()
await Promise.all(work)

const seconds = now()
const sent = studies.slices * (next - 1)
console.log(
  `${Math.round(seconds / 60)} minutes: ${next - 1} studies, ${sent} instances, ${Math.round(sent / seconds)} a second\n`,
)
console.log('| | first tenth | last tenth | slope an hour |\n| --- | --- | --- | --- |')
// What is warmed up in the first tenth is no leak.
const warm = samples.filter(({ at }) => at > seconds / 10)
for (const [name, key] of [
  ['resident memory, MB', 'resident'],
  ['file handles', 'handles'],
]) {
  const mean = list => list.reduce((sum, sample) => sum + sample[key], 0) / list.length
  const first = warm.filter(({ at }) => at < seconds * 0.2)
  const last = warm.filter(({ at }) => at > seconds * 0.9)
  console.log(
    `| ${name} | ${mean(first).toFixed(0)} | ${mean(last).toFixed(0)} | ${(slope(warm.map(s => [s.at, s[key]])) * 3600).toFixed(1)} |`,
  )
}
for (const [name, list] of Object.entries(latencies)) {
  const p99 = part =>
    percentile(
      part.map(([, ms]) => ms),
      0.99,
    )
  const first = p99(list.filter(([at]) => at < seconds * 0.1))
  const last = p99(list.filter(([at]) => at > seconds * 0.9))
  console.log(`| ${name}: p99, ms | ${first.toFixed(1)} | ${last.toFixed(1)} | × ${(last / first).toFixed(2)} |`)
}
console.log('\nanswers:', Object.fromEntries(answers.counts))
await stop()
rmSync(scratch, { recursive: true, force: true })
process.exit()

function percentile(values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** Of the straight line through the points, by least squares. */
function slope(points) {
  const [mx, my] = [0, 1].map(i => points.reduce((sum, point) => sum + point[i], 0) / points.length)
  return (
    points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0)
  )
}
