import { parseArgs } from 'node:util'
import { PixelProblem } from '../pixels/imageDescription.js'
import { normalizeFile } from '../pixels/normalizeFile.js'
import { UsageError } from './usageError.js'

/** Decodes one file. Exit code 0 done, 1 it cannot be decoded, 2 called wrongly. */
export async function normalize(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, 'keep-photometric': { type: 'boolean', default: false } },
  })
  const [input, output] = positionals
  if (!input || !output || positionals.length !== 2)
    throw new UsageError('normalize IN OUT [--json] [--keep-photometric]')
  try {
    const report = await normalizeFile(input, output, { keepPhotometric: values['keep-photometric'] })
    if (values.json) console.log(JSON.stringify(report, null, 2))
    else
      for (const change of report.changes.length > 0 ? report.changes : ['nothing had to be changed'])
        console.log(change)
    return 0
  } catch (error) {
    if (!(error instanceof PixelProblem) && (error as NodeJS.ErrnoException).code === undefined) throw error
    const message =
      error instanceof PixelProblem ? error.message : `cannot be read (${(error as NodeJS.ErrnoException).code})`
    if (values.json) console.log(JSON.stringify({ error: message }))
    console.error(`${input}: ${message}`)
    return 1
  }
}
