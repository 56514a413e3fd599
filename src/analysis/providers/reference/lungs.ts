import { type Components, findComponents } from './components.js'
import { type Volume, voxelVolume } from './volume.js'

/** Voxels below this are air or lung: midway between lung and soft tissue. */
const airThreshold = -320
const leftMark = 2
const rightMark = 1
const closingRadius = 6 // mm
/** Of the largest air component; smaller ones are airways and bowel gas. */
const smallestShare = 0.15
const smallestMillilitres = 3

export interface Lungs {
  /** 0 outside, 1 in the right lung, 2 in the left; vessels and nodules inside are part of it. */
  mask: Uint8Array
  /** Voxels of the right and the left lung. */
  voxels: { right: number; left: number }
}

/**
 * Lung segmentation by threshold, connected components and closing, after S. Hu, E.A. Hoffman, J.M. Reinhardt, "Automatic lung
 * segmentation for accurate quantitation of volumetric X-ray CT images", IEEE Trans. Med. Imaging 20(6), 2001: air inside the body,
 * its one or two largest components, parted into right and left, holes filled, concavities at vessels closed in each slice.
 * @returns undefined if there is no lung in the volume
 */
export function segmentLungs(volume: Volume): Lungs | undefined {
  const { width, height, depth, hounsfield } = volume
  const mask = new Uint8Array(hounsfield.length)
  for (let i = 0; i < mask.length; i++) mask[i] = hounsfield[i]! < airThreshold ? 1 : 0
  for (let z = 0; z < depth; z++)
    clearAirAroundBody(mask.subarray(z * width * height, (z + 1) * width * height), width, height)

  const components = findComponents(mask, width, height, depth)
  const lungs = chooseLungs(components, voxelVolume(volume))
  if (lungs.length === 0) return undefined
  mask.fill(0)
  markSides(mask, volume, components, lungs)
  for (let z = 0; z < depth; z++) closeSlice(mask.subarray(z * width * height, (z + 1) * width * height), volume)

  const voxels = { right: 0, left: 0 }
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === rightMark) voxels.right++
    else if (mask[i] === leftMark) voxels.left++
  }
  return { mask, voxels }
}

/** Clears the set pixels that are connected to the edge of the slice. */
function clearAirAroundBody(slice: Uint8Array, width: number, height: number): void {
  const stack: number[] = []
  const visit = (i: number) => {
    if (slice[i] === 1) {
      slice[i] = 0
      stack.push(i)
    }
  }
  for (let x = 0; x < width; x++) {
    visit(x)
    visit((height - 1) * width + x)
  }
  for (let y = 0; y < height; y++) {
    visit(y * width)
    visit(y * width + width - 1)
  }
  while (stack.length > 0) {
    const i = stack.pop()!
    const x = i % width
    if (x > 0) visit(i - 1)
    if (x < width - 1) visit(i + 1)
    if (i >= width) visit(i - width)
    if (i < slice.length - width) visit(i + width)
  }
}

function chooseLungs(components: Components, voxelMm3: number): number[] {
  const bySize = [...components.size.keys()].sort((a, b) => components.size[b]! - components.size[a]!)
  const largest = components.size[bySize[0] ?? 0] ?? 0
  return bySize
    .slice(0, 2)
    .filter(
      c =>
        components.size[c]! >= smallestShare * largest &&
        (components.size[c]! * voxelMm3) / 1000 >= smallestMillilitres,
    )
}

/** Tells right from left by the component's centre; one component that spans both sides is cut at its waist. */
function markSides(mask: Uint8Array, volume: Volume, components: Components, lungs: readonly number[]): void {
  const { width } = volume
  const voxelsAtX = lungs.map(() => new Float64Array(width))
  forEachRun(components, lungs, (lung, start, length) => {
    const x = start % width
    for (let i = 0; i < length; i++) voxelsAtX[lung]![x + i]!++
  })
  const centers = voxelsAtX.map(weightedMean)
  const markOf = (isAtSmallX: boolean) => (isAtSmallX === (volume.leftward === 1) ? rightMark : leftMark)
  const waist = lungs.length === 1 ? findWaist(voxelsAtX[0]!) : undefined
  const cut = lungs.length === 2 ? (centers[0]! + centers[1]!) / 2 : width / 2
  forEachRun(components, lungs, (lung, start, length) => {
    if (waist === undefined) {
      mask.fill(markOf(centers[lung]! < cut), start, start + length)
      return
    }
    const x = start % width
    const before = Math.max(0, Math.min(length, waist - x))
    mask.fill(markOf(true), start, start + before)
    mask.fill(markOf(false), start + before, start + length)
  })
}

function forEachRun(
  components: Components,
  lungs: readonly number[],
  visit: (lung: number, start: number, length: number) => void,
): void {
  for (let run = 0; run < components.runs; run++) {
    const lung = lungs.indexOf(components.label[run]!)
    if (lung >= 0) visit(lung, components.start[run]!, components.length[run]!)
  }
}

function weightedMean(histogram: Float64Array): number {
  let sum = 0
  let weight = 0
  for (const [x, count] of histogram.entries()) {
    sum += x * count
    weight += count
  }
  return weight > 0 ? sum / weight : histogram.length / 2
}

/** The x in the middle half of a component's width with the fewest voxels, if it is thin there; otherwise undefined: one lung only. */
function findWaist(histogram: Float64Array): number | undefined {
  const first = histogram.findIndex(count => count > 0)
  const last = histogram.findLastIndex(count => count > 0)
  const span = last - first
  let waist = Math.round(first + span * 0.25)
  for (let x: number = waist; x <= first + span * 0.75; x++) if (histogram[x]! < histogram[waist]!) waist = x
  return histogram[waist]! < 0.25 * Math.max(...histogram) ? waist : undefined
}

/**
 * Fills holes of each lung in one slice, and closes its outline by a disc, at half resolution: pixels are only added where the closing
 * bridges a gap, so that smooth outlines stay as they are.
 */
function closeSlice(slice: Uint8Array, { width, height, spacing }: Volume): void {
  for (const mark of [rightMark, leftMark]) {
    const box = boundingBox(slice, width, height, mark)
    if (!box) continue
    const margin = Math.ceil(closingRadius / (2 * spacing[0])) + 2
    const w = ((box.right - box.left) >> 1) + 1 + 2 * margin
    const h = ((box.bottom - box.top) >> 1) + 1 + 2 * margin
    const coarse = new Uint8Array(w * h)
    const coarseIndex = (x: number, y: number) => (((y - box.top) >> 1) + margin) * w + ((x - box.left) >> 1) + margin
    for (let y = box.top; y <= box.bottom; y++) {
      for (let x = box.left; x <= box.right; x++) {
        if (slice[y * width + x] === mark) coarse[coarseIndex(x, y)] = 1
      }
    }
    const closed = closeByDisc(coarse, w, h, closingRadius, 2 * spacing[0], 2 * spacing[1])
    fillHoles(closed, w, h)
    for (let y = box.top; y <= box.bottom; y++) {
      for (let x: number = box.left; x <= box.right; x++) {
        const at = coarseIndex(x, y)
        const i = y * width + x
        if (slice[i] === 0 && closed[at] === 1 && (coarse[at] === 0 || isEnclosed(closed, at, w))) slice[i] = mark
      }
    }
  }
}

/** True if all neighbours are within the closed outline: a pixel missing here belongs to a hole, not to the outline. */
function isEnclosed(closed: Uint8Array, at: number, w: number): boolean {
  return closed[at - 1] === 1 && closed[at + 1] === 1 && closed[at - w] === 1 && closed[at + w] === 1
}

interface Box {
  left: number
  right: number
  top: number
  bottom: number
}

function boundingBox(slice: Uint8Array, width: number, height: number, mark: number): Box | undefined {
  let [left, right, top, bottom] = [width, -1, height, -1]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (slice[y * width + x] !== mark) continue
      if (x < left) left = x
      if (x > right) right = x
      if (y < top) top = y
      bottom = y
    }
  }
  return right < 0 ? undefined : { left, right, top, bottom }
}

/** Dilation, then erosion by a disc, both by distance. */
function closeByDisc(mask: Uint8Array, w: number, h: number, radius: number, dx: number, dy: number): Uint8Array {
  const outside = squaredDistance(mask, w, h, dx, dy)
  const dilated = new Uint8Array(mask.length)
  for (let i = 0; i < dilated.length; i++) dilated[i] = outside[i]! <= radius * radius ? 0 : 1 // the complement
  const inside = squaredDistance(dilated, w, h, dx, dy)
  for (let i = 0; i < dilated.length; i++) dilated[i] = mask[i] === 1 || inside[i]! > radius * radius ? 1 : 0
  return dilated
}

/** Squared Euclidean distance to the nearest set pixel (P. Felzenszwalb, D. Huttenlocher, Theory of Computing 8, 2012). */
function squaredDistance(mask: Uint8Array, w: number, h: number, dx: number, dy: number): Float64Array {
  const far = 1e12
  const grid = new Float64Array(mask.length)
  for (let i = 0; i < mask.length; i++) grid[i] = mask[i] === 1 ? 0 : far
  const size = Math.max(w, h)
  const f = new Float64Array(size)
  const v = new Int32Array(size)
  const z = new Float64Array(size + 1)
  const transform = (offset: number, stride: number, n: number, step: number) => {
    const s2 = step * step
    for (let q = 0; q < n; q++) f[q] = grid[offset + q * stride]!
    let k = 0
    v[0] = 0
    z[0] = -far
    z[1] = far
    for (let q = 1; q < n; q++) {
      let s: number
      for (;;) {
        const p = v[k]!
        s = (f[q]! + s2 * q * q - (f[p]! + s2 * p * p)) / (2 * s2 * (q - p))
        if (s > z[k]! || k === 0) break
        k--
      }
      if (s <= z[k]!) k = -1
      k++
      v[k] = q
      z[k] = k === 0 ? -far : s
      z[k + 1] = far
    }
    k = 0
    for (let q = 0; q < n; q++) {
      while (z[k + 1]! < q) k++
      const p = v[k]!
      grid[offset + q * stride] = s2 * (q - p) * (q - p) + f[p]!
    }
  }
  for (let x = 0; x < w; x++) transform(x, w, h, dy)
  for (let y = 0; y < h; y++) transform(y * w, 1, w, dx)
  return grid
}

/** Sets all clear pixels that are not connected to the edge. */
function fillHoles(mask: Uint8Array, w: number, h: number): void {
  const reached = new Uint8Array(mask.length)
  const stack: number[] = []
  const visit = (i: number) => {
    if (mask[i] === 0 && reached[i] === 0) {
      reached[i] = 1
      stack.push(i)
    }
  }
  for (let x = 0; x < w; x++) {
    visit(x)
    visit((h - 1) * w + x)
  }
  for (let y = 0; y < h; y++) {
    visit(y * w)
    visit(y * w + w - 1)
  }
  while (stack.length > 0) {
    const i = stack.pop()!
    const x = i % w
    if (x > 0) visit(i - 1)
    if (x < w - 1) visit(i + 1)
    if (i >= w) visit(i - w)
    if (i + w < mask.length) visit(i + w)
  }
  for (let i = 0; i < mask.length; i++) if (reached[i] === 0) mask[i] = 1
}
