// Mutated DICOM files through the normalizer, in one process: no crash, no hang, memory flat.
// node bench/fuzz.mjs [COUNT] [SEED] [FOLDER…] — after `npm run build`. Seeds are generated images, and the files of FOLDER if any.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { normalizeFile } from '../dist/pixels/normalizeFile.js'
import { compressedImages } from './images.mjs'
import { mutate, randomness } from './mutate.mjs'

const count = Number(process.argv[2] ?? 20_000)
const seed = Number(process.argv[3] ?? 1)
const limitMilliseconds = 60_000 // of processor for a frame, as in src/pixels/pool.ts by the clock
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-fuzz-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

const corpus = [...(await compressedImages()), ...process.argv.slice(4).flatMap(readFolder)]
const random = randomness(seed)
const outcomes = new Map()
let slowest = { milliseconds: 0, file: '' }
let memoryAfterWarmUp = 0
const began = performance.now()
for (let i = 0; i < count; i++) {
  const original = corpus[random(corpus.length)]
  const input = join(scratch, 'in.dcm')
  writeFileSync(input, mutate(original.bytes, random))
  const start = process.cpuUsage() // of this process: others on the machine make it no slower
  let outcome = 'normalized'
  try {
    await normalizeFile(input, join(scratch, 'out.dcm'))
  } catch (error) {
    outcome = error.code === 'PIXELS' ? 'refused with a reason' : `CRASH ${original.name}: ${error.stack}`
  }
  const used = process.cpuUsage(start)
  const milliseconds = (used.user + used.system) / 1000
  if (milliseconds > slowest.milliseconds) slowest = { milliseconds, file: original.name }
  if (milliseconds > limitMilliseconds) outcome = `HANG ${original.name}`
  if (/^(CRASH|HANG)/.test(outcome)) {
    console.error(outcome)
    writeFileSync(join(tmpdir(), `radbridge-fuzz-${seed}-${i}.dcm`), readFileSync(input))
    outcome = outcome.slice(0, 5)
  }
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  if (i === Math.floor(count / 4)) memoryAfterWarmUp = process.memoryUsage().rss
}
const megabytes = bytes => `${(bytes / 1e6).toFixed(0)} MB`
console.log(
  `${count} mutated files of ${corpus.length}, seed ${seed}: ${((performance.now() - began) / 1000).toFixed(0)} s`,
)
for (const [outcome, number] of outcomes) console.log(`  ${outcome}: ${number}`)
console.log(`slowest ${slowest.milliseconds.toFixed(0)} ms (${slowest.file})`)
console.log(
  `resident memory after a quarter ${megabytes(memoryAfterWarmUp)}, at the end ${megabytes(process.memoryUsage().rss)}`,
)
process.exitCode = [...outcomes.keys()].some(outcome => /CRASH|HANG/.test(outcome)) ? 1 : 0

function readFolder(folder) {
  return readdirSync(folder, { recursive: true })
    .map(name => join(folder, name))
    .filter(path => statSync(path).isFile() && statSync(path).size < 300_000)
    .map(path => ({ name: path, bytes: readFileSync(path) }))
}
