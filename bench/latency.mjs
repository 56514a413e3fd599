// From the last byte of a single-image study to its SR accepted by the PACS, with quiet period 0 and the analysis time taken out.
// node bench/latency.mjs [STUDIES] — after `npm run build`. The PACS is a second Radbridge that only archives.
import http from 'node:http'
import { startRadbridge } from './contenders.mjs'
import { post } from './load.mjs'
import { singleImage } from './singleImage.mjs'

const count = Number(process.argv[2] ?? 500)
const accepted = new Map()
// In front of the PACS: notes when its answer to the delivery comes back.
const pacs = await startRadbridge()
const gate = http
  .createServer((req, res) => {
    const forward = http.request(new URL(req.url, pacs.stow), { method: req.method, headers: req.headers }, answer => {
      const chunks = []
      answer.on('data', chunk => chunks.push(chunk))
      answer.on('end', () => {
        const body = Buffer.concat(chunks)
        const study = /studies\/([0-9.]+)/.exec(body.toString())?.[1]
        if (study) accepted.set(study, performance.now())
        res
          .writeHead(answer.statusCode, { 'Content-Type': 'application/dicom+json', 'Content-Length': body.length })
          .end(body)
      })
    })
    req.pipe(forward)
  })
  .listen(0, '127.0.0.1')
await new Promise(resolve => gate.once('listening', resolve))
const radbridge = await startRadbridge(
  { RADBRIDGE_QUIET_SECONDS: '0' },
  `destinations: [{ name: pacs, stow: { url: 'http://127.0.0.1:${gate.address().port}/dicom-web' } }]
routes: [{ name: all, analysis: { primary: reference }, deliverTo: [pacs] }]\n`,
)
const api = radbridge.probe.replace('/readyz', '/api/studies/')
const agent = new http.Agent({ keepAlive: true })
const get = url =>
  new Promise((resolve, reject) =>
    http
      .get(url, { agent }, res => {
        let text = ''
        res.on('data', chunk => (text += chunk)).on('end', () => resolve(JSON.parse(text)))
      })
      .on('error', reject),
  )

const samples = []
for (let n = 0; n < count + 20; n++) {
  const study = `1.2.826.0.1.3680043.10.9.${process.pid}.${n}`
  const bytes = singleImage(study)
  const sent = performance.now()
  await post(radbridge.stow, agent, [bytes])
  while (!accepted.has(study)) {
    if (performance.now() - sent > 20_000) throw new Error(`no report for study ${n}`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  const total = accepted.get(study) - sent
  const { timeline } = await get(api + study)
  const at = kind => Date.parse(timeline.find(event => event.kind === kind).at)
  // The analysis itself: from its start to the state that follows it.
  const analysis = at('reporting') - at('analyzing')
  if (n >= 20) samples.push({ total, own: total - analysis })
}
const percentile = (key, q) => {
  const values = samples.map(s => s[key]).sort((a, b) => a - b)
  return values[Math.min(values.length - 1, Math.floor(values.length * q))].toFixed(1)
}
console.log(`${count} single-image studies, one after another, ms from first byte sent to SR accepted`)
console.log(
  `without analysis   p50 ${percentile('own', 0.5)}   p95 ${percentile('own', 0.95)}   p99 ${percentile('own', 0.99)}`,
)
console.log(
  `all                p50 ${percentile('total', 0.5)}   p95 ${percentile('total', 0.95)}   p99 ${percentile('total', 0.99)}`,
)
gate.close()
gate.closeAllConnections()
agent.destroy()
await radbridge.stop()
await pacs.stop()
