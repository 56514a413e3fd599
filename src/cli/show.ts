import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { textOf } from '../dicom/dicomJson.js'
import { readPart10Header } from '../dicom/part10.js'
import { reportTree } from '../results/reportTree.js'
import { UsageError } from './usageError.js'

/** Prints SR documents as trees. Exit code 0 all printed, 1 one of them is none, 2 called wrongly. */
export async function show(args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} })
  if (positionals.length === 0) throw new UsageError('show FILE…')
  let failed = false
  for (const path of positionals) {
    const outcome = readPart10Header(await readFile(path), true, true)
    const problem =
      outcome.outcome === 'refused'
        ? outcome.detail
        : outcome.outcome === 'header' && textOf(outcome.header.json, '0040A040') === 'CONTAINER'
          ? undefined
          : 'not a Structured Report'
    if (problem || outcome.outcome !== 'header') {
      console.error(`${path}: ${problem}`)
      failed = true
      continue
    }
    const { json } = outcome.header
    if (positionals.length > 1) console.log(path)
    const flags = ['0040A491', '0040A493', '0040A496'].map(tag => textOf(json, tag)).filter(Boolean)
    if (flags.length > 0) console.log(`[${flags.join(', ')}]`)
    console.log(reportTree(json).join('\n'))
  }
  return failed ? 1 : 0
}
