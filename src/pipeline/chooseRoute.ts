import type { Queryable } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'

/** What routes look at. */
export interface StudyTraits {
  modalities: string[]
  bodyParts: string[]
  sources: string[]
}

export type RouteChoice = { route: Route } | { reason: string }

/** The first route that matches, or why none does. */
export function chooseRoute(routes: readonly Route[], traits: StudyTraits): RouteChoice {
  const misses: string[] = []
  for (const route of routes) {
    const miss = mismatch(route, traits)
    if (!miss) return { route }
    misses.push(`${route.name}: ${miss}`)
  }
  return { reason: misses.length > 0 ? `no route matched (${misses.join('; ')})` : 'no route is configured' }
}

function mismatch({ match }: Route, traits: StudyTraits): string | undefined {
  const wanted = [
    ['modality', match.modality, traits.modalities],
    ['body part', match.bodyPart, traits.bodyParts],
    ['source', match.source, traits.sources],
  ] as const
  for (const [name, allowed, present] of wanted) {
    if (allowed && !present.some(value => allowed.includes(value))) {
      return `${name} is ${present.join(', ') || 'absent'}, not ${allowed.join(' or ')}`
    }
  }
  return undefined
}

export async function readTraits(db: Queryable, study: string): Promise<StudyTraits> {
  const { rows } = await db.query<StudyTraits>(
    `select coalesce(array_agg(distinct e.modality) filter (where e.modality is not null), '{}') modalities,
            coalesce(array_agg(distinct upper(e.attributes #>> '{00180015,Value,0}'))
                     filter (where e.attributes #>> '{00180015,Value,0}' is not null), '{}') "bodyParts",
            coalesce((select array_agg(distinct source) from instance i
                       where i.study_instance_uid = $1 and i.source is not null), '{}') sources
       from series e
      where e.study_instance_uid = $1
        and exists (select from instance i where i.series_instance_uid = e.series_instance_uid and i.origin = 'received')`,
    [study],
  )
  return rows[0]!
}
