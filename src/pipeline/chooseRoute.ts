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

const text = (path: string) => `e.attributes #>> '{${path},Value,0}'`

export async function readTraits(db: Queryable, study: string): Promise<StudyTraits> {
  const { rows } = await db.query<
    Omit<StudyTraits, 'age'> & { ageString: string | null; birthDate: string | null; studyDate: string | null }
  >(
    `with e as (
       select e.*, (select header from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received'
                     order by sop_instance_uid limit 1) header
         from series e where e.study_instance_uid = $1
          and exists (select from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received')
     )
     select coalesce((select array_agg(distinct e.modality) filter (where e.modality is not null) from e), '{}') modalities,
            coalesce((select array_agg(distinct upper(${text('00180015')})) filter (where ${text('00180015')} is not null) from e), '{}') "bodyParts",
            coalesce((select array_agg(distinct e.header #>> '{00081010,Value,0}') filter (where e.header #>> '{00081010,Value,0}' is not null) from e), '{}') stations,
            array_remove(array[s.study_description]
                         || (select array_agg(distinct e.series_description) from e), null) descriptions,
            coalesce((select array_agg(distinct source) from instance i where i.study_instance_uid = $1 and i.source is not null), '{}') sources,
            coalesce((select array_agg(distinct sop_class_uid) from instance i where i.study_instance_uid = $1 and i.origin = 'received'), '{}') "sopClasses",
            coalesce((select jsonb_agg(e.header) from e), '[]') headers,
            (select max(e.header #>> '{00101010,Value,0}') from e) "ageString", s.attributes #>> '{00100030,Value,0}' "birthDate", s.study_date "studyDate"
       from study s where s.study_instance_uid = $1`,
    [study],
  )
  const { ageString, birthDate, studyDate, ...traits } = rows[0]!
  return { ...traits, age: ageInYears(ageString, birthDate, studyDate) }
}

/** What routes look at, of one data set that is not stored. */
export function traitsOf(header: DicomJson, source?: string): StudyTraits {
  const of = (tag: string) => textsOf(header, tag)
  return {
    modalities: of('00080060'),
    bodyParts: of('00180015').map(part => part.toUpperCase()),
    sources: source ? [source] : [],
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
