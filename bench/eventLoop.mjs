// Delay of the service's event loop while a 300-slice JPEG 2000 study is normalized in it and STOW-RS requests arrive beside it.
// node bench/eventLoop.mjs — after `npm run build`. Compressor: Debian package libgdcm-tools (or HTJ2K, where it is absent).
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { startService } from '../dist/main.js'
import { startPixelPool } from '../dist/pixels/pool.js'
import { silentLog } from '../dist/platform/log.js'
import { loadSettings } from '../dist/platform/settings.js'
import { compress, compressors, htj2k, uncompressed } from './images.mjs'
import { makeInstances, pushEach, renew } from './load.mjs'

if (process.send) {
  // The sender, a process of its own: one instance a request, until it is told to stop.
  const instances = makeInstances(40)
  const [, , url, clients] = process.argv
  let sent = 0
  process.on('message', () => process.exit(0))
  for (;;) {
    renew(instances)
    await pushEach(url, instances, Number(clients))
    sent += instances.length
    process.send(sent)
  }
}

const slices = 300
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-loop-'))
writeFileSync(join(scratch, 'endpoints.yaml'), 'routes: []\n')
const settings = loadSettings({
  RADBRIDGE_DATA_DIR: join(scratch, 'data'),
  RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
  RADBRIDGE_HTTP_PORT: '0',
  RADBRIDGE_DIMSE_PORT: '0',
  RADBRIDGE_QUIET_SECONDS: '3600',
})
const service = await startService(settings, silentLog)
const pool = startPixelPool(settings.analysis.workers)
const ct = { rows: 512, columns: 512, bits: 16 }
const path = join(scratch, 'slice.dcm')
writeFileSync(path, compress(uncompressed(ct), compressors['JPEG 2000']) ?? (await htj2k(ct)))
await Promise.all([pool.frame(path, 0), pool.frame(path, 0)])

let sent = 0
const sender = fork(fileURLToPath(import.meta.url), [`${service.url}/dicom-web/studies`, '4'])
sender.on('message', total => (sent = total))
while (sent === 0) await new Promise(resolve => setTimeout(resolve, 50))

const delay = monitorEventLoopDelay({ resolution: 1 })
const before = sent
const began = performance.now()
delay.enable()
let next = 0
await Promise.all(
  Array.from({ length: settings.analysis.workers * 2 }, async () => {
    while (next++ < slices) await pool.frame(path, 0)
  }),
)
delay.disable()
const seconds = (performance.now() - began) / 1000
const ms = nanoseconds => (nanoseconds / 1e6 - 1).toFixed(1) // the timer's own resolution taken out
console.log(
  `${slices} slices of JPEG 2000 in ${seconds.toFixed(1)} s, ${sent - before} instances received beside them: ` +
    `event loop delay p50 ${ms(delay.percentile(50))} ms, p99 ${ms(delay.percentile(99))} ms, at most ${ms(delay.max)} ms`,
)
sender.send('stop')
await pool.close()
await service.stop()
rmSync(scratch, { recursive: true, force: true })
