// Milliseconds per Structured Report and Segmentation, for 1, 20 and 200 findings on a series of 300 slices of 512 × 512, and for one finding
// that covers all 300 slices. Beside them the floor: dcmjs writing the same data set, which is ready. node bench/results.mjs [ROUNDS] — after
// `npm run build`.
import { performance } from 'node:perf_hooks'
import { concepts as c } from '../dist/dicom/concepts.js'
import { readPart10Header } from '../dist/dicom/part10.js'
import { deriveUid } from '../dist/dicom/uid.js'
import { writePart10 } from '../dist/dicom/writePart10.js'
import { readFindings } from '../dist/results/readFindings.js'
import { defaultFormat } from '../dist/results/resultFormat.js'
import { segmentations } from '../dist/results/segmentation.js'
import { structuredReport } from '../dist/results/structuredReport.js'

const rounds = Number(process.argv[2] ?? 30)
const [slices, size] = [300, 512]
const series = deriveUid('bench series')
const uidOf = slice => deriveUid('bench slice', slice)
const sources = Array.from({ length: slices }, (_, i) => ({
  sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
  sopInstanceUid: uidOf(i),
  seriesInstanceUid: series,
  header: {
    '00080020': { vr: 'DA', Value: ['20260102'] },
    '00080060': { vr: 'CS', Value: ['CT'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Bench^Mark' }] },
    '00180050': { vr: 'DS', Value: [1] },
    '00200032': { vr: 'DS', Value: [-170, -170, i] },
    '00200037': { vr: 'DS', Value: [1, 0, 0, 0, 1, 0] },
    '00200052': { vr: 'UI', Value: [deriveUid('bench frame')] },
    '00280010': { vr: 'US', Value: [size] },
    '00280011': { vr: 'US', Value: [size] },
    '00280030': { vr: 'DS', Value: [0.65, 0.65] },
  },
}))
const context = {
  studyInstanceUid: deriveUid('bench study'),
  revision: 1,
  route: 'bench',
  arm: 'primary',
  sources,
  analyzedAt: new Date(),
  deviceSerialNumber: 'bench',
  softwareVersion: 'bench',
  format: defaultFormat,
}

/** A disc of radius `r` on so many slices, with its outline on the middle one. */
function finding(number, first, depth, r) {
  const [cx, cy] = [60 + ((number * 37) % 390), 60 + ((number * 53) % 390)]
  const runs = Array.from({ length: 2 * r + 1 }, (_, i) => {
    const half = Math.floor(Math.sqrt(r * r - (i - r) ** 2))
    return { row: cy - r + i, column: cx - half, length: 2 * half + 1 }
  })
  const outline = Array.from({ length: 65 }, (_, i) => [
    cx + r * Math.cos(((i % 64) * Math.PI) / 32),
    cy + r * Math.sin(((i % 64) * Math.PI) / 32),
  ])
  return {
    trackingIdentifier: `Nodule ${number}`,
    trackingUid: deriveUid('bench finding', number),
    type: c.nodule,
    category: c.morphologicallyAbnormalStructure,
    site: c.lung,
    laterality: c.right,
    regions: [{ sopInstanceUid: uidOf(first + (depth >> 1)), points: outline }],
    mask: { slices: Array.from({ length: depth }, (_, i) => ({ sopInstanceUid: uidOf(first + i), runs })) },
    measurements: [
      { quantity: c.longAxis, value: 9.8, unit: c.millimeter, method: c.inPlaneExtent },
      { quantity: c.shortAxis, value: 7.1, unit: c.millimeter, method: c.inPlaneExtent },
      { quantity: c.volume, value: 312, unit: c.cubicMillimeter, method: c.segmentedVoxels },
      { quantity: c.attenuation, value: -12.4, unit: c.hounsfield, derivation: c.mean },
    ],
    evaluations: [],
    probability: 0.94,
  }
}
const findingsOf = items => ({
  algorithm: { name: 'Bench', version: '1', manufacturer: 'Radbridge' },
  status: 'findings',
  lookedFor: [c.nodule],
  items,
})

async function median(make) {
  for (let i = 0; i < 5; i++) await make() // code that runs the first time is not what a service runs
  const times = []
  for (let i = 0; i < rounds; i++) {
    const start = performance.now()
    await make()
    times.push(performance.now() - start)
  }
  return times.sort((a, b) => a - b)[rounds >> 1]
}

const row = cells => console.log(`| ${cells.join(' | ')} |`)
row(['', 'SR ms', 'floor', 'SR read ms', 'SEG ms', 'floor', 'SEG frames'])
row(['---', '---', '---', '---', '---', '---', '---'])
for (const [label, items] of [
  ['1 finding', [finding(1, 100, 10, 8)]],
  ['20 findings', Array.from({ length: 20 }, (_, i) => finding(i, (i * 13) % 280, 10, 8))],
  ['200 findings', Array.from({ length: 200 }, (_, i) => finding(i, (i * 13) % 280, 10, 8))],
  ['1 finding on 300 slices', [finding(1, 0, slices, 50)]],
]) {
  const findings = findingsOf(items)
  const [segmentation] = await segmentations(findings, context)
  const report = structuredReport(findings, context, [segmentation])
  const header = readPart10Header(report.bytes, true).header.json
  const frames = Number(segmentation.dataset['00280008'].Value[0])
  const pixels = new Uint8Array((frames * size * size) / 8).buffer
  const figures = [
    await median(() => structuredReport(findings, context, [segmentation])),
    await median(() => writePart10(report.dataset)),
    await median(() => readFindings(header)),
    await median(() => segmentations(findings, context)),
    await median(() => writePart10({ ...segmentation.dataset, '7FE00010': { vr: 'OB', Value: [pixels] } })),
  ]
  row([label, ...figures.map(ms => ms.toFixed(1)), frames])
}
