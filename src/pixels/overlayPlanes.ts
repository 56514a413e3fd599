import { type DicomJson, numberOf, numbersOf } from '../dicom/dicomJson.js'
import type { View } from './view.js'

/** One overlay of a frame (PS3.3 C.9.2): which pixels it covers. */
export interface OverlayPlane {
  rows: number
  columns: number
  /** Of its first pixel within the image, from 0; may lie outside. */
  top: number
  left: number
  covers(row: number, column: number): boolean
}

const groups = Array.from({ length: 16 }, (_, i) => (0x6000 + i * 2).toString(16).toUpperCase())

/** The overlays of a frame, from 0, that stand in Overlay Data (60xx,3000), graphics and regions of interest alike. */
export function overlayPlanes(header: DicomJson, frame: number): OverlayPlane[] {
  return groups.flatMap(group => {
    const [rows, columns] = [numberOf(header, `${group}0010`), numberOf(header, `${group}0011`)]
    const data = header[`${group}3000`]?.InlineBinary
    if (!rows || !columns || data === undefined) return []
    const frames = numberOf(header, `${group}0015`) ?? 1
    const first = (numberOf(header, `${group}0051`) ?? 1) - 1
    const plane = frames > 1 ? frame - first : 0
    if (plane < 0 || plane >= frames) return []
    const bits = Buffer.from(data, 'base64')
    const start = plane * rows * columns
    if (bits.length * 8 < start + rows * columns) return [] // cut short: no overlay is better than a wrong one
    const [top = 1, left = 1] = numbersOf(header, `${group}0050`)
    const covers = (row: number, column: number) => {
      const bit = start + row * columns + column
      return ((bits[bit >> 3]! >> (bit & 7)) & 1) === 1
    }
    return [{ rows, columns, top: top - 1, left: left - 1, covers }]
  })
}

/** Draws overlays in white over a picture of an image of so many rows and columns, in place. */
export function drawOverlays(view: View, rows: number, columns: number, planes: readonly OverlayPlane[]): void {
  const { width, height, channels, data } = view
  for (const plane of planes) {
    for (let y = 0; y < height; y++) {
      const row = Math.floor(((y + 0.5) * rows) / height) - plane.top
      if (row < 0 || row >= plane.rows) continue
      for (let x = 0; x < width; x++) {
        const column = Math.floor(((x + 0.5) * columns) / width) - plane.left
        if (column < 0 || column >= plane.columns || !plane.covers(row, column)) continue
        data.fill(255, (y * width + x) * channels, (y * width + x + 1) * channels)
      }
    }
  }
}
