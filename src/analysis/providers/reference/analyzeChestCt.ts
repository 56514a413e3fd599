import { type Lungs, segmentLungs } from './lungs.js'
import { findNodules, type Nodule } from './nodules.js'
import { outlineOf } from './outline.js'
import { type Volume, voxelVolume } from './volume.js'

export interface LungMeasurements {
  side: 'right' | 'left'
  /** mL, of everything inside the lung's outline. */
  volume: number
  /** HU. */
  meanDensity: number
  /** Share of the lung below −950 HU, percent (emphysema index, P.A. Gevenois et al., Am J Respir Crit Care Med 154, 1996). */
  lowAttenuationArea: number
  /** The slice, from 0, on which the lung is largest, and its outline there in pixel corners. */
  keySlice: number
  outline: [number, number][]
}

export interface ChestCtResult {
  lungs: LungMeasurements[]
  nodules: Nodule[]
}

const lowAttenuation = -950
const minimumSlicesForNodules = 3

/** Lungs and nodule candidates of a chest CT. For integration testing, not for diagnosis. */
export function analyzeChestCt(volume: Volume): ChestCtResult {
  const lungs = segmentLungs(volume)
  if (!lungs) return { lungs: [], nodules: [] }
  const nodules = volume.depth >= minimumSlicesForNodules ? findNodules(volume, lungs) : []
  return { lungs: measureLungs(volume, lungs), nodules }
}

function measureLungs(volume: Volume, lungs: Lungs): LungMeasurements[] {
  const sum = [0, 0, 0]
  const low = [0, 0, 0]
  const count = [0, lungs.voxels.right, lungs.voxels.left]
  /** Voxels of each lung by slice. */
  const area = [0, 1, 2].map(() => new Uint32Array(volume.depth))
  const sliceSize = volume.width * volume.height
  for (let slice = 0, i = 0; slice < volume.depth; slice++) {
    for (const end = i + sliceSize; i < end; i++) {
      const lung = lungs.mask[i]!
      if (lung === 0) continue
      const hu = volume.hounsfield[i]!
      sum[lung]! += hu
      if (hu < lowAttenuation) low[lung]!++
      area[lung]![slice]!++
    }
  }
  const mL = voxelVolume(volume) / 1000
  return (['right', 'left'] as const).flatMap((side, i) => {
    const lung = i + 1
    const voxels = count[lung]!
    if (voxels === 0) return []
    const keySlice = area[lung]!.indexOf(area[lung]!.reduce((most, voxels) => Math.max(most, voxels), 0))
    return [
      {
        side,
        volume: voxels * mL,
        meanDensity: sum[lung]! / voxels,
        lowAttenuationArea: (100 * low[lung]!) / voxels,
        keySlice,
        outline: outlineOf(runsOf(volume, lungs, lung, keySlice)),
      },
    ]
  })
}

function runsOf({ width, height }: Volume, { mask }: Lungs, lung: number, slice: number) {
  const runs: { row: number; column: number; length: number }[] = []
  for (let row = 0; row < height; row++) {
    const start = (slice * height + row) * width
    for (let column = 0; column < width; column++) {
      if (mask[start + column] !== lung) continue
      let end = column + 1
      while (end < width && mask[start + end] === lung) end++
      runs.push({ row, column, length: end - column })
      column = end
    }
  }
  return runs
}
