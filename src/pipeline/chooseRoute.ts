import { withHeaders } from '../archive/index.js'
import { type DicomJson, textsOf } from '../dicom/dicomJson.js'
import { tagOf } from '../dicom/dictionary.js'
import type { Queryable } from '../platform/database.js'
import type { Match, Route } from '../platform/endpoints.js'

/** What routes look at. */
export interface StudyTraits {
  modalities: string[]
  bodyParts: string[]
  sources: string[]
  sopClasses: string[]
  /** Station Name (0008,1010). */
  stations: string[]
  /** Of the study and of its series. */
  descriptions: string[]
  /** Years, with fractions; undefined if neither Patient's Age nor Birth Date is known. */
  age: number | undefined
  /** A data set of each series. */
  headers: DicomJson[]
}

/** How each route was judged, up to the one that matched. Reasons hold no descriptions and values, which may name the patient. */
export interface RouteExplanation {
  route: string
  matches: boolean
  reason: string
}

export type RouteChoice = ({ route: Route } | { reason: string }) & { explanation: RouteExplanation[] }

/** The first route that matches, or why none does. */
export function chooseRoute(routes: readonly Route[], traits: StudyTraits): RouteChoice {
  const explanation: RouteExplanation[] = []
  for (const route of routes) {
    const miss = mismatch(route.match, traits)
    explanation.push({ route: route.name, matches: !miss, reason: miss ?? 'everything asked for is there' })
    if (!miss) return { route, explanation }
  }
  const misses = explanation.map(({ route, reason }) => `${route}: ${reason}`)
  return {
    reason: misses.length > 0 ? `no route matched (${misses.join('; ')})` : 'no route is configured',
    explanation,
  }
}

/** What of a study, or a series, is not as it is asked for; undefined if all is. */
export function mismatch(match: Match, traits: StudyTraits): string | undefined {
  const wanted = [
    ['modality', match.modality, traits.modalities],
    ['body part', match.bodyPart, traits.bodyParts],
    ['source', match.source, traits.sources],
    ['SOP class', match.sopClass, traits.sopClasses],
    ['station', match.station, traits.stations],
  ] as const
  for (const [name, allowed, present] of wanted) {
    if (allowed && !present.some(value => allowed.includes(value)))
      return `${name} is ${present.join(', ') || 'absent'}, not ${allowed.join(' or ')}`
  }
  const { description, age, attributes = [] } = match
  if (description !== undefined) {
    const pattern = new RegExp(description, 'iu')
    if (!traits.descriptions.some(text => pattern.test(text))) return `no description is like ${description}`
  }
  if (age) {
    if (traits.age === undefined) return 'the age is not known'
    if (traits.age < (age.from ?? 0)) return `the age is below ${age.from} years`
    if (traits.age >= (age.below ?? Number.POSITIVE_INFINITY)) return `the age is ${age.below} years or more`
  }
  for (const { attribute, values, pattern } of attributes) {
    const tag = /^[0-9A-F]{8}$/.test(attribute) ? attribute : tagOf(attribute)
    if (!tag) return `${attribute} is no attribute of DICOM`
    const like = pattern === undefined ? undefined : new RegExp(pattern, 'iu')
    const present = traits.headers.flatMap(header => textsOf(header, tag))
    if (!present.some(value => (values?.includes(value) ?? true) && (like?.test(value) ?? true)))
      return present.length > 0 ? `${attribute} has another value` : `${attribute} is absent`
  }
  return undefined
}

/** What routes look at, of a stored study. */
export async function readTraits(db: Queryable, study: string): Promise<StudyTraits> {
  return together(await readSeriesTraits(db, study))
}

/** The same of each series that has received instances, by the header of one of them. */
export async function readSeriesTraits(db: Queryable, study: string): Promise<(StudyTraits & { instances: number })[]> {
  const { rows } = await db.query<{ header: Buffer; sources: string[]; sopClasses: string[]; instances: number }>(
    `select (select header from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received'
              order by sop_instance_uid limit 1) header, found.*
       from series e, lateral (
            select coalesce(array_agg(distinct source) filter (where source is not null), '{}') sources,
                   array_agg(distinct sop_class_uid) "sopClasses", count(*)::int instances
              from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received') found
      where e.study_instance_uid = $1 and instances > 0 order by e.series_instance_uid`,
    [study],
  )
  return (await withHeaders(rows)).map(({ header, ...found }) => ({ ...traitsOf(header), ...found }))
}

/** Of a study, from those of its series. */
export function together(series: readonly StudyTraits[]): StudyTraits {
  const of = (name: Exclude<keyof StudyTraits, 'age' | 'headers'>) =>
    [...new Set(series.flatMap(one => one[name]))].sort()
  return {
    modalities: of('modalities'),
    bodyParts: of('bodyParts'),
    sources: of('sources'),
    sopClasses: of('sopClasses'),
    stations: of('stations'),
    descriptions: of('descriptions'),
    age: series.find(({ age }) => age !== undefined)?.age,
    headers: series.flatMap(({ headers }) => headers),
  }
}

/** What routes look at, of one data set. Who sent it does not stand in it. */
export function traitsOf(header: DicomJson): StudyTraits {
  const of = (tag: string) => textsOf(header, tag)
  return {
    modalities: of('00080060'),
    bodyParts: of('00180015').map(part => part.toUpperCase()),
    sources: [],
    sopClasses: of('00080016'),
    stations: of('00081010'),
    descriptions: [...of('00081030'), ...of('0008103E')],
    age: ageInYears(of('00101010')[0] ?? null, of('00100030')[0] ?? null, of('00080020')[0] ?? null),
    headers: [header],
  }
}

/**
 * Patient's Age (0010,1010), else from Birth Date to Study Date.
 * @returns years, with fractions; undefined if neither can be read
 */
export function ageInYears(
  ageString: string | null,
  birthDate: string | null,
  studyDate: string | null,
): number | undefined {
  const parts = /^(\d{3})([DWMY])$/.exec(ageString ?? '')
  if (parts) return Number(parts[1]) / { D: 365.25, W: 365.25 / 7, M: 12, Y: 1 }[parts[2] as 'D' | 'W' | 'M' | 'Y']
  const [born, examined] = [birthDate, studyDate].map(date => {
    const match = /^(\d{4})(\d\d)(\d\d)$/.exec(date ?? '')
    return match ? Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3])) : Number.NaN
  }) as [number, number]
  const years = (examined - born) / (365.25 * 86_400_000)
  return years >= 0 ? years : undefined
}
