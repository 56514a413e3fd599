import { withHeaders } from '../archive/index.js'
import { textOf, textsOf } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import { mismatch, readTraits, type StudyTraits } from './chooseRoute.js'
import type { PipelineContext } from './context.js'

/**
 * Looks for the series that are required of a study. Several of one kind need as many series.
 * @returns how many are wanted, and how many of them are not there; undefined if none are required of such a study
 */
export async function lookForRequiredSeries(
  study: string,
  { endpoints, database }: Pick<PipelineContext, 'endpoints' | 'database'>,
): Promise<{ wanted: number; absent: number } | undefined> {
  const { required } = endpoints.completeness
  if (required.length === 0) return undefined
  const traits = await readTraits(database, study)
  const rules = required.filter(rule => !mismatch(rule.match, traits))
  if (rules.length === 0) return undefined
  const series = await readSeries(database, study, traits)
  let wanted = 0
  let absent = 0
  for (const rule of rules) {
    const free = new Set(series)
    for (const { instances, ...like } of rule.series) {
      wanted++
      const found = [...free].find(entry => entry.instances >= instances && !mismatch(like, entry.traits))
      if (found) free.delete(found)
      else absent++
    }
  }
  return { wanted, absent }
}

async function readSeries(db: Queryable, study: string, traits: StudyTraits) {
  const { rows } = await db.query<{ header: Buffer; sopClasses: string[]; instances: number }>(
    `select (array_agg(header order by sop_instance_uid))[1] header, array_agg(distinct sop_class_uid) "sopClasses", count(*)::int instances
       from instance where study_instance_uid = $1 and origin = 'received' group by series_instance_uid`,
    [study],
  )
  return (await withHeaders(rows)).map(({ header, sopClasses, instances }) => ({
    instances,
    traits: {
      ...traits,
      modalities: textsOf(header, '00080060'),
      bodyParts: textsOf(header, '00180015').map(part => part.toUpperCase()),
      stations: textsOf(header, '00081010'),
      descriptions: [textOf(header, '0008103E') ?? ''],
      sopClasses,
      headers: [header],
    },
  }))
}
