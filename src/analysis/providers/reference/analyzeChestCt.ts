import { type Lungs, segmentLungs } from './lungs.js'
import { findNodules, type Nodule } from './nodules.js'
import { type Volume, voxelVolume } from './volume.js'

export interface LungMeasurements {
  side: 'right' | 'left'
  /** mL, of everything inside the lung's outline. */
  volume: number
  /** HU. */
  meanDensity: number
  /** Share of the lung below −950 HU, percent (emphysema index, P.A. Gevenois et al., Am J Respir Crit Care Med 154, 1996). */
  lowAttenuationArea: number
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
  for (let i = 0; i < lungs.mask.length; i++) {
    const lung = lungs.mask[i]!
    if (lung === 0) continue
    const hu = volume.hounsfield[i]!
    sum[lung]! += hu
    if (hu < lowAttenuation) low[lung]!++
  }
  const mL = voxelVolume(volume) / 1000
  return (['right', 'left'] as const).flatMap((side, i) => {
    const lung = i + 1
    const voxels = count[lung]!
    if (voxels === 0) return []
    return [
      { side, volume: voxels * mL, meanDensity: sum[lung]! / voxels, lowAttenuationArea: (100 * low[lung]!) / voxels },
    ]
  })
}
