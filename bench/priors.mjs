// Follow-up of 500 prior images: 50 earlier examinations of 10 images, one image a request, 200 ms a request, 10 at a time. node bench/priors.mjs — after `npm run build`.
// Beside it, in the same run, 500 bare requests of the same size at the same concurrency.
import { fork } from 'node:child_process'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { startRadbridge } from './contenders.mjs'
import { post } from './load.mjs'
import { priorImage } from './singleImage.mjs'

const [examinations, images, latency, concurrency] = [50, 10, 200, 10]
const child = fork(fileURLToPath(new URL('../test/fakes/imagingProvider.mjs', import.meta.url)), { execArgv: [] })
const { url } = await new Promise(resolve => child.once('message', resolve))
const behave = behaviour =>
  request(`${url}/behaviour`, { method: 'PUT', body: JSON.stringify(behaviour) }).then(r => r.body.dump())
const radbridge = await startRadbridge(
  { RADBRIDGE_QUIET_SECONDS: '1' },
  `providers: [{ name: remote, kind: imaging-rest, endpoint: analyze, baseUrl: '${url}', concurrency: ${concurrency} }]
routes:
  - { name: current, match: { description: CURRENT }, analysis: { primary: remote, priors: { max: 100, within: P20Y, analyze: true } }, results: [sr] }
`,
)
const api = radbridge.probe.replace('/readyz', '/api/studies/')
const agent = new http.Agent({ keepAlive: true })

for (let n = 0; n < examinations; n++) {
  const day = new Date(Date.UTC(2015, 0, 1 + n * 30)).toISOString().slice(0, 10).replaceAll('-', '')
  const study = `1.2.826.0.1.3680043.10.1.${n + 1}`
  await post(
    radbridge.stow,
    agent,
    Array.from({ length: images }, (_, i) => priorImage(study, i + 1, day, 'PRIOR')),
  )
}
await sleep(2500) // they settle, and no route matches them
await behave({ latency, keepBodies: true })

// The floor: the same requests without us.
const sample = priorRequest()
const bare = new Agent({ connections: concurrency })
const floorStart = performance.now()
let sent = 0
await Promise.all(
  Array.from({ length: concurrency }, async () => {
    while (sent++ < examinations * images) {
      const { body } = await request(`${url}/medical-imaging/analyze`, { method: 'POST', dispatcher: bare, ...sample })
      await body.dump()
    }
  }),
)
const floor = (performance.now() - floorStart) / 1000
await behave({ latency, findings: [{ label: 'nodule', box: [4, 4, 9, 9] }] })
await request(`${url}/log`, { method: 'DELETE' }).then(r => r.body.dump())

const study = '1.2.826.0.1.3680043.10.1.9999'
await post(radbridge.stow, agent, [priorImage(study, 1, '20260101', 'CURRENT')])
let [began, first, last] = [0, 0, 0]
await new Promise((resolve, reject) => {
  http.get(`${api}${study}/events`, res => {
    let text = ''
    res.on('data', chunk => {
      text += chunk
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const block = text.slice(0, end)
        text = text.slice(end + 2)
        const data = JSON.parse(/^data: (.*)$/m.exec(block)[1])
        if (data.kind === 'analyzing') began = Date.parse(data.at)
        if (block.startsWith('event: progress')) {
          first ||= Date.now()
          if (data.done === data.of) last = Date.now()
        }
      }
    })
    res.on('end', resolve)
    res.on('error', reject)
  })
})
const log = await (await request(`${url}/log`)).body.json()
const span = (Math.max(...log.map(entry => entry.at)) + latency - Math.min(...log.map(entry => entry.at))) / 1000
const ideal = Math.ceil((examinations * images + 1) / concurrency) * (latency / 1000)
console.log(
  `${log.length} images of ${examinations} earlier examinations and this one, ${latency} ms each, ${concurrency} at a time: ` +
    `${((last - began) / 1000).toFixed(2)} s from the beginning of the analysis to the last answer told, ${span.toFixed(2)} s at the provider; ` +
    `ideal ${ideal.toFixed(1)} s: ${((last - began) / 1000 / ideal).toFixed(3)} × (asked for: 1.05); bare requests ${floor.toFixed(2)} s; ` +
    `first partial result told after ${((first - began) / 1000).toFixed(2)} s (asked for: 0.5)`,
)
await radbridge.stop()
await bare.close()
child.kill()
process.exit(0)

function priorRequest() {
  const boundary = 'bench'
  const header = {
    images: [
      { index: 0, part: 'image-0', format: 'raw', rows: 256, columns: 256, samples_per_pixel: 1, bytes_per_sample: 2 },
    ],
  }
  const body = Buffer.concat([
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="image-0"; filename="image-0"\r\nContent-Type: application/octet-stream\r\n\r\n`,
    ),
    Buffer.alloc(256 * 256 * 2),
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Disposition: form-data; name="request"; filename="request"\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(header)}\r\n--${boundary}--\r\n`,
    ),
  ])
  return { headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` }, body }
}
