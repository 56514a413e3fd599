import type { Comparison, LesionChange } from '../../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../../dicom/concepts.js'
import { type ContentItem, code, container, date, num, text, uidref } from '../contentItem.js'
import { codeNamed } from './measurement.js'
import { textNamed } from './observationContext.js'

const changes: Readonly<Record<LesionChange['change'], CodedConcept>> = {
  new: c.newSincePrior,
  grown: c.increaseInSize,
  stable: c.noChange,
  shrunk: c.decreaseInSize,
  resolved: c.resolvedSincePrior,
}

/** Time Point Context (TID 1502) of the examination that is reported, and of the one it is compared with. */
export const timePoints = { current: 'current', prior: 'prior' } as const

export function timePointContext(point: keyof typeof timePoints): ContentItem {
  return text('HAS OBS CONTEXT', c.timePoint, timePoints[point])()
}

/** What became of a lesion, as a qualitative evaluation. */
export function changeOf(lesion: LesionChange): ContentItem {
  return code('CONTAINS', c.changeSincePrior, changes[lesion.change])()
}

/** The same of a lesion that has no group of its own any more: it says itself which lesion it is. */
export function changeOfResolved(lesion: LesionChange): ContentItem {
  return code('CONTAINS', c.changeSincePrior, changes[lesion.change])(...trackingContext(lesion))
}

function trackingContext({ trackingIdentifier, trackingUid }: LesionChange): ContentItem[] {
  return [
    text('HAS OBS CONTEXT', c.trackingIdentifier, trackingIdentifier)(),
    uidref('HAS OBS CONTEXT', c.trackingUid, trackingUid)(),
  ]
}

/**
 * Derived Imaging Measurements (TID 1420): of each quantity its absolute and, unless the earlier value was 0, relative change, each inferred
 * from the two values; of lesions that grew the doubling time.
 */
export function derivedMeasurements({ prior, lesions }: Comparison): ContentItem {
  return container('CONTAINS', c.derivedMeasurements)(
    uidref('CONTAINS', c.priorStudy, prior.studyInstanceUid)(),
    ...(prior.studyDate ? [date('CONTAINS', c.priorStudyDate, prior.studyDate)()] : []),
    ...lesions.flatMap(lesion => [
      ...lesion.quantities.flatMap(quantity => changeOfQuantity(lesion, quantity)),
      ...(lesion.doublingDays === undefined
        ? []
        : [num('CONTAINS', c.doublingTime, lesion.doublingDays, c.day)(...trackingContext(lesion))]),
    ]),
  )
}

function changeOfQuantity(
  lesion: LesionChange,
  { quantity, unit, prior, current }: LesionChange['quantities'][number],
): ContentItem[] {
  const value = (point: keyof typeof timePoints) =>
    num('INFERRED FROM', quantity, point === 'prior' ? prior : current, unit)(timePointContext(point))
  const context = [...trackingContext(lesion), value('current'), value('prior')]
  return [
    num('CONTAINS', c.absoluteChange, current - prior, unit)(...context),
    ...(prior === 0 ? [] : [num('CONTAINS', c.relativeChange, relativeChange(prior, current), c.percent)(...context)]),
  ]
}

/** (current − prior) / prior in percent, to four decimals. */
export function relativeChange(prior: number, current: number): number {
  return Math.round(((current - prior) / prior) * 1e6) / 1e4
}

/** The comparison that a report of ours tells; undefined if it tells none. */
export function readComparison(
  derived: ContentItem | undefined,
  groups: readonly ContentItem[],
  qualitative: ContentItem | undefined,
): Comparison | undefined {
  const study = derived?.children.find(child => child.name && sameConcept(child.name, c.priorStudy))?.value
  if (!derived || study?.type !== 'UIDREF') return undefined
  const studyDate = derived.children.find(child => child.name && sameConcept(child.name, c.priorStudyDate))?.value
  const resolved = (qualitative?.children ?? []).filter(
    child => child.name && sameConcept(child.name, c.changeSincePrior),
  )
  const seen = new Set<string>()
  const lesions = [
    ...groups.map(group => ({ place: group, value: codeNamed(group.children, c.changeSincePrior) })),
    ...resolved.map(item => ({ place: item, value: item.value.type === 'CODE' ? item.value.code : undefined })),
  ].flatMap(({ place, value }) => {
    const change = value && changeNamed(value)
    const trackingUid = trackingUidOf(place)
    if (!change || !trackingUid || seen.has(trackingUid)) return []
    seen.add(trackingUid)
    const own = derived.children.filter(child => trackingUidOf(child) === trackingUid)
    const doubling = own.find(child => child.name && sameConcept(child.name, c.doublingTime))?.value
    return [
      {
        trackingUid,
        trackingIdentifier: textNamed(place, c.trackingIdentifier) ?? '',
        change,
        quantities: own.flatMap(readQuantity),
        ...(doubling?.type === 'NUM' && doubling.value !== undefined ? { doublingDays: doubling.value } : {}),
      },
    ]
  })
  return {
    prior: {
      studyInstanceUid: study.uid,
      ...(studyDate?.type === 'DATE' ? { studyDate: studyDate.date } : {}),
    },
    lesions,
  }
}

function changeNamed(value: CodedConcept): LesionChange['change'] | undefined {
  return (Object.keys(changes) as LesionChange['change'][]).find(name => sameConcept(changes[name], value))
}

function trackingUidOf(item: ContentItem): string | undefined {
  const found = item.children.find(child => child.name && sameConcept(child.name, c.trackingUid))?.value
  return found?.type === 'UIDREF' ? found.uid : undefined
}

function readQuantity(item: ContentItem): LesionChange['quantities'] {
  if (!item.name || !sameConcept(item.name, c.absoluteChange)) return []
  const at = (point: keyof typeof timePoints) =>
    item.children.find(child => child.value.type === 'NUM' && textNamed(child, c.timePoint) === timePoints[point])
  const [current, prior] = [at('current'), at('prior')]
  if (current?.value.type !== 'NUM' || prior?.value.type !== 'NUM' || !current.name) return []
  const { unit } = current.value
  if (!unit || current.value.value === undefined || prior.value.value === undefined) return []
  return [{ quantity: current.name, unit, prior: prior.value.value, current: current.value.value }]
}
