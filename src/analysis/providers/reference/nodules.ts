import { type Components, findComponents } from './components.js'
import type { Lungs } from './lungs.js'
import { type Volume, voxelVolume } from './volume.js'

/** Midway between lung and soft tissue: the boundary of a solid nodule at half of its contrast. */
const solidThreshold = -400
/** Equivalent diameter, mm; a little wider than the 4 to 30 mm reported on, since sampling rounds. */
const diameters = { smallest: 3.4, largest: 32 }
/** Longest over shortest axis of the ellipsoid with the component's moments; vessels are longer. */
const maxElongation = 2.2
/** Component's volume over that of its moment ellipsoid; branching trees fill less of it. */
const minCompactness = 0.75
/** Share of the surface that may lie at the lung's own boundary; chest wall and hilum have more. */
const maxBoundaryShare = 0.35
const maxNodules = 500

export interface Nodule {
  side: 'right' | 'left'
  /** Voxel coordinates of the centre of mass. */
  center: [number, number, number]
  /** mm, in the slice of the largest area: greatest extent, and the extent at right angles to it. */
  longAxis: number
  shortAxis: number
  /** mm³, by counting voxels. */
  volume: number
  meanHounsfield: number
  /** Slice of the largest area. */
  keySlice: number
  /** First index and length of each run of voxels, in the order of the volume. */
  runs: { start: number; length: number }[]
}

/**
 * Solid nodule candidates: compact bright components inside the lungs, by size and shape (compare A.P. Reeves et al., "On measuring the
 * change in size of pulmonary nodules", IEEE Trans. Med. Imaging 25(4), 2006, for the volume at half contrast). Candidates that
 * touch a vessel of their own brightness are not told apart from it.
 */
export function findNodules(volume: Volume, lungs: Lungs): Nodule[] {
  const { width, height, depth, hounsfield } = volume
  const bright = new Uint8Array(lungs.mask.length)
  for (let i = 0; i < bright.length; i++) bright[i] = lungs.mask[i] !== 0 && hounsfield[i]! > solidThreshold ? 1 : 0
  const components = findComponents(bright, width, height, depth)
  const mm3 = voxelVolume(volume)
  const smallest = (Math.PI / 6) * diameters.smallest ** 3
  const largest = (Math.PI / 6) * diameters.largest ** 3
  const plausible = [...components.size.keys()].filter(
    c => components.size[c]! * mm3 >= smallest && components.size[c]! * mm3 <= largest,
  )
  return runsOf(components, plausible)
    .filter(runs => isCompact(volume, runs) && boundaryShare(lungs.mask, bright, volume, runs) <= maxBoundaryShare)
    .map(runs => measure(volume, lungs, runs))
    .sort((a, b) => b.volume - a.volume)
    .slice(0, maxNodules)
}

type Runs = Nodule['runs']

function runsOf(components: Components, wanted: readonly number[]): Runs[] {
  const position = new Map(wanted.map((component, i) => [component, i]))
  const lists: Runs[] = wanted.map(() => [])
  for (let run = 0; run < components.runs; run++) {
    const at = position.get(components.label[run]!)
    if (at !== undefined) lists[at]!.push({ start: components.start[run]!, length: components.length[run]! })
  }
  return lists
}

function forEachVoxel(
  { width, height }: Volume,
  runs: Runs,
  visit: (x: number, y: number, z: number, index: number) => void,
): void {
  for (const { start, length } of runs) {
    const z = Math.floor(start / (width * height))
    const y = Math.floor(start / width) - z * height
    const x = start % width
    for (let i = 0; i < length; i++) visit(x + i, y, z, start + i)
  }
}

function isCompact(volume: Volume, runs: Runs): boolean {
  const [sx, sy, sz] = volume.spacing
  let n = 0
  const sum = [0, 0, 0]
  const products = [0, 0, 0, 0, 0, 0]
  forEachVoxel(volume, runs, (vx, vy, vz) => {
    const [x, y, z] = [vx * sx, vy * sy, vz * sz]
    n++
    sum[0]! += x
    sum[1]! += y
    sum[2]! += z
    products[0]! += x * x
    products[1]! += y * y
    products[2]! += z * z
    products[3]! += x * y
    products[4]! += x * z
    products[5]! += y * z
  })
  const [mx, my, mz] = sum.map(s => s / n) as [number, number, number]
  // A voxel is not a point: its own second moment is spacing²/12.
  const xx = products[0]! / n - mx * mx + (sx * sx) / 12
  const yy = products[1]! / n - my * my + (sy * sy) / 12
  const zz = products[2]! / n - mz * mz + (sz * sz) / 12
  const [a, b, c] = eigenvalues(
    xx,
    yy,
    zz,
    products[3]! / n - mx * my,
    products[4]! / n - mx * mz,
    products[5]! / n - my * mz,
  )
  if (c <= 0 || Math.sqrt(a / c) > maxElongation) return false
  const ellipsoid = (4 / 3) * Math.PI * 5 ** 1.5 * Math.sqrt(a * b * c)
  return (n * voxelVolume(volume)) / ellipsoid >= minCompactness
}

/** Eigenvalues of a symmetric 3 × 3 matrix, largest first (O.K. Smith, Comm. ACM 4(4), 1961). */
function eigenvalues(xx: number, yy: number, zz: number, xy: number, xz: number, yz: number): [number, number, number] {
  const off = xy * xy + xz * xz + yz * yz
  const q = (xx + yy + zz) / 3
  const p = Math.sqrt(((xx - q) ** 2 + (yy - q) ** 2 + (zz - q) ** 2 + 2 * off) / 6)
  if (p < 1e-12) return [q, q, q]
  const [a, b, c] = [(xx - q) / p, (yy - q) / p, (zz - q) / p]
  const [d, e, f] = [xy / p, xz / p, yz / p]
  const half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
  const phi = Math.acos(Math.max(-1, Math.min(1, half))) / 3
  const first = q + 2 * p * Math.cos(phi)
  const third = q + 2 * p * Math.cos(phi + (2 * Math.PI) / 3)
  return [first, 3 * q - first - third, third]
}

/** Of the faces between the component and what is not bright lung tissue, the share that lies outside of the lungs. */
function boundaryShare(lungs: Uint8Array, bright: Uint8Array, { width, height, depth }: Volume, runs: Runs): number {
  let faces = 0
  let outside = 0
  const slice = width * height
  forEachVoxel({ width, height } as Volume, runs, (x, y, z, i) => {
    const look = (inside: boolean, neighbour: number) => {
      if (inside && bright[neighbour] === 1) return
      faces++
      if (!inside || lungs[neighbour] === 0) outside++
    }
    look(x > 0, i - 1)
    look(x < width - 1, i + 1)
    look(y > 0, i - width)
    look(y < height - 1, i + width)
    look(z > 0, i - slice)
    look(z < depth - 1, i + slice)
  })
  return outside / faces
}

function measure(volume: Volume, lungs: Lungs, runs: Runs): Nodule {
  const center: [number, number, number] = [0, 0, 0]
  const areas = new Map<number, number>()
  let voxels = 0
  let density = 0
  let left = 0
  forEachVoxel(volume, runs, (x, y, z, i) => {
    center[0] += x
    center[1] += y
    center[2] += z
    voxels++
    density += volume.hounsfield[i]!
    areas.set(z, (areas.get(z) ?? 0) + 1)
    if (lungs.mask[i] === 2) left++
  })
  const keySlice = [...areas].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0]![0]
  return {
    side: left * 2 > voxels ? 'left' : 'right',
    center: center.map(sum => sum / voxels) as [number, number, number],
    ...axesInSlice(volume, runs, keySlice),
    volume: voxels * voxelVolume(volume),
    meanHounsfield: density / voxels,
    keySlice,
    runs,
  }
}

/** Greatest distance between pixels of the slice, and the extent at right angles to it; half a pixel added for their size. */
function axesInSlice(volume: Volume, runs: Runs, slice: number): { longAxis: number; shortAxis: number } {
  const { width, height, spacing } = volume
  const ends: [number, number][] = [] // the ends of its runs hold the extreme points
  for (const { start, length } of runs) {
    if (Math.floor(start / (width * height)) !== slice) continue
    const y = (Math.floor(start / width) % height) * spacing[1]
    const x = start % width
    ends.push([x * spacing[0], y], [(x + length - 1) * spacing[0], y])
  }
  let longest = { distance: 0, dx: 1, dy: 0 }
  for (const [i, a] of ends.entries()) {
    for (const b of ends.slice(i + 1)) {
      const distance = Math.hypot(b[0] - a[0], b[1] - a[1])
      if (distance > longest.distance)
        longest = { distance, dx: (b[0] - a[0]) / distance, dy: (b[1] - a[1]) / distance }
    }
  }
  const across = ends.map(([x, y]) => -x * longest.dy + y * longest.dx)
  const pixel = (spacing[0] + spacing[1]) / 4
  return { longAxis: longest.distance + pixel, shortAxis: Math.max(...across) - Math.min(...across) + pixel }
}
