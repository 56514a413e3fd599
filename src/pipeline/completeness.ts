import { addEvent } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import type { PipelineContext } from './context.js'
import { openArchive } from './remoteArchive.js'
import { lookForRequiredSeries } from './requiredSeries.js'

/** What is known of a study's completeness, and by what. */
export type Completeness =
  | { outcome: 'complete'; reason: string }
  /** `from`: an archive that has them; undefined if none is known to. */
  | { outcome: 'missing'; reason: string; from: string | undefined; instances: MissingInstance[] }
  /** Series that are required of such a study are not there. */
  | { outcome: 'incomplete'; reason: string }
  /** Nobody could tell. */
  | { outcome: 'unknown' }

interface MissingInstance {
  series: string
  instance: string
}

/** So often missing instances are fetched before the study goes on without them. */
export const maxRefetches = 3
const refetchesAtATime = 4

/**
 * Judges by all that there is: what notifications announced, what archives have (QIDO-RS, C-FIND), and which series are required. The first two count instances, so they are
 * believed before the last.
 */
export async function judgeCompleteness(study: string, context: PipelineContext): Promise<Completeness> {
  const counted = (await askForInstances(study, context)) ?? (await compareWithAnnounced(study, context))
  if (counted) return counted
  const series = await lookForRequiredSeries(study, context)
  if (!series) return { outcome: 'unknown' }
  const { wanted, absent } = series
  return absent === 0
    ? { outcome: 'complete', reason: `all ${wanted} series that are required are here` }
    : { outcome: 'incomplete', reason: `${absent} of ${wanted} series that are required are missing` }
}

/** Asks the configured archives which instances the study has. @returns undefined if none of them knows it, or could be asked */
async function askForInstances(study: string, context: PipelineContext): Promise<Completeness | undefined> {
  const { endpoints, log } = context
  for (const name of endpoints.completeness.ask) {
    const archive = openArchive(name, context)
    if (!archive) continue
    try {
      const theirs = (await archive.searchInstances(study)).map(entry => ({
        series: textOf(entry, '0020000E') ?? '',
        instance: textOf(entry, '00080018') ?? '',
      }))
      if (theirs.length > 0) return compare(study, theirs, `that ${name} has`, name, context)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      log.warn('an archive could not be asked for the instances of a study', {
        study,
        from: name,
        error: code ?? message,
      })
    } finally {
      await archive.close()
    }
  }
  return undefined
}

async function compareWithAnnounced(study: string, context: PipelineContext): Promise<Completeness | undefined> {
  const { rows } = await context.database.query<MissingInstance>(
    'select series_instance_uid series, sop_instance_uid instance from announced_instance where study_instance_uid = $1',
    [study],
  )
  const [from] = context.endpoints.completeness.ask
  return rows.length > 0 ? compare(study, rows, 'that were announced', from, context) : undefined
}

/** Our own results do not count. */
async function compare(
  study: string,
  theirs: readonly MissingInstance[],
  which: string,
  from: string | undefined,
  { database }: Pick<PipelineContext, 'database'>,
): Promise<Completeness> {
  const { rows } = await database.query<{ uid: string; origin: string }>(
    'select sop_instance_uid uid, origin from instance where study_instance_uid = $1',
    [study],
  )
  const ours = new Map(rows.map(row => [row.uid, row.origin]))
  const expected = theirs.filter(({ instance }) => ours.get(instance) !== 'result')
  const instances = expected.filter(({ instance }) => !ours.has(instance))
  const of = expected.length
  if (instances.length === 0) return { outcome: 'complete', reason: `all ${of} instances ${which} are here` }
  return { outcome: 'missing', reason: `${instances.length} of ${of} instances ${which} are missing`, from, instances }
}

/** Fetches missing instances by WADO-RS, C-MOVE or C-GET. @returns how many came */
export async function refetch(
  study: string,
  revision: number,
  { from, instances }: Extract<Completeness, { outcome: 'missing' }>,
  context: PipelineContext,
): Promise<number> {
  const { database, log } = context
  const archive = from === undefined ? undefined : openArchive(from, context)
  if (!archive) return 0
  let fetched = 0
  let next = 0
  const problems = new Set<string>()
  const lane = async () => {
    for (let wanted = instances[next++]; wanted; wanted = instances[next++]) {
      try {
        const came = await archive.fetch({ study, ...wanted }, `fetched from ${from}`)
        fetched += came // not in one statement: other lanes count too
      } catch (error) {
        problems.add((error as NodeJS.ErrnoException).code ?? (error as Error).message)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: refetchesAtATime }, lane))
  } finally {
    await archive.close()
  }
  const told = { from, missing: instances.length, fetched, ...(problems.size > 0 ? { problems: [...problems] } : {}) }
  log.info('missing instances were fetched', { study, ...told })
  await addEvent(database, study, revision, 'missing instances fetched', told)
  return fetched
}
