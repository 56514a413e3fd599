// Retrieving and searching: Radbridge beside Orthanc (where installed), in turn; then QIDO-RS over a large index.
// node bench/dicomweb.mjs [INSTANCES_OF_INDEX] — after `npm run build`. Peers: Debian packages orthanc, orthanc-dicomweb.
import { execFileSync } from 'node:child_process'
import http from 'node:http'
import { join } from 'node:path'
import pg from 'pg'
import { fillArchive } from '../test/fixtures/manyStudies.mjs'
import { hasOrthanc, startMemory, startOrthanc, startRadbridge } from './contenders.mjs'
import { makeInstances, pushAsOne, renew } from './load.mjs'

const indexed = Number(process.argv[2] ?? 1_000_000)
const rounds = 9
const servers = [await startRadbridge(), ...(hasOrthanc ? [await startOrthanc()] : [])]
const agent = new http.Agent({ keepAlive: true })

function get(url) {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent, headers: { Accept: 'application/dicom+json' } }, res => {
        let bytes = 0
        res.on('data', chunk => (bytes += chunk.length))
        res.on('end', () =>
          res.statusCode === 200
            ? resolve({ bytes, ms: performance.now() - began })
            : reject(new Error(`${res.statusCode} ${url}`)),
        )
      })
      .on('error', reject)
  })
}
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1]
const percentile = (values, p) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))]
/** @param ask of a contender: ms, and bytes of its answer. Two rounds before those that count warm all of them up. @returns ms by name, medians */
async function inTurn(contenders, ask) {
  const times = Object.fromEntries(contenders.map(({ name }) => [name, []]))
  let size = 0
  for (let round = -2; round < rounds; round++)
    for (const contender of contenders) {
      const { ms, bytes } = await ask(contender)
      if (round >= 0) times[contender.name].push(ms)
      size ||= bytes
    }
  return { bytes: size, ms: Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)])) }
}
const studyOf = bytes => {
  const at = bytes.indexOf(Buffer.from('20000d005549', 'hex'))
  const length = bytes.readUInt16LE(at + 6)
  return bytes.toString('latin1', at + 8, at + 8 + length).replace(/\0$/, '')
}

const large = makeInstances(300)
renew(large)
for (const server of servers) await pushAsOne(server.stow, large)
// By curl: a client in Node.js is slower than both.
const retrieve = url => {
  const accept = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
  const [seconds, bytes] = execFileSync(
    'curl',
    ['-s', '-o', '/dev/null', '-w', '%{time_total} %{size_download}', '-H', accept, url],
    { encoding: 'utf8' },
  )
    .split(' ')
    .map(Number)
  return { ms: seconds * 1000, bytes }
}
const floor = await startMemory(large[0].length, large.length)
const wado = await inTurn([...servers, floor], ({ stow, url }) => retrieve(url ?? `${stow}/${studyOf(large[0])}`))
await floor.stop()
console.log(
  `WADO-RS of a study of 300 CT instances, ${(wado.bytes / 1e6).toFixed(0)} MB, median of ${rounds}, MB/s (floor: a bare node:http server that sends memory): ` +
    Object.entries(wado.ms)
      .map(([name, ms]) => `${name} ${(wado.bytes / 1e3 / ms).toFixed(0)}`)
      .join('   ') +
    `   Radbridge = ${(wado.ms.floor / wado.ms.Radbridge).toFixed(2)} × floor` +
    (hasOrthanc ? `, ${(wado.ms.Orthanc / wado.ms.Radbridge).toFixed(2)} × Orthanc` : ''),
)

// The same headers, with few pixels: the metadata is what counts.
const many = makeInstances(2000).map(bytes => withoutPixels(bytes))
renew(many)
for (const server of servers) await pushAsOne(server.stow, many)
const metadata = await inTurn(servers, ({ stow }) => get(`${stow}/${studyOf(many[0])}/metadata`))
console.log(
  `metadata of a study of 2,000 instances, ${(metadata.bytes / 1e6).toFixed(1)} MB: ` +
    Object.entries(metadata.ms)
      .map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`)
      .join('   ') +
    (hasOrthanc ? `   = ${(metadata.ms.Orthanc / metadata.ms.Radbridge).toFixed(2)} × Orthanc` : ''),
)

/** 2 rows of 512 pixels. */
function withoutPixels(bytes) {
  const at = bytes.indexOf(Buffer.from('e07f1000', 'hex'))
  const head = Buffer.from(bytes.subarray(0, at + 12))
  const rows = head.indexOf(Buffer.from('280010005553', 'hex'))
  head.writeUInt16LE(2, rows + 8)
  head.writeUInt32LE(2048, at + 8)
  return Buffer.concat([head, bytes.subarray(at + 12, at + 12 + 2048)])
}

const studies = Math.round(indexed / 100)
const pool = new pg.Pool({
  host: join(servers[0].data, 'postgres-socket'),
  user: 'radbridge',
  database: 'radbridge',
  options: '-c search_path=radbridge',
})
const began = performance.now()
await fillArchive(pool, 1, studies)
const [{ count }] = (await pool.query('select count(*) from instance')).rows
console.log(
  `\nQIDO-RS over ${count} instances (filled in ${((performance.now() - began) / 1000).toFixed(0)} s), ms over HTTP:`,
)
const pick = n => 1 + Math.floor((n * 7919) % studies)
const day = n => `${2016 + (n % 9)}${String(1 + (n % 12)).padStart(2, '0')}10`
const queries = {
  'studies of a patient': n => `?PatientID=P${Math.floor(pick(n) / 3)}`,
  'by accession number': n => `?AccessionNumber=A${pick(n)}`,
  'by date, newest first, 50': n => `?StudyDate=${day(n)}-${day(n).slice(0, 6)}20&limit=50`,
  'by name with wildcard': n => `?PatientName=name${Math.floor(pick(n) / 3)}*`,
  'the newest 101': () => '?limit=101&includefield=00081030,00080060',
  'by modality, 101': n => `?ModalitiesInStudy=${['CT', 'MR', 'DX', 'US'][n % 4]}&limit=101`,
  'by description and date': n => `?StudyDescription=Chest&StudyDate=${day(n)}-${day(n + 1)}&limit=50`,
  'series of a study': n => `/1.2.826.0.1.${pick(n)}/series`,
  'instances of a study': n => `/1.2.826.0.1.${pick(n)}/instances`,
}
for (const [name, path] of Object.entries(queries)) {
  const times = []
  for (let n = 0; n < 120; n++) {
    const { ms } = await get(servers[0].stow + path(n)).catch(error => {
      if (String(error.message).startsWith('204')) return { ms: 0 }
      throw error
    })
    if (n >= 20) times.push(ms)
  }
  console.log(
    `${name.padEnd(28)} p50 ${median(times).toFixed(1).padStart(6)}   p95 ${percentile(times, 0.95).toFixed(1).padStart(6)}`,
  )
}
await pool.end()
agent.destroy()
await Promise.all(servers.map(server => server.stop()))
process.exit(0)
