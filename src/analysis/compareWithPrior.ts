import { concepts as c, sameConcept } from '../dicom/concepts.js'
import type { Comparison, Finding, Findings, ImageReference, LesionChange, Measurement } from './findings.js'
import type { ImageGeometry, Vec3 } from './normalizedStudy.js'

/** An examination with what was found in it. */
export interface Examination {
  studyInstanceUid: string
  /** `YYYYMMDD` */
  studyDate?: string
  findings: Findings
  /** Geometry of an image; undefined where it has none. */
  geometryOf(image: ImageReference): ImageGeometry | undefined
}

/** Lesions of two examinations in one frame of reference lie this close, mm. */
const sameFrameTolerance = 10
/** In two frames of reference, once these are aligned by several lesions; and if not even that was possible. */
const alignedTolerance = 10
const unalignedTolerance = 25
/** A lesion does not become this many times larger or smaller in length between two examinations; what does is another one. */
const maxLengthRatio = 4
/** Changes of volume, and of length, that are more than what repeated measurements differ by. */
const volumeThreshold = 0.25
const lengthThreshold = { relative: 0.2, millimeters: 2 }
/** Slices of one examination this much thicker than of the other: sizes are not comparable to that precision. */
const maxThicknessRatio = 1.5

/**
 * Finds the lesions of an earlier examination again: each keeps its tracking UID and its name through time, and `comparison` tells what became of
 * it. What was not looked at completely is neither called new nor resolved.
 * @param prior findings of the same algorithm
 */
export function compareWithPrior(current: Examination, prior: Examination): Findings {
  const { findings } = current
  const pairs = matchFindings(current, prior)
  const items = renamed(findings.items, pairs, prior.findings.items)
  const lesions = findings.items.flatMap((finding, i): LesionChange[] => {
    const { trackingUid, trackingIdentifier } = items[i]!
    const before = pairs.get(finding)
    if (isAnatomy(finding)) return []
    if (before) return [{ trackingUid, trackingIdentifier, ...changeBetween(before, finding, current, prior) }]
    return prior.findings.status === 'incomplete'
      ? []
      : [{ trackingUid, trackingIdentifier, change: 'new', quantities: [] }]
  })
  const found = new Set(pairs.values())
  const complete = findings.status === 'findings' || findings.status === 'no-findings'
  const gone = prior.findings.items.filter(finding => complete && !isAnatomy(finding) && !found.has(finding))
  const comparison: Comparison = {
    prior: { studyInstanceUid: prior.studyInstanceUid, ...(prior.studyDate ? { studyDate: prior.studyDate } : {}) },
    lesions: [
      ...lesions,
      ...gone.map(
        ({ trackingUid, trackingIdentifier }): LesionChange => ({
          trackingUid,
          trackingIdentifier,
          change: 'resolved',
          quantities: [],
        }),
      ),
    ],
  }
  const caveat = thicknessCaveat(current, prior)
  const conclusion = [findings.conclusion, caveat].filter(Boolean).join(' ')
  return { ...findings, items, comparison, ...(conclusion ? { conclusion } : {}) }
}

/** An organ, not a lesion. */
export function isAnatomy({ category }: Finding): boolean {
  return category !== undefined && sameConcept(category, c.anatomicalStructure)
}

/** Could they be one and the same, by all that is said of both? */
function alike(a: Finding, b: Finding): boolean {
  if (!sameConcept(a.type, b.type)) return false
  if (a.site && b.site && !sameConcept(a.site, b.site)) return false
  if (a.laterality && b.laterality && !sameConcept(a.laterality, b.laterality)) return false
  const [p, q] = [lengthOf(a), lengthOf(b)]
  return !p || !q || Math.max(p / q, q / p) <= maxLengthRatio
}

/** The prior finding of each current one that has one. Also of two analyses of one study: then the frame of reference is the same. */
export function matchFindings(current: Examination, prior: Examination): Map<Finding, Finding> {
  const [now, then] = [current.findings.items, prior.findings.items]
  const pairs = new Map<Finding, Finding>()
  // Organs, and lesions without a place, are known by their kind, if there is only one of it on either side.
  const places = new Map([
    ...now.map(finding => [finding, centerOf(finding, current)] as const),
    ...then.map(finding => [finding, centerOf(finding, prior)] as const),
  ])
  const byKind = (finding: Finding) => isAnatomy(finding) || !places.get(finding)
  for (const finding of now.filter(byKind)) {
    const candidates = then.filter(other => byKind(other) && alike(finding, other))
    const rivals = now.filter(other => byKind(other) && alike(finding, other))
    if (candidates.length === 1 && rivals.length === 1) pairs.set(finding, candidates[0]!)
  }
  const lesions = now.filter(finding => !byKind(finding))
  const earlier = then.filter(finding => !byKind(finding))
  const { shift, tolerance } = alignment(lesions, earlier, places, pairs, inOneFrame(current, prior))
  const distances = lesions
    .flatMap(a =>
      earlier.filter(b => alike(a, b)).map(b => ({ a, b, distance: gap(places.get(a)!, places.get(b)!, shift) })),
    )
    .filter(({ distance }) => distance <= tolerance)
    .sort((x, y) => x.distance - y.distance)
  const taken = new Set<Finding>()
  for (const { a, b } of distances) {
    if (pairs.has(a) || taken.has(b)) continue
    pairs.set(a, b)
    taken.add(b)
  }
  return pairs
}

/** Distance after the earlier place has been shifted. */
function gap(a: Vec3, b: Vec3, shift: Vec3): number {
  return Math.hypot(a[0] - b[0] - shift[0], a[1] - b[1] - shift[1], a[2] - b[2] - shift[2])
}

/**
 * How the earlier examination is to be shifted onto this one. In one frame of reference not at all; else by the organs that were found in both, and
 * from there by the pair of lesions that brings most others together, if it brings any.
 */
function alignment(
  lesions: readonly Finding[],
  earlier: readonly Finding[],
  places: ReadonlyMap<Finding, Vec3 | undefined>,
  organs: ReadonlyMap<Finding, Finding>,
  oneFrame: boolean,
): { shift: Vec3; tolerance: number } {
  if (oneFrame) return { shift: [0, 0, 0], tolerance: sameFrameTolerance }
  const differences = [...organs].flatMap(([a, b]) => {
    const [p, q] = [places.get(a), places.get(b)]
    return p && q ? [minus(p, q)] : []
  })
  const start: Vec3 =
    differences.length > 0
      ? ([0, 1, 2].map(
          axis => differences.reduce((sum, d) => sum + d[axis]!, 0) / differences.length,
        ) as unknown as Vec3)
      : [0, 0, 0]
  const shifts = lesions
    .flatMap(a => earlier.filter(b => alike(a, b)).map(b => minus(places.get(a)!, places.get(b)!)))
    .filter(shift => differences.length === 0 || gap(shift, start, [0, 0, 0]) <= 2 * unalignedTolerance)
  const brought = (shift: Vec3) =>
    lesions.filter(a =>
      earlier.some(b => alike(a, b) && gap(places.get(a)!, places.get(b)!, shift) <= alignedTolerance),
    ).length
  const best = shifts
    .map(shift => ({ shift, count: brought(shift), far: gap(shift, start, [0, 0, 0]) }))
    .sort((x, y) => y.count - x.count || x.far - y.far)[0]
  if (best && best.count >= 2) return { shift: best.shift, tolerance: alignedTolerance }
  return { shift: start, tolerance: unalignedTolerance }
}

function minus(a: Vec3, b: Vec3): Vec3 {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

function inOneFrame(current: Examination, prior: Examination): boolean {
  const frames = ({ findings, geometryOf }: Examination) =>
    new Set(
      findings.items.flatMap(({ regions }) => regions.flatMap(region => geometryOf(region)?.frameOfReferenceUid ?? [])),
    )
  const [now, then] = [frames(current), frames(prior)]
  return [...now].some(uid => then.has(uid))
}

/** Centre of a finding in patient coordinates, mm: of its mask, else of its first outline. */
function centerOf({ mask, regions }: Finding, { geometryOf }: Examination): Vec3 | undefined {
  let pixels = 0
  const sum = [0, 0, 0]
  const add = (geometry: ImageGeometry, column: number, row: number, weight: number) => {
    for (const axis of [0, 1, 2] as const)
      sum[axis]! +=
        weight *
        (geometry.position[axis] +
          column * geometry.spacing[1] * geometry.rowDirection[axis] +
          row * geometry.spacing[0] * geometry.columnDirection[axis])
    pixels += weight
  }
  for (const slice of mask?.slices ?? []) {
    const geometry = geometryOf(slice)
    if (!geometry) return undefined
    for (const { row, column, length } of slice.runs) add(geometry, column + (length - 1) / 2, row, length)
  }
  const region = regions[0]
  const geometry = pixels === 0 && region && geometryOf(region)
  if (geometry) for (const [column, row] of region.points.slice(1)) add(geometry, column - 0.5, row - 0.5, 1)
  return pixels > 0 ? [sum[0]! / pixels, sum[1]! / pixels, sum[2]! / pixels] : undefined
}

/** Length of a lesion, mm: the long axis or diameter, else that of a ball of its volume. */
function lengthOf(finding: Finding): number | undefined {
  const length = finding.measurements.find(({ quantity }) =>
    [c.longAxis, c.diameter].some(q => sameConcept(q, quantity)),
  )
  if (length) return length.value
  const volume = volumeOf(finding)
  return volume ? Math.cbrt((6 * volume) / Math.PI) : undefined
}

function volumeOf({ measurements }: Finding): number | undefined {
  return measurements.find(({ quantity }) => sameConcept(quantity, c.volume))?.value
}

function changeBetween(
  before: Finding,
  after: Finding,
  current: Examination,
  prior: Examination,
): Pick<LesionChange, 'change' | 'quantities' | 'doublingDays'> {
  const quantities = after.measurements.flatMap(now => {
    const then = before.measurements.find(other => comparable(now, other))
    return then ? [{ quantity: now.quantity, unit: now.unit, prior: then.value, current: now.value }] : []
  })
  const [from, to] = [volumeOf(before), volumeOf(after)]
  const change = from && to ? byVolume(from, to) : byLength(lengthOf(before), lengthOf(after))
  const days = daysBetween(prior.studyDate, current.studyDate)
  const doubles = from && to && to > from && days && change === 'grown' && !thicknessCaveat(current, prior)
  return {
    change,
    quantities,
    ...(doubles ? { doublingDays: Math.round(volumeDoublingDays(days, from, to) * 10) / 10 } : {}),
  }
}

/** Measured in the same way, in the same unit. */
function comparable(a: Measurement, b: Measurement): boolean {
  const same = (p: Measurement['method'], q: Measurement['method']) => (p && q ? sameConcept(p, q) : p === q)
  return (
    sameConcept(a.quantity, b.quantity) &&
    sameConcept(a.unit, b.unit) &&
    same(a.method, b.method) &&
    same(a.derivation, b.derivation)
  )
}

function byVolume(from: number, to: number): LesionChange['change'] {
  const relative = (to - from) / from
  return relative >= volumeThreshold ? 'grown' : relative <= -volumeThreshold ? 'shrunk' : 'stable'
}

function byLength(from: number | undefined, to: number | undefined): LesionChange['change'] {
  if (!from || !to) return 'stable'
  const difference = to - from
  const matters =
    Math.abs(difference) >= lengthThreshold.millimeters && Math.abs(difference) / from >= lengthThreshold.relative
  return matters ? (difference > 0 ? 'grown' : 'shrunk') : 'stable'
}

/** Days in which a volume doubles that grew from `from` to `to` in so many days: Δt · ln 2 / ln(V₂ / V₁). */
export function volumeDoublingDays(days: number, from: number, to: number): number {
  return (days * Math.LN2) / Math.log(to / from)
}

/** Days from one `YYYYMMDD` to another; undefined if one is absent, no date, or not the earlier one. */
function daysBetween(from: string | undefined, to: string | undefined): number | undefined {
  const day = (date: string | undefined) =>
    date && /^\d{8}$/.test(date)
      ? Date.UTC(+date.slice(0, 4), +date.slice(4, 6) - 1, +date.slice(6)) / 86_400_000
      : Number.NaN
  const days = day(to) - day(from)
  return days > 0 ? days : undefined
}

function thicknessCaveat(current: Examination, prior: Examination): string | undefined {
  const thickness = ({ findings, geometryOf }: Examination) =>
    findings.items.flatMap(({ regions }) => regions.flatMap(region => geometryOf(region)?.sliceThickness ?? []))[0]
  const [now, then] = [thickness(current), thickness(prior)]
  if (!now || !then || Math.max(now / then, then / now) <= maxThicknessRatio) return undefined
  return `Slices are ${now} mm thick, in the prior examination ${then} mm: changes of size are uncertain.`
}

/** Findings under the tracking UIDs and names of their priors; new ones keep their own, unless the name is taken. */
function renamed(
  items: readonly Finding[],
  pairs: ReadonlyMap<Finding, Finding>,
  earlier: readonly Finding[],
): Finding[] {
  const taken = new Set(earlier.map(finding => finding.trackingIdentifier))
  return items.map(finding => {
    const before = pairs.get(finding)
    if (before) return { ...finding, trackingUid: before.trackingUid, trackingIdentifier: before.trackingIdentifier }
    const trackingIdentifier = freeName(finding.trackingIdentifier, taken)
    taken.add(trackingIdentifier)
    return { ...finding, trackingIdentifier }
  })
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name
  const stem = name.replace(/\s*\d+$/, '')
  for (let number = 2; ; number++) if (!taken.has(`${stem} ${number}`)) return `${stem} ${number}`
}
