import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { encode } from 'fast-png'
import { request } from 'undici'
import type { StudyDetail } from '../admin/queries.js'
import { readPart10Header } from '../dicom/part10.js'
import { sopClass } from '../dicom/sopClasses.js'
import { startService } from '../main.js'
import { decodeFrame } from '../pixels/decodeFrame.js'
import { openFrames } from '../pixels/frames.js'
import { createLog } from '../platform/log.js'
import { loadSettings } from '../platform/settings.js'
import { reportTree } from '../results/reportTree.js'
import { listFiles } from './files.js'
import { demoPhantom, Phantom } from './phantom.js'
import { progressBar } from './progress.js'
import { sendFiles } from './send.js'

const patienceSeconds = 300
const kinds: Readonly<Record<string, string>> = {
  [sopClass.comprehensive3dSr]: 'sr',
  [sopClass.segmentation]: 'seg',
  [sopClass.secondaryCapture]: 'sc',
}

/** A chest CT through the whole way on free ports, in a scratch folder: push, analysis, report. */
export async function demo(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { keep: { type: 'boolean', default: false } },
  })
  const scratch = await mkdtemp(join(tmpdir(), 'radbridge-demo-'))
  const settings = loadSettings({
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_HTTP_PORT: '0',
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_QUIET_SECONDS: '1',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
  })
  const log = createLog({ level: 'warn', format: 'text' })
  console.log('starting the service …')
  const service = await startService(settings, log)
  try {
    console.log(`service      ${service.url}`)
    const files = positionals.length > 0 ? await listFiles(positionals) : await writePhantom(join(scratch, 'phantom'))
    const bar = progressBar('pushing', files.length)
    const sent = await sendFiles(files, `${service.url}/dicom-web`, undefined, bar)
    bar.stop()
    console.log(`pushed       ${sent.stored} instances by STOW-RS, ${sent.problems.length} not stored`)
    for (const { path, problem } of sent.problems) console.error(`  ${path}: ${problem}`)
    let complete = sent.studies.size > 0 && sent.problems.length === 0
    for (const study of sent.studies)
      complete = (await showStudy(service.url, study, join(scratch, 'results'))) && complete
    if (values.keep) {
      console.log(`\nThe service goes on at ${service.url}/dicom-web; Ctrl-C ends it.`)
      await new Promise(resolve => process.once('SIGINT', resolve))
    }
    return complete ? 0 : 1
  } finally {
    await service.stop()
  }
}

async function writePhantom(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true })
  const phantom = new Phantom(demoPhantom)
  const bar = progressBar('phantom', demoPhantom.slices)
  const files: string[] = []
  for (const bytes of phantom.files()) {
    const path = join(folder, `${String(files.length + 1).padStart(4, '0')}.dcm`)
    await writeFile(path, bytes)
    files.push(path)
    bar.advance(1)
  }
  bar.stop()
  console.log(
    `phantom      ${files.length} CT slices with nodules of ${demoPhantom.nodules.map(n => n.diameter).join(', ')} mm in ${folder}`,
  )
  return files
}

/** Follows a study to its end and prints its report. @returns false if it failed */
async function showStudy(url: string, uid: string, folder: string): Promise<boolean> {
  const study = await followToEnd(url, uid)
  if (study.state !== 'completed') {
    console.error(`study        ${study.state}: ${study.reason ?? ''}`)
    return false
  }
  if (study.results.length === 0) console.log(`study        completed without a report: ${study.reason ?? ''}`)
  await mkdir(folder, { recursive: true })
  for (const result of study.results) {
    const path = `${url}/dicom-web/studies/${uid}/series/${result.seriesInstanceUid}/instances/${result.sopInstanceUid}`
    const { statusCode, body } = await request(path, { headers: { Accept: 'application/dicom' } })
    const bytes = Buffer.from(await body.arrayBuffer())
    if (statusCode !== 200) throw new Error(`a result could not be fetched (${statusCode})`)
    const kind = kinds[result.sopClassUid] ?? 'result'
    const file = join(folder, `${kind}-${result.sopInstanceUid}.dcm`)
    await writeFile(file, bytes)
    if (kind === 'sr') {
      const header = readPart10Header(bytes, true)
      if (header.outcome !== 'header') throw new Error('the report that was fetched cannot be read')
      console.log(`\n${reportTree(header.header.json).join('\n')}\n`)
    }
    console.log(`${kind.toUpperCase().padEnd(12)} ${file}`)
    if (kind === 'sc') console.log(`PNG          ${await writePng(file)}`)
  }
  console.log(`study        ${url}/api/studies/${uid}`)
  return true
}

/** The picture of a Secondary Capture beside it. @returns its path */
async function writePng(file: string): Promise<string> {
  const source = await openFrames(file)
  try {
    const { samples, rows, columns } = await decodeFrame(source, 0)
    const png = file.replace(/\.dcm$/, '.png')
    await writeFile(png, encode({ width: columns, height: rows, data: samples as Uint8Array, channels: 3, depth: 8 }))
    return png
  } finally {
    await source.close()
  }
}

async function followToEnd(url: string, uid: string): Promise<StudyDetail> {
  let shown = ''
  for (let waited = 0; waited < patienceSeconds * 10; waited++) {
    const { body } = await request(`${url}/api/studies/${uid}`)
    const study = (await body.json()) as StudyDetail
    if (study.state !== shown) console.log(`study        ${(shown = study.state)}`)
    if (['completed', 'failed', 'ignored'].includes(study.state)) return study
    await sleep(100)
  }
  throw new Error(`the study did not come to its end within ${patienceSeconds} s`)
}
