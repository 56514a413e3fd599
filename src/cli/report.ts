import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Findings, ImageReference } from '../analysis/findings.js'
import { parseFindings } from '../analysis/findingsSchema.js'
import { imagesOf } from '../analysis/normalizedImages.js'
import { readPart10Header } from '../dicom/part10.js'
import { decodeFrame } from '../pixels/decodeFrame.js'
import { openFrames } from '../pixels/frames.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { packageVersion } from '../platform/packageVersion.js'
import { drawKeyImage } from '../results/keyImage.js'
import type { ResultContext, SourceInstance } from '../results/resultContext.js'
import type { ResultObject } from '../results/resultObject.js'
import { secondaryCaptures } from '../results/secondaryCapture.js'
import { segmentations } from '../results/segmentation.js'
import { structuredReport } from '../results/structuredReport.js'
import { listFiles } from './files.js'
import { UsageError } from './usageError.js'

/**
 * Writes the DICOM results of a Findings document. Exit code 0 written, 1 the document or an image cannot be used, 2 called wrongly.
 */
export async function report(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { output: { type: 'string', short: 'o' } },
  })
  const [document, ...images] = positionals
  if (!document || images.length === 0 || !values.output) throw new UsageError('report FINDINGS.json IMAGES… -o OUT')
  const findings = await readFindings(document)
  if (typeof findings === 'string') return refuse(`${document}: ${findings}`)
  const sources = await readSources(images)
  if (typeof sources === 'string') return refuse(sources)
  const problem = missingImage(findings, sources)
  if (problem) return refuse(`${document}: ${problem}`)
  const context: ResultContext = {
    studyInstanceUid: sources[0]!.studyInstanceUid,
    revision: 1,
    route: 'report',
    arm: 'primary',
    sources,
    analyzedAt: new Date(),
    deviceSerialNumber: 'command line',
    softwareVersion: packageVersion,
  }
  const segmented = segmentations(findings, context)
  let pictures: ResultObject[]
  try {
    pictures = await secondaryCaptures(findings, context, reference => imageOf(reference, sources), drawKeyImage)
  } catch (error) {
    if (error instanceof PixelProblem) return refuse(`an image cannot be drawn: ${error.message}`)
    throw error
  }
  await mkdir(values.output, { recursive: true })
  const results = [
    ...segmented.map((result, i) => ({ name: `seg-${i + 1}.dcm`, result })),
    { name: 'sr.dcm', result: structuredReport(findings, context, segmented) },
    ...pictures.map((result, i) => ({ name: `sc-${i + 1}.dcm`, result })),
  ]
  for (const { name, result } of results) {
    const path = join(values.output, name)
    await writeFile(path, result.bytes)
    console.log(path)
  }
  return 0
}

interface ImageFile extends SourceInstance {
  studyInstanceUid: string
  path: string
}

function imageOf(reference: ImageReference, sources: readonly ImageFile[]) {
  const source = sources.find(({ sopInstanceUid }) => sopInstanceUid === reference.sopInstanceUid)
  const decode = async (frame: number) => {
    const frames = await openFrames(source!.path)
    try {
      return await decodeFrame(frames, frame)
    } finally {
      await frames.close()
    }
  }
  return source && imagesOf(source, decode)[(reference.frame ?? 1) - 1]
}

function refuse(problem: string): number {
  console.error(problem)
  return 1
}

async function readFindings(path: string): Promise<Findings | string> {
  let document: unknown
  try {
    document = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    return `cannot be read as JSON (${(error as Error).message})`
  }
  const parsed = parseFindings(document)
  return parsed.outcome === 'findings' ? parsed.findings : `not a Findings document\n${parsed.detail}`
}

async function readSources(paths: readonly string[]): Promise<ImageFile[] | string> {
  const sources: ImageFile[] = []
  for (const path of await listFiles(paths)) {
    const outcome = readPart10Header(await readFile(path), true)
    if (outcome.outcome !== 'header') return `${path}: ${outcome.outcome === 'refused' ? outcome.detail : 'cut'}`
    const { sopClassUid, sopInstanceUid, seriesInstanceUid, studyInstanceUid, json } = outcome.header
    sources.push({ sopClassUid, sopInstanceUid, seriesInstanceUid, studyInstanceUid, header: json, path })
  }
  if (new Set(sources.map(source => source.studyInstanceUid)).size > 1) return 'the images are of more than one study'
  return sources
}

function missingImage({ items }: Findings, sources: readonly SourceInstance[]): string | undefined {
  const known = new Set(sources.map(source => source.sopInstanceUid))
  for (const { trackingIdentifier, regions, sources: measured = [], mask } of items) {
    const missing = [...regions, ...measured, ...(mask?.slices ?? [])].find(r => !known.has(r.sopInstanceUid))
    if (missing)
      return `${trackingIdentifier} refers to image ${missing.sopInstanceUid}, which is not among the images given`
  }
  return undefined
}
