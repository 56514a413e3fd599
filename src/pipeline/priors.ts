import type { Progress } from '../analysis/provider.js'
import { addEvent, findRevision } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { errorContext, type Log } from '../platform/log.js'
import { checkBudget } from './budget.js'
import { callProvider, deadlineOf } from './callProvider.js'
import { readTraits } from './chooseRoute.js'
import type { PipelineContext } from './context.js'
import { fetchPriors } from './fetchPriors.js'
import { normalizedStudy } from './normalizedStudy.js'
import { dateBefore, followUp } from './priorExamination.js'

/** Earlier examinations that are analysed at the same time; how many requests run is up to the provider's gate. */
const studiesAtATime = 4

interface PriorStudy {
  study: string
  revision: number
  date: string
}

/** Of these earlier examinations one was analysed: told to those who watch. */
export type OnProgress = (part: string, progress: Progress) => void

/** An analysis that earlier examinations are wanted for. */
interface Current {
  study: string
  revision: number
  route: Route
  provider: string
  onProgress: OnProgress
  log: Log
}

/**
 * Has earlier examinations of the patient analysed by the provider that analyses this one, so that they can be compared: those in the archive that it has not analysed, and
 * those that another archive has. The failure of one is told in the timeline and costs nothing else.
 */
export async function analyzePriors(current: Current, context: PipelineContext): Promise<void> {
  const { study, revision, route, provider, log } = current
  const { priors } = route.analysis
  if (priors.max === 0 || (!priors.analyze && priors.from.length === 0)) return
  try {
    await fetchMissing(current, context)
    const missing = await priorsWithoutAnalysis(context.database, study, priors, provider)
    let next = 0
    const lane = async () => {
      for (let prior = missing[next++]; prior; prior = missing[next++]) await analyzePrior(prior, current, context)
    }
    await Promise.all(Array.from({ length: studiesAtATime }, lane))
    // The oldest first: a lesion keeps the tracking UID that it got when it was first seen.
    for (const prior of missing.toReversed()) await followPrior(prior, current, context)
  } catch (error) {
    log.error('earlier examinations could not be analysed', errorContext(error))
    await addEvent(context.database, study, revision, 'priors not analysed', { reason: (error as Error).message })
  }
}

async function fetchMissing({ study, revision, route, log }: Current, context: PipelineContext): Promise<void> {
  const { priors } = route.analysis
  const found = await findRevision(context.database, study, revision)
  const attributes = found?.attributes ?? {}
  const [patientId, date] = [textOf(attributes, '00100020'), textOf(attributes, '00080020')]
  const earliest = date && dateBefore(date, priors.within)
  if (!patientId || !earliest) return
  const { modalities } = await readTraits(context.database, study)
  const search = {
    patientId,
    issuer: textOf(attributes, '00100021'),
    modality: modalities[0] ?? '',
    from: earliest,
    to: dateBefore(date, 'P1D')!,
    max: priors.max,
  }
  for (const name of priors.from) {
    const { fetched, problems } = await fetchPriors(search, name, context, log)
    await addEvent(context.database, study, revision, 'priors fetched', {
      from: name,
      studies: fetched.length,
      problems,
    })
  }
}

/** Of the patient, of the same modality and, where both have one, the same body part; the latest first. */
async function priorsWithoutAnalysis(
  db: Queryable,
  study: string,
  { max, within }: Route['analysis']['priors'],
  provider: string,
): Promise<PriorStudy[]> {
  const { rows: own } = await db.query<{ date: string | null }>(
    'select study_date date from study where study_instance_uid = $1',
    [study],
  )
  const earliest = dateBefore(own[0]?.date ?? '', within)
  if (!earliest) return []
  const { rows } = await db.query<PriorStudy & { analysed: boolean }>(
    `with own as (
       select s.*, (select array_agg(distinct modality) from series e where e.study_instance_uid = s.study_instance_uid) modalities,
              (select array_agg(distinct upper(e.attributes #>> '{00180015,Value,0}')) from series e
                where e.study_instance_uid = s.study_instance_uid and e.attributes #>> '{00180015,Value,0}' is not null) parts
         from study s where study_instance_uid = $1)
     select p.study_instance_uid study, p.revision, p.study_date date,
            exists (select from analysis a where a.study_instance_uid = p.study_instance_uid and a.provider = $2
                                             and (a.arm = 'primary' or a.arm like 'prior:%') and a.status in ('findings', 'no-findings', 'incomplete')) analysed
       from own s join study p on p.patient_id = s.patient_id and p.study_instance_uid <> s.study_instance_uid
      where s.patient_id <> '' and p.inconsistent is null
        and (s.attributes #>> '{00100021,Value,0}') is not distinct from (p.attributes #>> '{00100021,Value,0}')
        and p.study_date ~ '^[0-9]{8}$' and p.study_date < s.study_date and p.study_date >= $3
        and exists (select from series e where e.study_instance_uid = p.study_instance_uid and e.modality = any (s.modalities))
        and (s.parts is null or not exists (select from series e where e.study_instance_uid = p.study_instance_uid and e.attributes #>> '{00180015,Value,0}' is not null)
             or exists (select from series e where e.study_instance_uid = p.study_instance_uid
                                               and upper(e.attributes #>> '{00180015,Value,0}') = any (s.parts)))
      order by p.study_date desc, p.study_instance_uid limit $4`,
    [study, provider, earliest, max],
  )
  return rows.filter(row => !row.analysed)
}

async function analyzePrior(
  prior: PriorStudy,
  { study, revision, route, provider, onProgress, log }: Current,
  context: PipelineContext,
): Promise<void> {
  const { database } = context
  const settings = context.endpoints.providers.find(entry => entry.name === provider)
  const begun = new Date()
  const finish = (
    status: string,
    findings: unknown,
    usage: { requests?: number; units?: number },
    error: string | null,
  ) =>
    database.query(
      `insert into analysis (study_instance_uid, revision, route, arm, provider, status, findings, requests, units, error, started_at, finished_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())
       on conflict (study_instance_uid, revision, route, arm) do update
          set status = excluded.status, findings = excluded.findings, requests = excluded.requests, units = excluded.units,
              error = excluded.error, started_at = excluded.started_at, finished_at = excluded.finished_at`,
      [
        prior.study,
        prior.revision,
        route.name,
        priorArm(provider),
        provider,
        status,
        findings ? JSON.stringify(findings) : null,
        usage.requests ?? null,
        usage.units ?? null,
        error,
        begun,
      ],
    )
  try {
    await checkBudget(database, settings, log)
    const normalized = await normalizedStudy(prior.study, prior.revision, context, settings?.privateCreators)
    const { findings, usage } = await callProvider(provider, normalized, deadlineOf(settings), context, progress =>
      onProgress(prior.study, progress),
    )
    await finish(findings.status, findings, usage ?? {}, null)
    await addEvent(database, study, revision, 'prior analysed', {
      studyDate: prior.date,
      status: findings.status,
      findings: findings.items.length,
    })
  } catch (error) {
    const { message } = error as Error
    log.warn('an earlier examination could not be analysed', { provider, error: message })
    await finish('failed', null, {}, message)
    await addEvent(database, study, revision, 'prior not analysed', { studyDate: prior.date, reason: message })
  }
}

const priorArm = (provider: string) => `prior:${provider}`

/** Compares an earlier examination with the one before it. */
async function followPrior(
  prior: PriorStudy,
  { route, provider }: Current,
  { database }: PipelineContext,
): Promise<void> {
  const where = 'where study_instance_uid = $1 and revision = $2 and route = $3 and arm = $4'
  const key = [prior.study, prior.revision, route.name, priorArm(provider)]
  const { rows } = await database.query(`select findings from analysis ${where} and findings is not null`, key)
  if (!rows[0]) return
  const followed = await followUp(database, prior.study, prior.revision, rows[0].findings, route.analysis.priors)
  await database.query(`update analysis set findings = $5 ${where}`, [...key, JSON.stringify(followed)])
}
