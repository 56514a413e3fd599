import { isAnatomy } from '../analysis/compareWithPrior.js'
import type { Findings } from '../analysis/findings.js'
import { withHeaders } from '../archive/index.js'
import { type DicomJson, itemsOf, textOf } from '../dicom/dicomJson.js'
import type { Queryable } from '../platform/database.js'
import { readFindings } from '../results/readFindings.js'

type Verdict = 'true-positive' | 'false-positive' | 'missed'

/**
 * What radiologists say of our findings by the verified reports that came with a revision: a lesion that is in the report, by its Tracking Unique Identifier, is right, one that is not is
 * wrong, and one that only the report has was missed. Only a report that comes from ours is taken for an answer to it: it has one of our lesions, or our report as its predecessor.
 * @returns number of verdicts
 */
export async function readVerdicts(db: Queryable, study: string, revision: number): Promise<number> {
  const { rows: reports } = await db.query<{ header: Buffer }>(
    `select header from instance where study_instance_uid = $1 and revision = $2 and origin = 'received'
        and attributes #>> '{0040A493,Value,0}' = 'VERIFIED' order by received_at`,
    [study, revision],
  )
  const { rows } = await db.query<{ revision: number; findings: Findings }>(
    `select revision, findings from analysis
      where study_instance_uid = $1 and arm = 'primary' and status in ('findings', 'no-findings', 'incomplete') order by revision desc limit 1`,
    [study],
  )
  const analysed = rows[0]
  if (!analysed || reports.length === 0) return 0
  const { rows: own } = await db.query<{ uid: string }>(
    `select sop_instance_uid uid from instance where study_instance_uid = $1 and origin = 'result'`,
    [study],
  )
  const results = new Set(own.map(row => row.uid))
  const ours = new Set(analysed.findings.items.filter(item => !isAnatomy(item)).map(item => item.trackingUid))
  const verdicts = new Map<string, Verdict>()
  for (const { header } of await withHeaders(reports)) {
    const read = readFindings(header)
    if (!read) continue
    const theirs = new Set(read.items.filter(item => !isAnatomy(item)).map(item => item.trackingUid))
    if (![...ours].some(uid => theirs.has(uid)) && !predecessors(header).some(uid => results.has(uid))) continue
    for (const uid of ours) verdicts.set(uid, theirs.has(uid) ? 'true-positive' : 'false-positive')
    for (const uid of theirs) if (!ours.has(uid)) verdicts.set(uid, 'missed')
  }
  if (verdicts.size === 0) return 0
  await db.query(
    `insert into verdict (study_instance_uid, tracking_uid, revision, verdict)
     select $1, uid, $2, verdict from unnest($3::text[], $4::text[]) v(uid, verdict)
     on conflict (study_instance_uid, tracking_uid)
        do update set verdict = excluded.verdict, revision = excluded.revision, at = now()`,
    [study, analysed.revision, [...verdicts.keys()], [...verdicts.values()]],
  )
  return verdicts.size
}

/** SOP Instance UIDs of Predecessor Documents Sequence (0040,A360). */
function predecessors(report: DicomJson): string[] {
  return itemsOf(report, '0040A360')
    .flatMap(study => itemsOf(study, '00081115'))
    .flatMap(series => itemsOf(series, '00081199'))
    .flatMap(item => textOf(item, '00081155') ?? [])
}
