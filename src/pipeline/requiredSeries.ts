import { textOf } from '../dicom/dicomJson.js'
import { mismatch, readSeriesTraits, together } from './chooseRoute.js'
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
  const series = await readSeriesTraits(database, study)
  const traits = together(series)
  const rules = required.filter(rule => !mismatch(rule.match, traits))
  if (rules.length === 0) return undefined
  // A rule for a series is about its own description, not about that of the study.
  const present = series.map(one => ({
    instances: one.instances,
    traits: {
      ...one,
      sources: traits.sources,
      age: traits.age,
      descriptions: [textOf(one.headers[0]!, '0008103E') ?? ''],
    },
  }))
  let wanted = 0
  let absent = 0
  for (const rule of rules) {
    const free = new Set(present)
    for (const { instances, ...like } of rule.series) {
      wanted++
      const found = [...free].find(entry => entry.instances >= instances && !mismatch(like, entry.traits))
      if (found) free.delete(found)
      else absent++
    }
  }
  return { wanted, absent }
}
