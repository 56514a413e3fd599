// Receiving by STOW-RS: Radbridge beside Orthanc (where installed) and the floor, in turn within each round.
// Two rounds before those that count warm all of them up: what V8 compiles, caches, connections.
// node bench/ingest.mjs [ROUNDS] — after `npm run build`. Peers: Debian packages orthanc, orthanc-dicomweb.
import { hasOrthanc, residentBytes, startFloor, startOrthanc, startRadbridge } from './contenders.mjs'
import { makeInstances, pushAsOne, pushEach, renew } from './load.mjs'

const rounds = Number(process.argv[2] ?? 3)
const warmUp = 2
const instances = makeInstances(300)
const megabytes = instances.reduce((sum, bytes) => sum + bytes.length, 0) / 1e6
const servers = [await startRadbridge(), await startFloor(), ...(hasOrthanc ? [await startOrthanc()] : [])]
const modes = [
  ['one request', (url, all) => pushAsOne(url, all)],
  ['1 client', (url, all) => pushEach(url, all, 1)],
  ['4 clients', (url, all) => pushEach(url, all, 4)],
  ['8 clients', (url, all) => pushEach(url, all, 8)],
]
const results = new Map()
for (let round = -warmUp; round < rounds; round++) {
  for (const [mode, push] of modes) {
    for (const server of servers) {
      renew(instances)
      const seconds = await push(server.stow, instances)
      const key = `${mode} ${server.name}`
      if (round >= 0) results.set(key, [...(results.get(key) ?? []), megabytes / seconds])
    }
  }
}
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1]
console.log(`300 CT instances, ${megabytes.toFixed(0)} MB, median of ${rounds} rounds, MB/s`)
for (const [mode] of modes) {
  const rates = servers.map(server => median(results.get(`${mode} ${server.name}`)))
  const columns = servers.map((server, i) => `${server.name} ${rates[i].toFixed(0)}`)
  const ratios = servers.slice(1).map((server, i) => `${(rates[0] / rates[i + 1]).toFixed(2)} × ${server.name}`)
  console.log(`${mode.padEnd(12)} ${columns.join('   ')}   Radbridge = ${ratios.join(', ')}`)
}

const [radbridge] = servers
const before = residentBytes(radbridge.child.pid)
let peak = before
const watch = setInterval(() => (peak = Math.max(peak, residentBytes(radbridge.child.pid))), 20)
const large = makeInstances(8)
const many = Array.from({ length: 1950 }, (_, i) => Buffer.from(large[i % 8]))
renew(many)
await pushAsOne(radbridge.stow, many)
clearInterval(watch)
console.log(
  `resident memory while ${(many.reduce((sum, b) => sum + b.length, 0) / 1e9).toFixed(2)} GB arrive in one request: ${(before / 1e6).toFixed(0)} MB before, ${(peak / 1e6).toFixed(0)} MB at most`,
)
await Promise.all(servers.map(server => server.stop()))
