import { deriveUid } from '../dicom/uid.js'
import { type DataSetToWrite, writePart10 } from '../dicom/writePart10.js'

/** A sphere of soft tissue inside a lung. */
export interface PhantomNodule {
  /** mm from the centre of the volume, patient coordinates: left, posterior, head. */
  center: readonly [number, number, number]
  diameter: number
}

export interface PhantomOptions {
  /** Pixels of a row and of a column. */
  size: number
  slices: number
  pixelSpacing: number
  sliceSpacing: number
  nodules: readonly PhantomNodule[]
  vessels: boolean
  /** Standard deviation of Gaussian noise in HU. */
  noise: number
  seed: number
  /** Tells one phantom study from another. */
  study: string
  patientName?: string
  /** Patient ID; by default each study has a patient of its own. */
  patientId?: string
  /** `YYYYMMDD` */
  studyDate?: string
  /** Where the centre of the volume lies in patient coordinates, mm: no two examinations have the same frame of reference. */
  origin?: readonly [number, number, number]
}

/** HU of the phantom's materials. */
export const phantomDensity = { air: -1000, tissue: 40, lung: -850, bone: 700 }
/** Half axes of the lungs' ellipsoids in mm, and the distance of their centres from the midline. */
export const phantomLungs = { halfAxes: [58, 78, 120] as const, offset: 76 }

const demoNodules: readonly PhantomNodule[] = [
  { center: [-85, 10, 40], diameter: 12 },
  { center: [70, -20, -30], diameter: 8 },
  { center: [90, 15, 35], diameter: 20 },
  { center: [-65, -25, -45], diameter: 5 },
]

export const demoPhantom: PhantomOptions = {
  size: 256,
  slices: 120,
  pixelSpacing: 1.3,
  sliceSpacing: 2,
  nodules: demoNodules,
  vessels: true,
  noise: 25,
  seed: 1,
  study: 'demo',
}

/** A thorax with two lungs, optional branching vessels and sphere nodules, as slices of Hounsfield units. */
export class Phantom {
  private readonly vessels: Tube[]
  constructor(readonly options: PhantomOptions) {
    this.vessels = options.vessels ? branchingVessels(options) : []
  }

  /** Position of the first pixel's centre of slice `z` in mm, and millimetres per step. */
  private coordinates(z: number) {
    const { size, slices, pixelSpacing, sliceSpacing } = this.options
    const origin = -((size - 1) / 2) * pixelSpacing
    return { origin, z: (z - (slices - 1) / 2) * sliceSpacing }
  }

  /** HU of one slice, row by row. Boundaries of nodules and vessels are averaged over the voxel. */
  slice(z: number): Int16Array {
    const { size, pixelSpacing, sliceSpacing, nodules, noise, seed } = this.options
    const { origin, z: zMm } = this.coordinates(z)
    const random = generator(seed * 7919 + z)
    const out = new Int16Array(size * size)
    const near = nodules.filter(n => Math.abs(n.center[2] - zMm) < n.diameter / 2 + sliceSpacing)
    const tubes = this.vessels.filter(t => t.lowest - sliceSpacing < zMm && t.highest + sliceSpacing > zMm)
    for (let row = 0; row < size; row++) {
      const y = origin + row * pixelSpacing
      for (let column = 0; column < size; column++) {
        const x = origin + column * pixelSpacing
        let hu = thorax(x, y, zMm)
        if (hu === phantomDensity.lung) {
          let share = 0
          for (const n of near) share = Math.max(share, sphereShare(n, x, y, zMm, pixelSpacing, sliceSpacing))
          for (const t of tubes) share = Math.max(share, tubeShare(t, x, y, zMm, pixelSpacing))
          hu += share * (phantomDensity.tissue - phantomDensity.lung)
        }
        out[row * size + column] = Math.round(hu + (noise > 0 ? noise * random() : 0))
      }
    }
    return out
  }

  /** The study as Part 10 files, one a slice, made one by one. */
  *files(): Generator<Buffer> {
    for (let z = 0; z < this.options.slices; z++) yield this.file(z)
  }

  /** One slice as CT Image Storage, Explicit VR Little Endian, 16 bits, rescaled by −1024. */
  file(z: number): Buffer {
    const { size, slices, pixelSpacing, sliceSpacing, study, patientName, patientId } = this.options
    const { studyDate = '20261120', origin: place = [0, 0, 0] } = this.options
    const { origin, z: zMm } = this.coordinates(z)
    const pixels = this.slice(z).map(hu => Math.max(0, Math.min(4095, hu + 1024)))
    const uid = (...parts: (string | number)[]) => [deriveUid('phantom', study, ...parts)]
    const dataset: DataSetToWrite = {
      '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
      '00080008': { vr: 'CS', Value: ['ORIGINAL', 'PRIMARY', 'AXIAL'] },
      '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
      '00080018': { vr: 'UI', Value: uid('instance', z) },
      '00080020': { vr: 'DA', Value: [studyDate] },
      '00080030': { vr: 'TM', Value: ['101112'] },
      '00080050': { vr: 'SH', Value: ['PHANTOM'] },
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00080070': { vr: 'LO', Value: ['Radbridge'] },
      '00080090': { vr: 'PN' },
      '00081030': { vr: 'LO', Value: ['Chest CT phantom'] },
      '0008103E': { vr: 'LO', Value: ['Lung'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: patientName ?? 'Phantom^Thorax' }] },
      '00100020': { vr: 'LO', Value: [(patientId ?? `PHANTOM-${study}`).slice(0, 64)] },
      '00100030': { vr: 'DA', Value: ['19600101'] },
      '00100040': { vr: 'CS', Value: ['O'] },
      '00180015': { vr: 'CS', Value: ['CHEST'] },
      '00180050': { vr: 'DS', Value: [String(sliceSpacing)] },
      '00180060': { vr: 'DS', Value: ['120'] },
      '0020000D': { vr: 'UI', Value: uid('study') },
      '0020000E': { vr: 'UI', Value: uid('series') },
      '00200010': { vr: 'SH', Value: ['1'] },
      '00200011': { vr: 'IS', Value: ['2'] },
      '00200012': { vr: 'IS', Value: ['1'] },
      '00200013': { vr: 'IS', Value: [String(slices - z)] },
      '00200032': { vr: 'DS', Value: [origin + place[0], origin + place[1], zMm + place[2]].map(v => v.toFixed(3)) },
      '00200037': { vr: 'DS', Value: ['1', '0', '0', '0', '1', '0'] },
      '00200052': { vr: 'UI', Value: uid('frame of reference') },
      '00201040': { vr: 'LO' },
      '00280002': { vr: 'US', Value: [1] },
      '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
      '00280010': { vr: 'US', Value: [size] },
      '00280011': { vr: 'US', Value: [size] },
      '00280030': { vr: 'DS', Value: [String(pixelSpacing), String(pixelSpacing)] },
      '00280100': { vr: 'US', Value: [16] },
      '00280101': { vr: 'US', Value: [12] },
      '00280102': { vr: 'US', Value: [11] },
      '00280103': { vr: 'US', Value: [0] },
      '00281050': { vr: 'DS', Value: ['-600'] },
      '00281051': { vr: 'DS', Value: ['1500'] },
      '00281052': { vr: 'DS', Value: ['-1024'] },
      '00281053': { vr: 'DS', Value: ['1'] },
      '00281054': { vr: 'LO', Value: ['HU'] },
      '7FE00010': { vr: 'OW', Value: [new Uint16Array(pixels).buffer] },
    }
    return writePart10(dataset)
  }
}

function thorax(x: number, y: number, z: number): number {
  if ((x / 160) ** 2 + (y / 110) ** 2 > 1) return phantomDensity.air
  if ((x / 14) ** 2 + ((y - 85) / 14) ** 2 < 1) return phantomDensity.bone
  const { halfAxes, offset } = phantomLungs
  const inLung = ((Math.abs(x) - offset) / halfAxes[0]) ** 2 + (y / halfAxes[1]) ** 2 + (z / halfAxes[2]) ** 2 < 1
  return inLung ? phantomDensity.lung : phantomDensity.tissue
}

/** Share of the voxel that the sphere fills, by 3 × 3 × 3 points. */
function sphereShare(nodule: PhantomNodule, x: number, y: number, z: number, dx: number, dz: number): number {
  const radius = nodule.diameter / 2
  const [cx, cy, cz] = nodule.center
  const distance = Math.hypot(x - cx, y - cy, z - cz)
  if (distance > radius + dx + dz) return 0
  let inside = 0
  for (const i of [-1, 0, 1]) {
    for (const j of [-1, 0, 1]) {
      for (const k of [-1, 0, 1]) {
        if (
          (x + (i * dx) / 3 - cx) ** 2 + (y + (j * dx) / 3 - cy) ** 2 + (z + (k * dz) / 3 - cz) ** 2 <=
          radius * radius
        )
          inside++
      }
    }
  }
  return inside / 27
}

interface Tube {
  from: readonly [number, number, number]
  to: readonly [number, number, number]
  radius: number
  lowest: number
  highest: number
}

function tubeShare({ from, to, radius }: Tube, x: number, y: number, z: number, dx: number): number {
  const d = [to[0] - from[0], to[1] - from[1], to[2] - from[2]] as const
  const length2 = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
  const along = ((x - from[0]) * d[0] + (y - from[1]) * d[1] + (z - from[2]) * d[2]) / length2
  const t = Math.max(0, Math.min(1, along))
  const distance = Math.hypot(x - from[0] - t * d[0], y - from[1] - t * d[1], z - from[2] - t * d[2])
  return Math.max(0, Math.min(1, (radius - distance) / dx + 0.5))
}

/** A tree in each lung from the hilum outward: each branch parts in two thinner ones. It keeps away from the nodules. */
function branchingVessels({ nodules, seed }: PhantomOptions): Tube[] {
  const random = generator(seed)
  const tubes: Tube[] = []
  const grow = (
    from: readonly [number, number, number],
    direction: readonly [number, number, number],
    radius: number,
    length: number,
  ) => {
    if (radius < 0.9) return
    const to = [
      from[0] + direction[0] * length,
      from[1] + direction[1] * length,
      from[2] + direction[2] * length,
    ] as const
    const { halfAxes, offset } = phantomLungs
    const inside =
      ((Math.abs(to[0]) - offset) / halfAxes[0]) ** 2 + (to[1] / halfAxes[1]) ** 2 + (to[2] / halfAxes[2]) ** 2 < 0.8
    const clear = nodules.every(n => distanceToSegment(n.center, from, to) > n.diameter / 2 + radius + 3)
    if (!inside || !clear) return
    tubes.push({
      from,
      to,
      radius,
      lowest: Math.min(from[2], to[2]) - radius,
      highest: Math.max(from[2], to[2]) + radius,
    })
    for (const side of [-1, 1]) {
      const turned = direction.map(v => v + side * 0.45 * random()) as [number, number, number]
      const norm = Math.hypot(...turned)
      grow(to, turned.map(v => v / norm) as [number, number, number], radius * 0.75, length * 0.85)
    }
  }
  for (const side of [-1, 1]) {
    for (const [dy, dz] of [
      [0.2, 0.8],
      [-0.3, 0],
      [0.3, -0.8],
    ] as const) {
      const norm = Math.hypot(1, dy, dz)
      grow([side * (phantomLungs.offset - 50), 0, dz * 20], [side / norm, dy / norm, dz / norm], 3, 24)
    }
  }
  return tubes
}

function distanceToSegment(p: readonly number[], a: readonly number[], b: readonly number[]): number {
  const d = [b[0]! - a[0]!, b[1]! - a[1]!, b[2]! - a[2]!]
  const length2 = d[0]! ** 2 + d[1]! ** 2 + d[2]! ** 2
  const t = Math.max(
    0,
    Math.min(1, ((p[0]! - a[0]!) * d[0]! + (p[1]! - a[1]!) * d[1]! + (p[2]! - a[2]!) * d[2]!) / length2),
  )
  return Math.hypot(p[0]! - a[0]! - t * d[0]!, p[1]! - a[1]! - t * d[1]!, p[2]! - a[2]! - t * d[2]!)
}

/** Standard normal numbers, always the same for a seed (mulberry32, sum of uniforms). */
function generator(seed: number): () => number {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3)
}
