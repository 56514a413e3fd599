import { type CodedConcept, concepts as c } from '../../dicom/concepts.js'
import { numberOf } from '../../dicom/dicomJson.js'
import { deriveUid } from '../../dicom/uid.js'
import type { Finding, Findings, ImageReference, Measurement, PlanarRegion, ValueMap } from '../findings.js'
import type { NormalizedImage, NormalizedStudy } from '../normalizedStudy.js'
import type { Found, ImageResult, Model } from './found.js'

/** Names of measurements that need no configuration. */
const quantities: Readonly<Record<string, CodedConcept>> = {
  long_axis: c.longAxis,
  short_axis: c.shortAxis,
  diameter: c.diameter,
  area: c.area,
  volume: c.volume,
  attenuation: c.attenuation,
}
const units: Readonly<Record<string, CodedConcept>> = {
  mm: c.millimeter,
  mm2: c.squareMillimeter,
  mm3: c.cubicMillimeter,
  ml: c.milliliter,
  HU: c.hounsfield,
  '%': c.percent,
}
/** Scheme of words of a provider that no code is configured for. */
const providerScheme = '99PROVIDER'

/** Results of all images as findings: those that a provider says are one lesion are one finding. */
export function findingsOfImages({
  results,
  missing,
  withheld,
  notSelected,
  sent,
  study,
  model,
  settings,
}: {
  results: ReadonlyMap<number, ImageResult>
  missing: ReadonlyMap<number, string>
  /** So many images were not sent, since their pixels may name the patient. */
  withheld: number
  /** So many were not sent, since fewer are enough for this provider. */
  notSelected: number
  sent: readonly { image: NormalizedImage }[]
  study: NormalizedStudy
  model: Model
  settings: { name: string; labels: Readonly<Record<string, CodedConcept>> }
}): Findings {
  const lesions = new Map<string, { found: Found; image: NormalizedImage }[]>()
  const inOrder = [...results].sort(([a], [b]) => a - b)
  for (const [index, { findings }] of inOrder) {
    for (const [n, found] of findings.entries()) {
      const key = found.lesion === undefined ? `image ${index} finding ${n}` : `${found.label} ${found.lesion}`
      const parts = lesions.get(key)
      if (parts) parts.push({ found, image: sent[index]!.image })
      else lesions.set(key, [{ found, image: sent[index]!.image }])
    }
  }
  const counts = new Map<string, number>()
  const items = [...lesions].map(([key, parts]) => {
    const type = conceptOf(parts[0]!.found.label, settings.labels)
    const number = (counts.get(type.meaning) ?? 0) + 1
    counts.set(type.meaning, number)
    return finding(
      `${type.meaning} ${number}`.slice(0, 64),
      type,
      deriveUid('provider finding', settings.name, study.studyInstanceUid, key),
      parts,
    )
  })
  const gaps = [
    ...(missing.size > 0 ? [`${missing.size} of ${sent.length} images have no result: ${firstOf(missing)}`] : []),
    ...(withheld > 0 ? [`${withheld} images were not sent, since their pixels may name the patient`] : []),
  ]
  const maps = valueMaps(inOrder, sent)
  return {
    algorithm: {
      name: model.name,
      version: model.version,
      manufacturer: model.manufacturer ?? settings.name,
      ...(model.parameters ? { parameters: model.parameters } : {}),
    },
    status: gaps.length > 0 ? 'incomplete' : items.length > 0 ? 'findings' : 'no-findings',
    ...(gaps.length > 0 ? { reason: gaps.join('; ') } : {}),
    // Of images that it has not seen it says nothing.
    lookedFor:
      notSelected > 0
        ? []
        : [...new Map(Object.values(settings.labels).map(label => [`${label.scheme} ${label.value}`, label])).values()],
    items,
    ...(notSelected > 0
      ? { conclusion: `Only ${sent.length} of ${sent.length + notSelected} images were looked at.` }
      : {}),
    ...(maps.length > 0 ? { maps } : {}),
  }
}

/** Heat maps of one label are one map of several slices. */
function valueMaps(
  results: readonly (readonly [number, ImageResult])[],
  sent: readonly { image: NormalizedImage }[],
): ValueMap[] {
  const maps = new Map<string, ValueMap>()
  for (const [index, { heatmap }] of results) {
    if (!heatmap) continue
    const { label, ...slice } = heatmap
    const map = maps.get(label) ?? { label, quantity: c.saliency, unit: c.noUnits, slices: [] }
    map.slices.push({ ...referenceTo(sent[index]!.image), ...slice })
    maps.set(label, map)
  }
  return [...maps.values()]
}

/** Numbers of images and why, the most frequent reason first; short enough for a report. */
function firstOf(missing: ReadonlyMap<number, string>): string {
  const byReason = new Map<string, number[]>()
  for (const [index, reason] of missing) byReason.set(reason, [...(byReason.get(reason) ?? []), index + 1])
  return [...byReason]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([reason, numbers]) => `${reason} (${numbers.slice(0, 10).join(', ')}${numbers.length > 10 ? ', …' : ''})`)
    .join('; ')
}

function conceptOf(label: string, labels: Readonly<Record<string, CodedConcept>>): CodedConcept {
  return labels[label] ?? { value: label.slice(0, 64), scheme: providerScheme, meaning: label }
}

function finding(
  trackingIdentifier: string,
  type: CodedConcept,
  trackingUid: string,
  parts: readonly { found: Found; image: NormalizedImage }[],
): Finding {
  const regions = parts.flatMap(({ found, image }) => regionOf(found, image))
  const slices = parts.flatMap(({ found, image }) => (found.mask ? [{ ...referenceTo(image), runs: found.mask }] : []))
  const side = parts.find(({ found }) => found.laterality)?.found.laterality
  const confidences = parts.flatMap(({ found }) => found.confidence ?? [])
  return {
    trackingIdentifier,
    trackingUid,
    type,
    category: c.morphologicallyAbnormalStructure,
    ...(side ? { laterality: c[side] } : {}),
    regions,
    ...(slices.length > 0 ? { mask: { slices } } : {}),
    ...(regions.length + slices.length === 0 ? { sources: parts.map(({ image }) => referenceTo(image)) } : {}),
    measurements: parts.flatMap(({ found }) => found.measurements.map(measurementOf)),
    evaluations: [],
    ...(confidences.length > 0 ? { probability: Math.max(...confidences) } : {}),
  }
}

function referenceTo({ sopInstanceUid, frame, header }: NormalizedImage): ImageReference {
  return { sopInstanceUid, ...((numberOf(header, '00280008') ?? 1) > 1 ? { frame } : {}) }
}

function regionOf({ outline, box }: Found, image: NormalizedImage): PlanarRegion[] {
  const points: [number, number][] | undefined = outline ?? (box && corners(box))
  if (!points) return []
  const [first, last] = [points[0]!, points.at(-1)!]
  const closed = first[0] === last[0] && first[1] === last[1] ? points : [...points, first]
  return [{ ...referenceTo(image), points: closed }]
}

function corners([left, top, right, bottom]: readonly [number, number, number, number]): [number, number][] {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ]
}

function measurementOf({ name, value, unit }: Found['measurements'][number]): Measurement {
  return {
    quantity: quantities[name] ?? { value: name.slice(0, 64), scheme: providerScheme, meaning: name.slice(0, 64) },
    value,
    unit: units[unit] ?? { value: unit, scheme: 'UCUM', meaning: unit.slice(0, 64) },
  }
}
