// Calls to a remote provider, against the fake one in a process of its own. node bench/analysis.mjs — after `npm run build`.
//   1. Own overhead of a call, decoding excluded: a study of one 512 × 512 image through the provider client, beside a bare undici request with the same body.
//   2. Completeness: 500 images, 30 % silently dropped, 10 % errors, and a rate limit: results, requests and seconds beside the least that the losses and the limit allow.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { startPreparation } from '../dist/analysis/calling/preparation.js'
import { createHttpProvider } from '../dist/analysis/providers/createHttpProvider.js'
import { migrate, openDatabase } from '../dist/platform/database.js'
import { startEmbeddedPostgres } from '../dist/platform/embeddedPostgres.js'
import { migrateJobs } from '../dist/platform/jobs.js'
import { silentLog } from '../dist/platform/log.js'
import { parseEndpoints } from '../dist/platform/readEndpoints.js'

const child = fork(fileURLToPath(new URL('../test/fakes/imagingProvider.mjs', import.meta.url)))
const { url } = await new Promise(resolve => child.once('message', resolve))
const behave = behaviour =>
  request(`${url}/behaviour`, { method: 'PUT', body: JSON.stringify(behaviour) }).then(r => r.body.dump())
const log = async () => await (await request(`${url}/log`, { method: 'DELETE' })).body.json()

function studyOf(images, size) {
  const header = { '00080060': { vr: 'CS', Value: ['CT'] }, '00280010': { vr: 'US', Value: [size] } }
  const samples = new Uint16Array(size * size)
  return {
    studyInstanceUid: `1.2.${images}.${Math.random()}`,
    revision: 1,
    undecodable: [],
    objects: async function* () {},
    series: [
      {
        seriesInstanceUid: '1.2.3',
        modality: 'CT',
        images: Array.from({ length: images }, (_, i) => ({
          sopInstanceUid: `1.2.3.${i}`,
          sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
          frame: 1,
          rows: size,
          columns: size,
          imageType: [],
          rescale: { slope: 1, intercept: -1024, unit: 'HU' },
          header,
          pixels: async () => ({ samples, photometric: 'MONOCHROME2', bitsStored: 12, signed: false }),
        })),
      },
    ],
  }
}
const folder = mkdtempSync(join(tmpdir(), 'radbridge-bench-'))
const postgres = await startEmbeddedPostgres(folder, silentLog)
const database = openDatabase(postgres.connection, silentLog)
await migrate(database, silentLog)
await migrateJobs(database, silentLog)
const preparation = startPreparation(1)
let clients = 0
const client = more => {
  const { providers } = parseEndpoints(
    JSON.stringify({
      providers: [{ name: `bench-${++clients}`, kind: 'imaging-rest', baseUrl: url, maxRetries: 30, ...more }],
    }),
    'bench',
  )
  return createHttpProvider(providers[0], { database, ...preparation, pseudonymKey: 'bench' })
}
const never = new AbortController().signal
const percentile = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)].toFixed(2)

// 1
await behave({})
const provider = client({ concurrency: 1 })
const study = studyOf(1, 512)
await behave({ keepBodies: true })
await provider.analyze(study, never)
const body = Buffer.from((await log())[0].body, 'base64')
const boundary = /^--([^\r]+)/.exec(body.toString('latin1', 0, 100))[1]
await behave({})
const agent = new Agent({ connections: 1 })
const bare = async () => {
  const answer = await request(`${url}/medical-imaging/batch`, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body,
  })
  await answer.body.json()
}
const time = async call => {
  const start = performance.now()
  await call()
  return performance.now() - start
}
const [ours, floor] = [[], []]
for (let i = 0; i < 300; i++) {
  floor.push(await time(bare))
  ours.push(await time(() => provider.analyze(study, never)))
}
const [o, f] = [ours.slice(50), floor.slice(50)]
console.log(
  `a call with one image of 512 × 512, ms: p50 ${percentile(o, 0.5)} p95 ${percentile(o, 0.95)}; a bare undici request with the same body: p50 ${percentile(f, 0.5)} p95 ${percentile(f, 0.95)}`,
)
console.log(`own overhead p50 ${(percentile(o, 0.5) - percentile(f, 0.5)).toFixed(2)} ms (asked for: 5)`)
await provider.close()

// 2
const perMinute = 120
for (const [label, behaviour, kept] of [
  ['30 % of the images dropped, 10 % answered with an error', { drop: 0.3, failImages: 0.1 }, 0.7 * 0.9],
  ['the same, and 10 % of the requests failing', { drop: 0.3, failImages: 0.1, failRequests: 0.1 }, 0.7 * 0.9 * 0.9],
]) {
  await behave({ ...behaviour, limit: perMinute / 60 + 1 })
  await log()
  const limited = client({ requestsPerMinute: perMinute })
  const start = performance.now()
  const { findings } = await limited.analyze(studyOf(500, 64), never)
  const seconds = (performance.now() - start) / 1000
  const requests = (await log()).length
  const least = Math.ceil(500 / kept / 50)
  const spaced = count => ((count - 1) * 60) / perMinute
  console.log(
    `500 images, ${label}, ${perMinute} requests a minute: ${findings.status === 'no-findings' ? 'all answered' : findings.reason}; ` +
      `${requests} requests, the least for such losses is ${least}: ${(requests / least).toFixed(2)} × (asked for: 1.6); ${seconds.toFixed(1)} s, ` +
      `the limit allows that many in ${spaced(requests).toFixed(1)} s: ${(seconds / spaced(requests)).toFixed(2)} × (asked for: 1.15), the least in ${spaced(least).toFixed(1)} s`,
  )
  await limited.close()
}
await agent.close()
child.kill()
await preparation.close()
await database.end()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })
