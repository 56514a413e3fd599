import { compareWithPrior } from '../analysis/compareWithPrior.js'
import type { Findings, ImageReference } from '../analysis/findings.js'
import { geometryOf } from '../analysis/normalizedImages.js'
import type { ImageGeometry } from '../analysis/normalizedStudy.js'
import { findInstance, instancesOfRevision, type StoredInstance } from '../archive/index.js'
import type { Queryable } from '../platform/database.js'
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
     and a.arm = 'primary' and a.status in ('findings', 'no-findings', 'incomplete')
     and a.findings #>> '{algorithm,name}' = $2 and a.findings #>> '{algorithm,manufacturer}' = $3
     and split_part(a.findings #>> '{algorithm,version}', '.', 1) = $4`

/**
 * The findings with what became of the lesions of the patient's latest earlier examination that the same algorithm has analysed; as they are if there
 * is none. Earlier is by Study Date: studies without one are not compared.
 */
export async function followUp(db: Queryable, study: string, revision: number, findings: Findings): Promise<Findings> {
  if (findings.status === 'not-applicable' || findings.status === 'failed') return findings
  const { name, manufacturer, version } = findings.algorithm
  const { rows } = await db.query<PriorRow & { current: string }>(
    `select * from (${selectPrior} and p.study_date < s.study_date) prior,
            lateral (select study_date as current from study where study_instance_uid = $1) own
      order by "studyDate" desc, revision desc limit 1`,
    [study, name, manufacturer, version.split('.')[0]],
  )
  const prior = rows[0]
  if (!prior) return findings
  const [own, earlier] = await Promise.all([
    instancesOfRevision(db, study, revision),
    instancesOfRevision(db, prior.study, prior.revision),
  ])
  return compareWithPrior(
    { studyInstanceUid: study, studyDate: prior.current, findings, geometryOf: geometryIn(own) },
    {
      studyInstanceUid: prior.study,
      ...(prior.studyDate ? { studyDate: prior.studyDate } : {}),
      findings: prior.findings,
      geometryOf: geometryIn(earlier),
    },
  )
}

function geometryIn(instances: readonly StoredInstance[]): (image: ImageReference) => ImageGeometry | undefined {
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
