/** A CT volume in Hounsfield units; x is the column, y the row, z the slice. Index = (z · height + y) · width + x. */
export interface Volume {
  width: number
  height: number
  depth: number
  /** Distance between voxel centres in mm along x, y, z. */
  spacing: readonly [number, number, number]
  hounsfield: Int16Array
  /** +1 if x grows towards the patient's left, −1 if towards the right. */
  leftward: 1 | -1
}

export function voxelVolume({ spacing }: Volume): number {
  return spacing[0] * spacing[1] * spacing[2]
}
