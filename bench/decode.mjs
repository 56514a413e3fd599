// Decoding beside gdcmconv and dcmtk, in one run: ms for one frame, and seconds for a study of 300 files on all cores.
// node bench/decode.mjs [STUDY_FILES] — after `npm run build`. Peers: Debian packages libgdcm-tools, dcmtk.
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeFrame } from '../dist/pixels/decodeFrame.js'
import { openFrames } from '../dist/pixels/frames.js'
import { startPixelPool } from '../dist/pixels/pool.js'
import { compress, compressors, hasProgram, htj2k, uncompressed } from './images.mjs'

const studyFiles = Number(process.argv[2] ?? 300)
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-decode-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const hasGdcm = hasProgram('gdcmconv')
const dcmtk = { RLE: 'dcmdrle', 'JPEG lossless': 'dcmdjpeg', 'JPEG-LS': 'dcmdjpls' }

const sizes = [
  { name: 'CT 512 × 512, 16 bit', rows: 512, columns: 512, bits: 16 },
  { name: 'DX 3000 × 3000, 16 bit', rows: 3000, columns: 3000, bits: 16 },
  { name: 'RGB 1024 × 768', rows: 768, columns: 1024, bits: 8, colour: true },
]
const syntaxes = ['RLE', 'JPEG lossless', 'JPEG-LS', 'JPEG 2000', 'HTJ2K']

console.log(
  `one frame, decoded and written, ms: median of runs; peers as processes, less their start-up (a copy of the uncompressed file)`,
)
for (const size of sizes) {
  const native = write('native.dcm', uncompressed(size))
  for (const syntax of syntaxes) {
    const bytes = syntax === 'HTJ2K' ? await htj2k(size) : compress(readFileSync(native), compressors[syntax])
    if (!bytes) {
      console.log(`${size.name.padEnd(24)} ${syntax.padEnd(14)} no compressor is installed`)
      continue
    }
    const path = write('in.dcm', bytes)
    const source = await openFrames(path)
    const decodeOne = async () => {
      const { samples } = await decodeFrame(source, 0)
      writeFileSync(out(), samples)
    }
    const warm = performance.now() + 500 // as in a service that runs
    while (performance.now() < warm) await decodeOne()
    const peer = dcmtk[syntax]
    const contenders = {
      ours: decodeOne,
      ...(hasGdcm ? { gdcmCopy: () => run('gdcmconv', '--raw', native, out()) } : {}),
      ...(hasGdcm && syntax !== 'HTJ2K' ? { gdcm: () => run('gdcmconv', '--raw', path, out()) } : {}),
      ...(peer && hasProgram(peer)
        ? { dcmtkCopy: () => run('dcmconv', native, out()), dcmtk: () => run(peer, path, out()) }
        : {}),
    }
    const times = await inTurn(contenders)
    await source.close()
    const ours = times.ours
    const gdcm = times.gdcm && times.gdcm - times.gdcmCopy
    const theirs = times.dcmtk && times.dcmtk - times.dcmtkCopy
    console.log(
      `${size.name.padEnd(24)} ${syntax.padEnd(14)} Radbridge ${ours.toFixed(1).padStart(6)}` +
        `${gdcm === undefined ? '' : `   gdcm ${gdcm.toFixed(1).padStart(6)}   = ${(ours / gdcm).toFixed(2)} × gdcm`}` +
        `${theirs === undefined ? '' : `   dcmtk ${theirs.toFixed(1).padStart(6)}`}`,
    )
  }
}

console.log(
  `\na study of ${studyFiles} files of 512 × 512, 16 bit, seconds on ${availableParallelism()} cores, files to files; gdcmconv less its start-ups`,
)
const [ct] = sizes
// One gdcmconv after another, as a loop of the shell does it, and one for each core.
const lanes = [1, availableParallelism()]
const gdcmStudy = (files, count, args) =>
  seconds(() => inLanes(files, count, file => runAsync('gdcmconv', ...args(file))))
const startUps = []
if (hasGdcm)
  await withStudy(uncompressed(ct), async files => {
    for (const count of lanes) startUps.push(await gdcmStudy(files, count, () => ['--version']))
  })
for (const syntax of syntaxes) {
  const bytes = syntax === 'HTJ2K' ? await htj2k(ct) : compress(uncompressed(ct), compressors[syntax])
  if (!bytes) continue
  await withStudy(bytes, async files => {
    const pool = startPixelPool()
    await Promise.all(files.slice(0, 4).map(file => pool.file(file, `${file}.out`))) // threads are up in a running service
    const ours = await seconds(() => inLanes(files, availableParallelism() * 2, file => pool.file(file, `${file}.out`)))
    await pool.close()
    const columns = [`${syntax.padEnd(14)} Radbridge ${ours.toFixed(2)}`]
    if (hasGdcm && syntax !== 'HTJ2K')
      for (const [i, count] of lanes.entries()) {
        const net = (await gdcmStudy(files, count, file => ['--raw', file, `${file}.gdcm`])) - startUps[i]
        columns.push(`gdcmconv, ${count} at a time ${net.toFixed(2)} = ${(ours / net).toFixed(2)} ×`)
      }
    console.log(columns.join('   '))
  })
}

async function withStudy(bytes, work) {
  const folder = mkdtempSync(join(scratch, 'study-'))
  try {
    write('one.dcm', bytes)
    const files = Array.from({ length: studyFiles }, (_, i) => join(folder, `${i}.dcm`))
    for (const file of files) copyFileSync(join(scratch, 'one.dcm'), file)
    return await work(files)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function write(name, bytes) {
  const path = join(scratch, name)
  writeFileSync(path, bytes)
  return path
}
function out() {
  return join(scratch, 'out.dcm')
}
function run(program, ...args) {
  execFileSync(program, args, { stdio: 'ignore' })
}
function runAsync(program, ...args) {
  return new Promise((resolve, reject) =>
    spawn(program, args, { stdio: 'ignore' }).on('exit', code =>
      code === 0 ? resolve() : reject(new Error(`${program}: ${code}`)),
    ),
  )
}
/** What the machine does at a moment drifts, so they take turns. @returns ms, median of nine */
async function inTurn(contenders) {
  const times = Object.fromEntries(Object.keys(contenders).map(name => [name, []]))
  for (let i = 0; i < 9; i++)
    for (const [name, work] of Object.entries(contenders)) times[name].push(1000 * (await seconds(work)))
  return Object.fromEntries(
    Object.entries(times).map(([name, values]) => [name, values.sort((a, b) => a - b)[values.length >> 1]]),
  )
}
async function seconds(work) {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}
async function inLanes(items, lanes, work) {
  const queue = [...items]
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
    }),
  )
}
