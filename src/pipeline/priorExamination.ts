import { compareWithPrior } from '../analysis/compareWithPrior.js'
import type { Findings, ImageReference } from '../analysis/findings.js'
import { geometryOf } from '../analysis/normalizedImages.js'
import type { ImageGeometry } from '../analysis/normalizedStudy.js'
import { findInstance, instancesOfRevision, type StoredInstance } from '../archive/index.js'
import type { Queryable } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import type { PriorExamination } from '../results/resultContext.js'
import { defaultFormat } from '../results/resultFormat.js'
import { reportUid } from '../results/structuredReport.js'

interface PriorRow {
  study: string
  revision: number
  studyDate: string | null
  route: string
  arm: string
  findings: Findings
}

/** Analyses of other studies of the patient whose findings can be compared with those of this study: same algorithm, same major version. */
const selectPrior = `
  select a.study_instance_uid study, a.revision, p.study_date "studyDate", a.route, a.arm, a.findings
    from study s join study p on p.patient_id = s.patient_id and p.study_instance_uid <> s.study_instance_uid
    join analysis a on a.study_instance_uid = p.study_instance_uid
   where s.study_instance_uid = $1 and s.patient_id <> '' and p.inconsistent is null
     and (s.attributes #>> '{00100021,Value,0}') is not distinct from (p.attributes #>> '{00100021,Value,0}')
     and (a.arm = 'primary' or a.arm like 'prior:%') and a.status in ('findings', 'no-findings', 'incomplete')
     and a.findings #>> '{algorithm,name}' = $2 and a.findings #>> '{algorithm,manufacturer}' = $3
     and split_part(a.findings #>> '{algorithm,version}', '.', 1) = $4`

/**
 * The findings with what became of the lesions of the patient's latest earlier examination that the same algorithm has analysed; as they are if there
 * is none. Earlier is by Study Date: studies without one are not compared.
 */
export async function followUp(
  db: Queryable,
  study: string,
  revision: number,
  findings: Findings,
  priors: Route['analysis']['priors'],
): Promise<Findings> {
  if (findings.status === 'not-applicable' || findings.status === 'failed' || priors.max === 0) return findings
  const { rows: studies } = await db.query<{ date: string | null }>(
    'select study_date date from study where study_instance_uid = $1',
    [study],
  )
  const studyDate = studies[0]?.date ?? ''
  const earliest = dateBefore(studyDate, priors.within)
  if (!earliest) return findings // without a date nothing is earlier
  const { name, manufacturer, version } = findings.algorithm
  const { rows } = await db.query<PriorRow>(
    `${selectPrior} and p.study_date ~ '^[0-9]{8}$' and p.study_date < s.study_date and p.study_date >= $5
      order by p.study_date desc, a.revision desc, a.finished_at desc limit 1`,
    [study, name, manufacturer, version.split('.')[0], earliest],
  )
  const prior = rows[0]
  if (!prior) return findings
  const [own, earlier] = await Promise.all([
    instancesOfRevision(db, study, revision),
    instancesOfRevision(db, prior.study, prior.revision),
  ])
  return compareWithPrior(
    { studyInstanceUid: study, studyDate, findings, geometryOf: geometryIn(own) },
    {
      studyInstanceUid: prior.study,
      ...(prior.studyDate ? { studyDate: prior.studyDate } : {}),
      findings: prior.findings,
      geometryOf: geometryIn(earlier),
    },
  )
}

/**
 * The `YYYYMMDD` that lies a duration (ISO 8601, of years, months, days) before another one; undefined if that is no date.
 */
export function dateBefore(date: string, duration: string): string | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)$/.exec(date)?.slice(1).map(Number)
  if (!parts) return undefined
  const [year, month, day] = parts as [number, number, number]
  const part = (unit: string) => Number(new RegExp(`(\\d+)${unit}`).exec(duration)?.[1] ?? 0)
  const before = new Date(0)
  before.setUTCFullYear(year - part('Y'), month - 1 - part('M'), day - part('D'))
  return Number.isNaN(before.getTime()) ? undefined : before.toISOString().slice(0, 10).replaceAll('-', '')
}

/** Finds the geometry of an image of these. */
export function geometryIn(instances: readonly StoredInstance[]): (image: ImageReference) => ImageGeometry | undefined {
  const headers = new Map(instances.map(({ sopInstanceUid, header }) => [sopInstanceUid, header]))
  return ({ sopInstanceUid, frame = 1 }) => {
    const header = headers.get(sopInstanceUid)
    return header && geometryOf(header, frame - 1)
  }
}

/** The examination that findings were compared with, for the reports that refer to it; undefined if it is no longer in the archive. */
export async function priorExamination(
  db: Queryable,
  study: string,
  { comparison, algorithm }: Findings,
): Promise<PriorExamination | undefined> {
  if (!comparison) return undefined
  const { rows } = await db.query<PriorRow>(
    `${selectPrior} and p.study_instance_uid = $5 order by a.revision desc limit 1`,
    [study, algorithm.name, algorithm.manufacturer, algorithm.version.split('.')[0], comparison.prior.studyInstanceUid],
  )
  const prior = rows[0]
  if (!prior) return undefined
  const { revision, route, arm, findings } = prior
  const identity = { studyInstanceUid: prior.study, revision, route, arm, format: defaultFormat }
  const report = await findInstance(db, reportUid(findings, identity))
  return {
    studyInstanceUid: prior.study,
    ...(prior.studyDate ? { studyDate: prior.studyDate } : {}),
    findings,
    sources: await instancesOfRevision(db, prior.study, revision),
    ...(report ? { report } : {}),
  }
}
