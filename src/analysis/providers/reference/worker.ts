import { analyzeChestCt, type ChestCtResult } from './analyzeChestCt.js'
import { type ImageQuality, measureImageQuality } from './imageQuality.js'
import type { Volume } from './volume.js'

/** Work for the analysis thread. The volume's voxels are in shared memory. */
export type ReferenceTask =
  | { kind: 'chest-ct'; volume: Volume }
  | {
      kind: 'image-quality'
      samples: ArrayLike<number>
      image: { rows: number; columns: number; bitsStored: number; signed: boolean }
    }

export default function run(task: ReferenceTask): ChestCtResult | ImageQuality {
  return task.kind === 'chest-ct' ? analyzeChestCt(task.volume) : measureImageQuality(task.samples, task.image)
}
