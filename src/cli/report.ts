import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Findings, ImageReference } from '../analysis/findings.js'
import { parseFindings } from '../analysis/findingsSchema.js'
import { imagesOf } from '../analysis/normalizedImages.js'
import { misplaced } from '../analysis/placement.js'
import { readPart10Header } from '../dicom/part10.js'
import { sopClass } from '../dicom/sopClasses.js'
import { languages } from '../dicom/translations.js'
import { decodeFrame } from '../pixels/decodeFrame.js'
import { openFrames } from '../pixels/frames.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { packageVersion } from '../platform/packageVersion.js'
import { resultKinds, resultObjects } from '../results/index.js'
import { drawPicture } from '../results/keyImage.js'
import type { ResultContext, SourceInstance } from '../results/resultContext.js'
import { defaultFormat, type ResultFormat } from '../results/resultFormat.js'
import type { ResultObject } from '../results/resultObject.js'
import { listFiles } from './files.js'
import { UsageError } from './usageError.js'

const usage = `report FINDINGS.json IMAGES… -o OUT [--results ${resultKinds.join(',')}] [--language ${languages.join('|')}]
  [--report comprehensive-3d|comprehensive] [--groups both|planar|volumetric] [--segmentation binary|labelmap]
  [--compression none|deflated|rle|jpeg2000]`

/**
 * Writes the DICOM results of a Findings document. Exit code 0 written, 1 the document or an image cannot be used, 2 called wrongly.
 */
export async function report(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      output: { type: 'string', short: 'o' },
      results: { type: 'string', default: 'sr,seg,sc' },
      language: { type: 'string', default: defaultFormat.language },
      report: { type: 'string', default: defaultFormat.report },
      groups: { type: 'string', default: defaultFormat.groups },
      segmentation: { type: 'string', default: defaultFormat.segmentation },
      compression: { type: 'string', default: defaultFormat.compression },
    },
  })
  const [document, ...images] = positionals
  if (!document || images.length === 0 || !values.output) throw new UsageError(usage)
  const kinds = values.results.split(',').map(kind => oneOf(kind, resultKinds, '--results'))
  const format: ResultFormat = {
    language: oneOf(values.language, languages, '--language'),
    report: oneOf(values.report, ['comprehensive-3d', 'comprehensive'], '--report'),
    groups: oneOf(values.groups, ['both', 'planar', 'volumetric'], '--groups'),
    segmentation: oneOf(values.segmentation, ['binary', 'labelmap'], '--segmentation'),
    compression: oneOf(values.compression, ['none', 'deflated', 'rle', 'jpeg2000'], '--compression'),
    codes: [],
  }
  const findings = await readFindings(document)
  if (typeof findings === 'string') return refuse(`${document}: ${findings}`)
  const sources = await readSources(images)
  if (typeof sources === 'string') return refuse(sources)
  const headers = new Map(sources.map(({ sopInstanceUid, header }) => [sopInstanceUid, header]))
  const problem = misplaced(findings, uid => headers.get(uid))
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
    format,
  }
  let results: ResultObject[]
  try {
    results = await resultObjects(findings, context, kinds, {
      imageOf: reference => imageOf(reference, sources),
      draw: drawPicture,
    })
  } catch (error) {
    if (error instanceof PixelProblem) return refuse(`an image cannot be drawn: ${error.message}`)
    throw error
  }
  await mkdir(values.output, { recursive: true })
  const counts = new Map<string, number>()
  for (const result of results) {
    const name = fileNames[result.sopClassUid] ?? 'result'
    const number = (counts.get(name) ?? 0) + 1
    counts.set(name, number)
    const path = join(values.output, name === 'sr' ? 'sr.dcm' : `${name}-${number}.dcm`)
    await writeFile(path, result.bytes)
    console.log(path)
  }
  return 0
}

const fileNames: Readonly<Record<string, string>> = {
  [sopClass.comprehensive3dSr]: 'sr',
  [sopClass.comprehensiveSr]: 'sr',
  [sopClass.segmentation]: 'seg',
  [sopClass.labelMapSegmentation]: 'seg',
  [sopClass.secondaryCapture]: 'sc',
  [sopClass.grayscalePresentationState]: 'gsps',
  [sopClass.parametricMap]: 'map',
  [sopClass.encapsulatedPdf]: 'pdf',
}

function oneOf<T extends string>(value: string, allowed: readonly T[], option: string): T {
  const found = allowed.find(entry => entry === value)
  if (!found) throw new UsageError(`${option}: expected ${allowed.join(', ')}, not ${value}`)
  return found
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
