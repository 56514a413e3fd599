import type { NormalizedImage, Vec3 } from './normalizedStudy.js'

/** A stack of parallel slices, sorted along their common normal. */
export interface Stack {
  /** In the direction of the normal, that is, rowDirection × columnDirection. */
  images: NormalizedImage[]
  normal: Vec3
  /** Distance between slice centres, mm: the median. */
  sliceSpacing: number
  /** What keeps the stack from being a complete volume, in words; empty if nothing does. */
  defects: string[]
}

const directionTolerance = 1e-3

/**
 * Makes a stack of the images of a series. Localizers and slices of another orientation or size than most are left out;
 * doubled positions, missing slices and uneven spacing are told as defects.
 * @returns undefined if no image has geometry
 */
export function makeStack(images: readonly NormalizedImage[]): Stack | undefined {
  const usable = images.filter(image => image.geometry && !image.imageType.includes('LOCALIZER'))
  const groups = new Map<string, NormalizedImage[]>()
  for (const image of usable) {
    const { rowDirection, columnDirection, spacing } = image.geometry!
    const rounded = [...rowDirection, ...columnDirection].map(v => Math.round(v / directionTolerance) + 0)
    const key = [...rounded, image.rows, image.columns, ...spacing.map(s => s.toFixed(4))].join(' ')
    groups.set(key, [...(groups.get(key) ?? []), image])
  }
  const largest = [...groups.values()].sort((a, b) => b.length - a.length)[0]
  if (!largest) return undefined
  const defects: string[] = []
  const otherwise = usable.length - largest.length
  if (otherwise > 0)
    defects.push(`${otherwise} slices have another orientation, size or pixel spacing and were left out`)

  const { rowDirection, columnDirection } = largest[0]!.geometry!
  const normal = cross(rowDirection, columnDirection)
  const along = (image: NormalizedImage) => dot(image.geometry!.position, normal)
  const sorted = [...largest].sort((a, b) => along(a) - along(b) || (a.sopInstanceUid < b.sopInstanceUid ? -1 : 1))
  const distinct = sorted.filter((image, i) => i === 0 || along(image) - along(sorted[i - 1]!) > 0.01)
  if (distinct.length < sorted.length)
    defects.push(`${sorted.length - distinct.length} slices lie at the position of another one`)

  const distances = distinct.slice(1).map((image, i) => along(image) - along(distinct[i]!))
  const sliceSpacing = median(distances) ?? largest[0]!.geometry!.sliceThickness ?? 1
  const missing = distances.reduce((sum, d) => sum + (d > 1.5 * sliceSpacing ? Math.round(d / sliceSpacing) - 1 : 0), 0)
  if (missing > 0) defects.push(`${missing} slices are missing between the first and the last`)
  else if (distances.some(d => Math.abs(d - sliceSpacing) > 0.1 * sliceSpacing))
    defects.push('the distance between slices is uneven')
  return { images: distinct, normal, sliceSpacing, defects }
}

/** Where an image lies along its own normal, mm; undefined without a place. */
export function placeAlongNormal({ geometry }: NormalizedImage): number | undefined {
  return geometry && dot(geometry.position, cross(geometry.rowDirection, geometry.columnDirection))
}

function cross(a: Vec3, b: Vec3): Vec3 {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

function dot(a: Vec3, b: Vec3): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

function median(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : [...values].sort((a, b) => a - b)[values.length >> 1]
}
