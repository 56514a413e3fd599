import { addEvent } from '../archive/index.js'
import { DicomwebReader } from '../delivery/index.js'
import { textOf } from '../dicom/dicomJson.js'
import type { PipelineContext } from './context.js'
import { fetchInto } from './fetchPriors.js'

/** What the archives that are asked have of a study and we have not. */
export type Completeness =
  /** `of`: as many instances as one of them has. */
  | { outcome: 'complete'; of: number; from: string }
  | { outcome: 'missing'; of: number; from: string; instances: { series: string; instance: string }[] }
  /** None of them knows the study, or could be asked; or none is configured. */
  | { outcome: 'unknown' }

/** So often missing instances are fetched before the study goes on without them. */
export const maxRefetches = 3
const refetchesAtATime = 4

/** Asks the configured archives, by QIDO-RS, which instances the study has; our own results do not count. */
export async function askForInstances(
  study: string,
  { endpoints, database, log }: Pick<PipelineContext, 'endpoints' | 'database' | 'log'>,
): Promise<Completeness> {
  for (const name of endpoints.completeness.ask) {
    const destination = endpoints.destinations.find(entry => entry.name === name)
    if (!destination || !('stow' in destination)) continue
    const reader = new DicomwebReader(destination.stow)
    try {
      const theirs = await reader.searchInstances(study)
      if (theirs.length === 0) continue
      const { rows } = await database.query<{ uid: string; origin: string }>(
        'select sop_instance_uid uid, origin from instance where study_instance_uid = $1',
        [study],
      )
      const ours = new Map(rows.map(row => [row.uid, row.origin]))
      const expected = theirs.filter(entry => ours.get(textOf(entry, '00080018') ?? '') !== 'result')
      const missing = expected.filter(entry => !ours.has(textOf(entry, '00080018') ?? ''))
      if (missing.length === 0) return { outcome: 'complete', of: expected.length, from: name }
      const instances = missing.map(entry => ({
        series: textOf(entry, '0020000E') ?? '',
        instance: textOf(entry, '00080018') ?? '',
      }))
      return { outcome: 'missing', of: expected.length, from: name, instances }
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      log.warn('an archive could not be asked for the instances of a study', {
        study,
        from: name,
        error: code ?? message,
      })
    } finally {
      await reader.close()
    }
  }
  return { outcome: 'unknown' }
}

/** Fetches missing instances by WADO-RS. @returns how many came */
export async function refetch(
  study: string,
  revision: number,
  { from, instances }: Extract<Completeness, { outcome: 'missing' }>,
  { endpoints, database, ingest, log }: PipelineContext,
): Promise<number> {
  const destination = endpoints.destinations.find(entry => entry.name === from)
  if (!destination || !('stow' in destination)) return 0
  const reader = new DicomwebReader(destination.stow)
  let fetched = 0
  let next = 0
  const problems = new Set<string>()
  const lane = async () => {
    for (let wanted = instances[next++]; wanted; wanted = instances[next++]) {
      try {
        const path = `/studies/${study}/series/${wanted.series}/instances/${wanted.instance}`
        const came = await fetchInto(await reader.retrieve(path), study, ingest, `fetched from ${from}`)
        fetched += came // not in one statement: other lanes count too
      } catch (error) {
        problems.add((error as NodeJS.ErrnoException).code ?? (error as Error).message)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: refetchesAtATime }, lane))
  } finally {
    await reader.close()
  }
  const told = { from, missing: instances.length, fetched, ...(problems.size > 0 ? { problems: [...problems] } : {}) }
  log.info('missing instances were fetched', { study, ...told })
  await addEvent(database, study, revision, 'missing instances fetched', told)
  return fetched
}
