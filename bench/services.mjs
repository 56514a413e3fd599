// Receiving by C-STORE: Radbridge beside dcmtk's storescp (which does not sync) and Orthanc (which syncs its files, not its index), in turn within each round; 300 CT instances by storescu over 1 and 4 associations.
// Two rounds before those that count warm all of them up.
// node bench/services.mjs [ROUNDS] — after `npm run build`. Peers: Debian packages dcmtk, orthanc.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, hasOrthanc, startOrthanc, startRadbridge } from './contenders.mjs'
import { makeInstances, renew } from './load.mjs'

process.env.TCP_NODELAY = '1' // else dcmtk and Orthanc wait 40 ms for each object
const rounds = Number(process.argv[2] ?? 3)
const warmUp = 2
const scratch = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'radbridge-services-'))
const instances = makeInstances(300)
const megabytes = instances.reduce((sum, bytes) => sum + bytes.length, 0) / 1e6
const lanes = 4
const folders = Array.from({ length: lanes }, (_, i) => join(scratch, `lane-${i}`))
for (const folder of folders) mkdirSync(folder)

const own = await freePort()
const radbridge = await startRadbridge({ RADBRIDGE_DIMSE_PORT: String(own) })
const there = await freePort()
const received = join(scratch, 'received')
mkdirSync(received)
const storescp = spawn('storescp', ['--fork', '+B', '-od', received, String(there)], { stdio: 'ignore' })
const orthancPort = await freePort()
const orthanc = hasOrthanc
  ? await startOrthanc({
      DicomServerEnabled: true,
      DicomPort: orthancPort,
      DicomAet: 'ORTHANC',
      DicomCheckCalledAet: false,
      DicomAlwaysAllowStore: true,
    })
  : undefined
await sleep(500)
const servers = [
  { name: 'Radbridge', port: own, aeTitle: 'RADBRIDGE' },
  { name: 'storescp', port: there, aeTitle: 'STORESCP' },
  ...(orthanc ? [{ name: 'Orthanc', port: orthancPort, aeTitle: 'ORTHANC' }] : []),
]

function send(folder, { port, aeTitle }) {
  return new Promise((resolve, reject) => {
    const child = spawn('storescu', ['-aec', aeTitle, '-xe', '+sd', '127.0.0.1', String(port), ...folder], {
      stdio: 'inherit',
    })
    child.once('exit', code => (code === 0 ? resolve() : reject(new Error(`storescu ended with ${code}`))))
  })
}

const results = new Map()
for (let round = -warmUp; round < rounds; round++) {
  for (const associations of [1, 4]) {
    for (const server of servers) {
      renew(instances)
      for (const [i, bytes] of instances.entries()) writeFileSync(join(folders[i % lanes], `${i}.dcm`), bytes)
      const start = performance.now()
      if (associations === 1) await send(folders, server)
      else await Promise.all(folders.map(folder => send([folder], server)))
      const key = `${associations} ${server.name}`
      if (round < 0) continue
      results.set(key, [...(results.get(key) ?? []), megabytes / ((performance.now() - start) / 1000)])
    }
  }
}
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1]
console.log(
  `C-STORE of 300 CT instances, ${megabytes.toFixed(0)} MB, median of ${rounds} rounds, MB/s (Radbridge durable, storescp not)`,
)
for (const associations of [1, 4]) {
  const rates = servers.map(server => median(results.get(`${associations} ${server.name}`)))
  const columns = servers.map((server, i) => `${server.name} ${rates[i].toFixed(0)}`)
  const ratios = servers.slice(1).map((server, i) => `${(rates[0] / rates[i + 1]).toFixed(2)} × ${server.name}`)
  console.log(
    `${associations} association${associations > 1 ? 's' : ' '} ${columns.join('   ')}   Radbridge = ${ratios.join(', ')}`,
  )
}
storescp.kill()
await Promise.all([radbridge.stop(), orthanc?.stop()])
rmSync(scratch, { recursive: true, force: true })
process.exit(0)
