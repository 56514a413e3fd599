// Memory while 2,000 slices are normalized: as one multi-frame object, and as 2,000 files.
// node bench/longSeries.mjs [SLICES] — after `npm run build`. Needs about 1.2 GB of disk.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { normalizeFile } from '../dist/pixels/normalizeFile.js'
import { startPixelPool } from '../dist/pixels/pool.js'
import { htj2k, multiFrame } from './images.mjs'

const slices = Number(process.argv[2] ?? 2000)
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-long-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const ct = { rows: 512, columns: 512, bits: 16 }
const single = await htj2k(ct)
const [one, many, out] = ['one.dcm', 'many.dcm', 'out.dcm'].map(name => join(scratch, name))
writeFileSync(one, single)
writeFileSync(many, await multiFrame(ct, slices))

await normalizeFile(one, out)
await measure(`${slices} frames of one object`, () => normalizeFile(many, out))
console.log(`  its result has ${(statSync(out).size / 1e6).toFixed(0)} MB`)
const pool = startPixelPool()
await measure(`${slices} files in ${pool.threads} threads`, async () => {
  let next = 0
  const lane = async () => {
    while (next < slices) {
      const i = next++
      await pool.file(one, join(scratch, `out-${i % 8}.dcm`))
    }
  }
  await Promise.all(Array.from({ length: pool.threads * 2 }, lane))
})
await pool.close()

async function measure(what, work) {
  const before = process.memoryUsage().rss
  let peak = before
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20)
  const began = performance.now()
  await work()
  clearInterval(watch)
  const mb = bytes => `${(bytes / 1e6).toFixed(0)} MB`
  console.log(
    `${what}: ${((performance.now() - began) / 1000).toFixed(1)} s, resident memory ${mb(before)} before, ${mb(peak)} at most`,
  )
}
