import { mkdir, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { PixelProblem } from '../pixels/imageDescription.js'
import { type NormalizeOptions, type NormalizeReport, normalizeFile } from '../pixels/normalizeFile.js'
import { type PixelPool, startPixelPool } from '../pixels/pool.js'
import { listFiles } from './files.js'
import { progressBar } from './progress.js'
import { UsageError } from './usageError.js'

const usage =
  'normalize IN OUT [--json] [--keep-photometric] [--utf8] [--drop-private [--keep-creator NAME]…]   IN and OUT: two files, or two folders'

/**
 * Decodes one file, or all files of a folder in as many threads as there are cores.
 * Exit code 0: all images are decoded; 1: at least one is not, the others are; 2: called wrongly.
 */
export async function normalize(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      'keep-photometric': { type: 'boolean', default: false },
      utf8: { type: 'boolean', default: false },
      'drop-private': { type: 'boolean', default: false },
      'keep-creator': { type: 'string', multiple: true, default: [] },
    },
  })
  const [input, output] = positionals
  if (!input || !output || positionals.length !== 2) throw new UsageError(usage)
  const options: NormalizeOptions = {
    keepPhotometric: values['keep-photometric'],
    utf8: values.utf8,
    ...(values['drop-private'] ? { privateCreators: values['keep-creator'] } : {}),
  }
  const folder = await stat(input).then(
    entry => entry.isDirectory(),
    () => false,
  )
  return folder
    ? normalizeFolder(input, output, options, values.json)
    : normalizeOne(input, output, options, values.json)
}

async function normalizeOne(input: string, output: string, options: NormalizeOptions, json: boolean): Promise<number> {
  const outcome = await outcomeOf(() => normalizeFile(input, output, options))
  if ('error' in outcome) {
    if (json) console.log(JSON.stringify(outcome))
    console.error(`${input}: ${outcome.error}`)
    return 1
  }
  if (json) console.log(JSON.stringify(outcome, null, 2))
  else
    for (const change of outcome.changes.length > 0 ? outcome.changes : ['nothing had to be changed'])
      console.log(change)
  return 0
}

/** Every file keeps its path below OUT. Objects without pixels (reports, plans) are passed over. */
async function normalizeFolder(
  input: string,
  output: string,
  options: NormalizeOptions,
  json: boolean,
): Promise<number> {
  const files = await listFiles([input])
  if (files.length === 0) throw new UsageError(`${input} holds no file`)
  const pool = startPixelPool()
  const bar = progressBar('normalizing', files.length)
  const began = performance.now()
  const count = { normalized: 0, withoutPixels: 0, failed: 0 }
  try {
    const queue = [...files]
    const lanes = Array.from({ length: availableParallelism() * 2 }, async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
        const path = relative(input, file)
        const outcome = await normalizeInto(pool, file, join(output, path), options)
        bar.advance(1)
        if (!('error' in outcome)) count.normalized++
        else if (/holds no Pixel Data/.test(outcome.error)) count.withoutPixels++
        else {
          count.failed++
          if (!json) console.error(`${path}: ${outcome.error}`)
        }
        if (json) console.log(JSON.stringify({ file: path, ...outcome }))
      }
    })
    await Promise.all(lanes)
  } finally {
    bar.stop()
    await pool.close()
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const summary = `${count.normalized} normalized, ${count.withoutPixels} without pixels passed over, ${count.failed} failed, in ${seconds} s`
  if (json) console.log(JSON.stringify({ summary: count }))
  else console.log(summary)
  return count.failed > 0 ? 1 : 0
}

async function normalizeInto(pool: PixelPool, file: string, target: string, options: NormalizeOptions) {
  await mkdir(dirname(target), { recursive: true })
  return outcomeOf(() => pool.file(file, target, options))
}

async function outcomeOf(work: () => Promise<NormalizeReport>): Promise<NormalizeReport | { error: string }> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof PixelProblem) return { error: error.message }
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return { error: `cannot be read or written (${code})` }
  }
}
