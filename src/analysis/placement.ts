import { type DicomJson, numberOf } from '../dicom/dicomJson.js'
import type { Findings, ImageReference, MaskRun } from './findings.js'

/** Something of a finding that lies on an image: an outline, a slice of a mask or of a map, or the image alone. */
type Place = ImageReference & {
  points?: readonly (readonly [number, number])[]
  runs?: readonly MaskRun[]
  rows?: number
  columns?: number
}

/**
 * What of the findings does not lie on the images that were analysed, in words; undefined if all does.
 * @param headerOf the data set of an image; undefined if it was not analysed
 */
export function misplaced(
  { items, maps = [] }: Findings,
  headerOf: (sopInstanceUid: string) => DicomJson | undefined,
): string | undefined {
  const places = [
    ...items.flatMap(({ trackingIdentifier: name, regions, sources = [], mask }) =>
      [...regions, ...sources, ...(mask?.slices ?? [])].map(place => ({ name, place })),
    ),
    ...maps.flatMap(({ label: name, slices }) => slices.map(place => ({ name, place }))),
  ]
  for (const { name, place } of places) {
    const header = headerOf(place.sopInstanceUid)
    if (!header) return `${name} refers to image ${place.sopInstanceUid}, which is not among the images given`
    const problem = outsideOf(place, header)
    if (problem) return `${name}: ${problem} of image ${place.sopInstanceUid}`
  }
  return undefined
}

/** What of it lies outside of the image, in words; undefined if all of it is inside. */
function outsideOf({ frame, points, runs, rows, columns }: Place, header: DicomJson): string | undefined {
  const height = numberOf(header, '00280010') ?? 0
  const width = numberOf(header, '00280011') ?? 0
  const frames = numberOf(header, '00280008') ?? 1
  if (frame !== undefined && (frame < 1 || frame > frames)) return `frame ${frame} is not one of the ${frames} frames`
  if (points?.some(([x, y]) => x < 0 || y < 0 || x > width || y > height))
    return `an outline leaves the ${width} columns and ${height} rows`
  if (runs?.some(({ row, column, length }) => row < 0 || row >= height || column < 0 || column + length > width))
    return `a mask leaves the ${width} columns and ${height} rows`
  if ((rows !== undefined && rows !== height) || (columns !== undefined && columns !== width))
    return `a map of ${columns} columns and ${rows} rows does not fit the ${width} columns and ${height} rows`
  return undefined
}
