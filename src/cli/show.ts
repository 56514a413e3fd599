import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { textOf } from '../dicom/dicomJson.js'
import { readPart10Header } from '../dicom/part10.js'
import { sopClass } from '../dicom/sopClasses.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { readFindings } from '../results/readFindings.js'
import { type ReadSegmentation, readSegmentation } from '../results/readSegmentation.js'
import { reportTree } from '../results/reportTree.js'
import { UsageError } from './usageError.js'

/**
 * Prints SR documents as trees, or with --json as Findings documents, whoever made them; Segmentations among the files give the masks.
 * Exit code 0 all printed, 1 one of them is no report, 2 called wrongly.
 */
export async function show(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false } },
  })
  if (positionals.length === 0) throw new UsageError('show [--json] FILE…')
  let failed = false
  const refuse = (path: string, problem: string) => {
    console.error(`${path}: ${problem}`)
    failed = true
  }
  const reports: { path: string; json: Parameters<typeof reportTree>[0] }[] = []
  const segmentations: ReadSegmentation[] = []
  for (const path of positionals) {
    const outcome = readPart10Header(await readFile(path), true, true)
    if (outcome.outcome !== 'header') refuse(path, outcome.outcome === 'refused' ? outcome.detail : 'the file is cut')
    else if (textOf(outcome.header.json, '0040A040') === 'CONTAINER') reports.push({ path, json: outcome.header.json })
    else if (values.json && isSegmentation(outcome.header.sopClassUid)) {
      try {
        segmentations.push(await readSegmentation(path))
      } catch (error) {
        if (!(error instanceof PixelProblem)) throw error
        refuse(path, error.message)
      }
    } else refuse(path, 'not a Structured Report')
  }
  for (const { path, json } of reports) {
    if (values.json) {
      const findings = readFindings(json, segmentations)
      if (findings) console.log(JSON.stringify(findings, null, 2))
      else refuse(path, 'no Imaging Measurement Report: it has no Imaging Measurements (126010, DCM)')
      continue
    }
    if (positionals.length > 1) console.log(path)
    const flags = ['0040A491', '0040A493', '0040A496'].map(tag => textOf(json, tag)).filter(Boolean)
    if (flags.length > 0) console.log(`[${flags.join(', ')}]`)
    console.log(reportTree(json).join('\n'))
  }
  return failed ? 1 : 0
}

function isSegmentation(sopClassUid: string): boolean {
  return sopClassUid === sopClass.segmentation || sopClassUid === sopClass.labelMapSegmentation
}
