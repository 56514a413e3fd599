import type { Findings } from '../analysis/findings.js'
import { reportOf } from './measurementReport.js'
import type { ResultContext } from './resultContext.js'
import { variantOf } from './resultFormat.js'
import type { ResultObject } from './resultObject.js'
import { reportObject } from './structuredReport.js'
import { derivedMeasurements, timePointContext } from './templates/comparison.js'
import { measurementGroups, sourceFinder } from './templates/measurementGroup.js'

/**
 * A second report with a Measurement Group for each lesion at each of both examinations, under one tracking UID and told apart by their time point
 * (TID 1502). It stands apart from the main report, since viewers merge groups of one tracking UID within a document. Undefined where there is
 * nothing to compare with.
 */
export function longitudinalReport(findings: Findings, context: ResultContext): ResultObject | undefined {
  const { comparison } = findings
  const { prior, format, sources } = context
  if (!comparison || !prior) return undefined
  const find = sourceFinder(sources)
  const findPrior = sourceFinder(prior.sources)
  const groups = comparison.lesions.flatMap(({ trackingUid }) => {
    const now = findings.items.find(item => item.trackingUid === trackingUid)
    const then = prior.findings.items.find(item => item.trackingUid === trackingUid)
    return [
      ...(then
        ? measurementGroups(then, findPrior, undefined, 'planar', { context: [timePointContext('prior')] })
        : []),
      ...(now ? measurementGroups(now, find, undefined, 'planar', { context: [timePointContext('current')] }) : []),
    ]
  })
  if (groups.length === 0) return undefined
  const content = reportOf(findings, context, groups, [derivedMeasurements(comparison)])
  const variant = variantOf(format, ['language', 'report', 'codes'])
  return reportObject('longitudinal sr', '9006', variant, content, findings, context, [])
}
