import { Piscina } from 'piscina'
import { concepts as c } from '../../../dicom/concepts.js'
import { sopClass } from '../../../dicom/sopClasses.js'
import { deriveUid } from '../../../dicom/uid.js'
import { compiledModule } from '../../../platform/compiledModule.js'
import type { Finding, FindingMask, Findings, ImageReference, Measurement } from '../../findings.js'
import type { NormalizedImage, NormalizedSeries, NormalizedStudy } from '../../normalizedStudy.js'
import type { Provider } from '../../provider.js'
import { makeStack, type Stack } from '../../volumeGeometry.js'
import type { ChestCtResult, LungMeasurements } from './analyzeChestCt.js'
import type { ImageQuality } from './imageQuality.js'
import type { Nodule } from './nodules.js'
import { outlineOf } from './outline.js'
import type { Volume } from './volume.js'
import type { ReferenceTask } from './worker.js'

const algorithm: Findings['algorithm'] = {
  name: 'Radbridge Reference Analyser',
  version: '1.0.0',
  manufacturer: 'Radbridge',
  parameters: 'for integration testing, not for diagnosis',
}
const notForDiagnosis = 'For integration testing, not for diagnosis.'
/** Fewer slices than this are no volume that lungs could be judged by. */
const minimumSlices = 20
const maxRegionSlices = 40

/**
 * The embedded analyser: lungs and nodule candidates of chest CT, technical quality of radiographs. It lets a hospital try the
 * whole way without a vendor; it is for integration testing, and says so in every result.
 */
export function referenceProvider(): Provider {
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './worker.js'),
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: 10_000,
    resourceLimits: { maxOldGenerationSizeMb: 4096 },
  })
  const run = <T>(task: ReferenceTask, signal: AbortSignal) => pool.run(task, { signal }) as Promise<T>
  return {
    name: 'reference',
    analyze: async (study, signal) => ({ findings: await analyzeStudy(study, signal, run) }),
    close: () => pool.destroy(),
  }
}

/** By what the study holds: its largest CT series, else its radiographs. */
async function analyzeStudy(
  study: NormalizedStudy,
  signal: AbortSignal,
  run: <T>(task: ReferenceTask, signal: AbortSignal) => Promise<T>,
): Promise<Findings> {
  const ct = largestSeries(study, image => image.sopClassUid === sopClass.ct)
  if (ct) return analyzeCt(ct, task => run<ChestCtResult>(task, signal))
  const radiographs = study.series
    .flatMap(series => series.images)
    .filter(image => [sopClass.computedRadiography, sopClass.digitalXRay].some(uid => uid === image.sopClassUid))
  if (radiographs.length > 0) return analyzeRadiographs(radiographs, task => run<ImageQuality>(task, signal))
  return notApplicable('the study holds neither a CT series nor a radiograph')
}

function largestSeries(
  study: NormalizedStudy,
  wanted: (image: NormalizedImage) => boolean,
): NormalizedSeries | undefined {
  return study.series
    .map(series => ({ ...series, images: series.images.filter(wanted) }))
    .filter(series => series.images.length > 0)
    .sort((a, b) => b.images.length - a.images.length || (a.seriesInstanceUid < b.seriesInstanceUid ? -1 : 1))[0]
}

function notApplicable(reason: string): Findings {
  return { algorithm, status: 'not-applicable', reason, lookedFor: [], items: [] }
}

async function analyzeCt(
  series: NormalizedSeries,
  run: (task: ReferenceTask) => Promise<ChestCtResult>,
): Promise<Findings> {
  if (series.bodyPart && !/CHEST|LUNG|THORAX/i.test(series.bodyPart)) {
    return notApplicable('the CT series is not of the chest by its Body Part Examined')
  }
  const stack = makeStack(series.images)
  if (!stack) return notApplicable('the CT series has no image position and orientation')
  const defects = [...stack.defects]
  if (stack.images.length < minimumSlices) defects.push(`the series has only ${stack.images.length} slices`)
  const volume = await buildVolume(stack)
  const result = await run({ kind: 'chest-ct', volume })
  if (result.lungs.length === 0) return notApplicable('no lungs were found in the CT series')

  const lungs = result.lungs.map(lung => lungFinding(lung, series.seriesInstanceUid, stack))
  const nodules = result.nodules.map((nodule, i) =>
    noduleFinding(nodule, i + 1, series.seriesInstanceUid, stack, volume),
  )
  const status = defects.length > 0 ? 'incomplete' : nodules.length > 0 ? 'findings' : 'no-findings'
  const count =
    nodules.length === 0 ? 'no nodule candidate' : `${nodules.length} nodule candidate${nodules.length > 1 ? 's' : ''}`
  const scope = defects.length > 0 ? `Incomplete (${defects.join('; ')}); in the slices that could be analysed: ` : ''
  return {
    algorithm,
    status,
    ...(defects.length > 0 ? { reason: defects.join('; ') } : {}),
    lookedFor: [c.nodule],
    items: [...nodules, ...lungs],
    conclusion: `${scope}${count} of 4 to 30 mm. ${notForDiagnosis}`,
  }
}

/** Slices of the stack in Hounsfield units, in memory that the analysis thread shares. Frames are decoded a few at a time. */
async function buildVolume(stack: Stack): Promise<Volume> {
  const first = stack.images[0]!
  const { rows, columns } = first
  const geometry = first.geometry!
  const hounsfield = new Int16Array(new SharedArrayBuffer(rows * columns * stack.images.length * 2))
  let next = 0
  const load = async () => {
    while (next < stack.images.length) {
      const slice = next++
      const image = stack.images[slice]!
      const { samples } = await image.pixels()
      toHounsfield(samples, image.rescale, hounsfield.subarray(slice * rows * columns, (slice + 1) * rows * columns))
    }
  }
  await Promise.all([load(), load(), load(), load()])
  return {
    width: columns,
    height: rows,
    depth: stack.images.length,
    spacing: [geometry.spacing[1], geometry.spacing[0], stack.sliceSpacing],
    hounsfield,
    leftward: geometry.rowDirection[0] >= 0 ? 1 : -1, // patient x grows towards the left (PS3.3 C.7.6.2.1.1)
  }
}

function toHounsfield(
  samples: ArrayLike<number>,
  { slope, intercept }: { slope: number; intercept: number },
  out: Int16Array,
): void {
  for (let i = 0; i < out.length; i++) {
    const value = Math.round(samples[i]! * slope + intercept)
    out[i] = value < -32768 ? -32768 : Math.min(value, 32767)
  }
}

function referenceTo(image: NormalizedImage): ImageReference {
  const multiFrame = image.header['00280008'] !== undefined && Number(image.header['00280008']?.Value?.[0]) > 1
  return { sopInstanceUid: image.sopInstanceUid, ...(multiFrame ? { frame: image.frame } : {}) }
}

function noduleFinding(nodule: Nodule, number: number, series: string, stack: Stack, volume: Volume): Finding {
  const mask = maskOf(nodule, stack, volume)
  const [x, y, z] = nodule.center
  const geometry = stack.images[0]!.geometry!
  const center = ([0, 1, 2] as const).map(
    axis =>
      geometry.position[axis] +
      x * geometry.spacing[1] * geometry.rowDirection[axis] +
      y * geometry.spacing[0] * geometry.columnDirection[axis] +
      z * stack.sliceSpacing * stack.normal[axis],
  ) as [number, number, number]
  const key = stack.images[nodule.keySlice]!.sopInstanceUid
  // The key slice first: some viewers draw the first region only.
  const slices = [...mask.slices].sort((a, b) => Number(b.sopInstanceUid === key) - Number(a.sopInstanceUid === key))
  return {
    trackingIdentifier: `Nodule ${number}`,
    trackingUid: deriveUid('nodule', series, ...center.map(v => Math.round(v))),
    type: c.nodule,
    category: c.morphologicallyAbnormalStructure,
    site: c.lung,
    laterality: nodule.side === 'left' ? c.left : c.right,
    regions: slices.slice(0, maxRegionSlices).map(({ runs, ...image }) => ({ ...image, points: outlineOf(runs) })),
    mask,
    measurements: [
      measurement(c.longAxis, nodule.longAxis, c.millimeter, c.inPlaneExtent),
      measurement(c.shortAxis, nodule.shortAxis, c.millimeter, c.inPlaneExtent),
      measurement(c.volume, nodule.volume, c.cubicMillimeter, c.segmentedVoxels),
      { ...measurement(c.attenuation, nodule.meanHounsfield, c.hounsfield, c.voxelMean), derivation: c.mean },
    ],
    evaluations: [],
  }
}

function maskOf(nodule: Nodule, stack: Stack, { width, height }: Volume): FindingMask {
  const bySlice = new Map<number, { row: number; column: number; length: number }[]>()
  for (const { start, length } of nodule.runs) {
    const slice = Math.floor(start / (width * height))
    const runs = bySlice.get(slice) ?? []
    runs.push({ row: Math.floor(start / width) % height, column: start % width, length })
    bySlice.set(slice, runs)
  }
  return {
    slices: [...bySlice]
      .sort((a, b) => a[0] - b[0])
      .map(([slice, runs]) => ({ ...referenceTo(stack.images[slice]!), runs })),
  }
}

function lungFinding(lung: LungMeasurements, series: string, stack: Stack): Finding {
  const name = lung.side === 'left' ? 'Left lung' : 'Right lung'
  return {
    trackingIdentifier: name,
    trackingUid: deriveUid('lung', series, lung.side),
    type: c.lung,
    category: c.anatomicalStructure,
    site: c.lung,
    laterality: lung.side === 'left' ? c.left : c.right,
    regions: [{ ...referenceTo(stack.images[lung.keySlice]!), points: lung.outline }],
    measurements: [
      measurement(c.volume, lung.volume, c.milliliter, c.segmentedVoxels),
      { ...measurement(c.attenuation, lung.meanDensity, c.hounsfield, c.voxelMean), derivation: c.mean },
      measurement(c.lowAttenuationArea, lung.lowAttenuationArea, c.percent, c.voxelFraction),
    ],
    evaluations: [],
  }
}

async function analyzeRadiographs(
  images: readonly NormalizedImage[],
  run: (task: ReferenceTask) => Promise<ImageQuality>,
): Promise<Findings> {
  const items: Finding[] = []
  for (const image of images) {
    const { samples, bitsStored, signed } = await image.pixels() // one at a time: radiographs are large
    if (bitsStored > 16) continue // no radiograph has them, and no histogram of them is of use
    const quality = await run({
      kind: 'image-quality',
      samples,
      image: { rows: image.rows, columns: image.columns, bitsStored, signed },
    })
    items.push({
      trackingIdentifier: `Image ${items.length + 1}`,
      trackingUid: deriveUid('image quality', image.sopInstanceUid),
      type: c.technicalImageQuality,
      regions: [],
      sources: [referenceTo(image)],
      measurements: [
        measurement(c.clippedFraction, quality.clippedFraction, c.percent, c.pixelStatistics),
        measurement(c.exposureSpread, quality.exposureSpread, c.percent, c.pixelStatistics),
      ],
      evaluations: [{ name: c.looksInverted, value: quality.looksInverted ? c.present : c.absent }],
    })
  }
  if (items.length === 0) return notApplicable('the radiographs have samples of more than 16 bits')
  return {
    algorithm,
    status: 'findings',
    lookedFor: [],
    items,
    conclusion: `Technical image quality of ${images.length} image${images.length > 1 ? 's' : ''}. ${notForDiagnosis}`,
  }
}

/** Two decimals say all that the method can know. */
function measurement(
  quantity: Measurement['quantity'],
  value: number,
  unit: Measurement['unit'],
  method: Measurement['method'] & object,
): Measurement {
  return { quantity, value: Math.round(value * 100) / 100, unit, method }
}
