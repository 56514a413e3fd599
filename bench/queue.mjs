// Memory while 2,000 studies wait for a slow provider. node bench/queue.mjs [STUDIES] — after `npm run build`. Linux.
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { startRadbridge } from './contenders.mjs'
import { post } from './load.mjs'
import { singleImage } from './singleImage.mjs'

const count = Number(process.argv[2] ?? 2000)
const child = fork(fileURLToPath(new URL('../test/fakes/imagingProvider.mjs', import.meta.url)), { execArgv: [] })
const { url } = await new Promise(resolve => child.once('message', resolve))
await request(`${url}/behaviour`, { method: 'PUT', body: JSON.stringify({ latency: 3000 }) }).then(r => r.body.dump())
const radbridge = await startRadbridge(
  { RADBRIDGE_QUIET_SECONDS: '0' },
  `providers: [{ name: slow, kind: imaging-rest, baseUrl: '${url}' }]\nroutes: [{ name: all, analysis: { primary: slow } }]\n`,
)
const resident = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${radbridge.child.pid}/status`, 'utf8'))[1]) / 1024
const agent = new http.Agent({ keepAlive: true })
const before = resident()
for (let n = 0; n < count; n += 100)
  await post(
    radbridge.stow,
    agent,
    Array.from({ length: Math.min(100, count - n) }, (_, i) => singleImage(`1.2.826.0.1.3680043.10.2.${n + i + 1}`)),
  )
const samples = []
for (let second = 0; second < 40; second++) {
  await sleep(1000)
  samples.push(resident())
}
const list = await (
  await request(radbridge.probe.replace('/readyz', '/api/studies?state=settled&limit=1000'))
).body.json()
const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length
console.log(
  `${count} studies pushed to a provider that takes 3 s: resident ${before.toFixed(0)} MB before, ${mean(samples.slice(5, 15)).toFixed(0)} MB after 5 to 15 s, ` +
    `${mean(samples.slice(30)).toFixed(0)} MB after 30 to 40 s, ${Math.max(...samples).toFixed(0)} MB at most; at least ${list.length} still wait`,
)
await radbridge.stop()
child.kill()
process.exit(0)
