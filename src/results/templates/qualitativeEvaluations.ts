import type { Findings } from '../../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../../dicom/concepts.js'
import { type ContentItem, code, container, text } from '../contentItem.js'
import { changeOfResolved } from './comparison.js'
import { codeNamed } from './measurement.js'
import { textNamed } from './observationContext.js'

/** Qualitative Evaluations of TID 1500: how the analysis went, what was looked for and whether it is there, what became of lesions that are gone. */
export function qualitativeEvaluations(findings: Findings): ContentItem {
  const { status, reason, conclusion, comparison } = findings
  const outcome =
    status === 'failed' ? c.algorithmFailed : status === 'not-applicable' ? c.algorithmNotAttempted : undefined
  return container('CONTAINS', c.qualitativeEvaluations)(
    code('CONTAINS', c.processingSummary, summaryOf(findings))(),
    ...(outcome ? [code('CONTAINS', c.algorithmStatus, outcome)()] : []),
    ...findings.lookedFor.map(type => code('CONTAINS', type, presenceOf(type, findings))()),
    ...(comparison?.lesions ?? []).filter(lesion => lesion.change === 'resolved').map(changeOfResolved),
    ...(reason ? [text('CONTAINS', c.comment, reason)()] : []),
    ...(conclusion ? [text('CONTAINS', c.conclusion, conclusion)()] : []),
  )
}

/** CID 240. Absence is only said when everything could be looked at: never because of an error. */
function presenceOf(type: CodedConcept, { status, items }: Findings): CodedConcept {
  if (items.some(finding => sameConcept(finding.type, type))) return c.present
  return status === 'findings' || status === 'no-findings' ? c.absent : c.undetermined
}

/** CID 6047. */
function summaryOf({ status, items, lookedFor }: Findings): CodedConcept {
  switch (status) {
    case 'findings':
      return c.succeededWithFindings
    case 'no-findings':
      return c.succeededWithoutFindings
    case 'incomplete': {
      const found = items.some(
        finding => lookedFor.length === 0 || lookedFor.some(type => sameConcept(type, finding.type)),
      )
      return found ? c.partlyWithFindings : c.partlyWithoutFindings
    }
    default:
      return c.noneSucceeded
  }
}

const presence = [c.present, c.absent, c.undetermined]

/** What a report says about the analysis as a whole; `status` is undefined where it has no CAD Processing and Findings Summary. */
export function readQualitativeEvaluations(
  evaluations: ContentItem | undefined,
): Pick<Findings, 'lookedFor' | 'reason' | 'conclusion'> & { status?: Findings['status'] } {
  if (!evaluations) return { lookedFor: [] }
  const status = readStatus(evaluations)
  const reason = textNamed(evaluations, c.comment)
  const conclusion = textNamed(evaluations, c.conclusion)
  return {
    lookedFor: evaluations.children.flatMap(({ name, value }) =>
      name && value.type === 'CODE' && presence.some(known => sameConcept(known, value.code)) ? [name] : [],
    ),
    ...(status ? { status } : {}),
    ...(reason ? { reason } : {}),
    ...(conclusion ? { conclusion } : {}),
  }
}

function readStatus({ children }: ContentItem): Findings['status'] | undefined {
  const summary = codeNamed(children, c.processingSummary)
  if (!summary) return undefined
  if (sameConcept(summary, c.succeededWithFindings)) return 'findings'
  if (sameConcept(summary, c.succeededWithoutFindings)) return 'no-findings'
  if (!sameConcept(summary, c.noneSucceeded)) return 'incomplete'
  const outcome = codeNamed(children, c.algorithmStatus)
  return outcome && sameConcept(outcome, c.algorithmNotAttempted) ? 'not-applicable' : 'failed'
}
