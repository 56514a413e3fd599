import type { Found, ImageResult } from '../../calling/found.js'
import type { Origin } from '../../calling/prepareImage.js'
import type { MaskRun } from '../../findings.js'

interface Size {
  rows: number
  columns: number
}

/** Boxes of one label that cover each other by more than that share are one. */
const sameBox = 0.5

/**
 * What was found on overlapping patches, as found on the image: a score is the highest of all patches, boxes of one thing are the most confident one (non-maximum suppression), masks are
 * put together. What lies beyond the edges of the image is cut off.
 */
export function mergePatches(parts: readonly { origin: Origin; result: ImageResult }[], image: Size): ImageResult {
  const all = parts.flatMap(({ origin, result }) => result.findings.flatMap(found => moved(found, origin, image)))
  const scores = new Map<string, Found>()
  const boxes: Found[] = []
  const masks = new Map<string, Found>()
  for (const found of all.sort((a, b) => (b.confidence ?? 0) - (a.confidence ?? 0))) {
    if (found.mask) {
      const known = masks.get(found.label)
      masks.set(found.label, known ? { ...known, mask: [...known.mask!, ...found.mask] } : found)
    } else if (found.box) {
      if (!boxes.some(other => other.label === found.label && overlapOf(other.box!, found.box!) > sameBox))
        boxes.push(found)
    } else if (!scores.has(found.label)) scores.set(found.label, found)
  }
  return {
    findings: [
      ...scores.values(),
      ...boxes,
      ...[...masks.values()].map(found => ({ ...found, mask: union(found.mask!) })),
    ],
  }
}

function moved(found: Found, { row, column }: Origin, { rows, columns }: Size): Found[] {
  if (found.mask) {
    const mask = found.mask
      .map(run => ({ row: run.row + row, column: run.column + column, length: run.length }))
      .filter(run => run.row < rows && run.column < columns)
      .map(run => ({ ...run, length: Math.min(run.length, columns - run.column) }))
    return mask.length > 0 ? [{ ...found, mask }] : []
  }
  if (!found.box) return [found]
  const [left, top, right, bottom] = found.box
  const box = [left + column, top + row, Math.min(columns, right + column), Math.min(rows, bottom + row)] as [
    number,
    number,
    number,
    number,
  ]
  return box[0] < box[2] && box[1] < box[3] ? [{ ...found, box }] : []
}

type Box = readonly [number, number, number, number]

/** Intersection over union. */
function overlapOf(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0])
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1])
  if (width <= 0 || height <= 0) return 0
  const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1])
  return (width * height) / (area(a) + area(b) - width * height)
}

/** Runs in the order of rows and columns, those that touch or overlap as one. */
function union(runs: readonly MaskRun[]): MaskRun[] {
  const merged: MaskRun[] = []
  for (const run of [...runs].sort((a, b) => a.row - b.row || a.column - b.column)) {
    const last = merged.at(-1)
    if (last && last.row === run.row && run.column <= last.column + last.length)
      last.length = Math.max(last.length, run.column + run.length - last.column)
    else merged.push({ row: run.row, column: run.column, length: run.length })
  }
  return merged
}
