import type { Finding, Findings, LesionChange } from '../analysis/findings.js'
import { relativeChange } from './templates/comparison.js'

const statusText: Readonly<Record<Findings['status'], string>> = {
  findings: 'Analysed, with findings',
  'no-findings': 'Analysed, without findings',
  incomplete: 'Analysed in part: absence of a finding means nothing',
  'not-applicable': 'Not analysed: the algorithm does not apply to this study',
  failed: 'Not analysed: the algorithm failed',
}

/** The findings as lines for people, in sections; plain text, English but for the meanings of codes. */
export function summaryLines(findings: Findings): { heading: string; lines: string[] }[] {
  const { algorithm, status, reason, items, conclusion, comparison } = findings
  return [
    {
      heading: `${algorithm.name} ${algorithm.version} (${algorithm.manufacturer})`,
      lines: [statusText[status], ...(reason ? [reason] : []), ...(conclusion ? [conclusion] : [])],
    },
    ...(items.length > 0 ? [{ heading: 'Findings', lines: items.map(findingLine) }] : []),
    ...(comparison
      ? [
          {
            heading: `Compared with the examination of ${plainDate(comparison.prior.studyDate)}`,
            lines: comparison.lesions.map(changeLine),
          },
        ]
      : []),
  ]
}

/** Measurements of a finding in one line. */
export function measurementsOf({ measurements }: Finding): string {
  return measurements
    .map(({ quantity, value, unit }) => `${quantity.meaning} ${round(value)} ${plainUnit(unit.value)}`.trimEnd())
    .join(', ')
}

function findingLine(finding: Finding): string {
  const place = [finding.laterality?.meaning, finding.site?.meaning].filter(Boolean).join(' ').toLowerCase()
  const probability = finding.probability === undefined ? '' : `, certainty ${Math.round(finding.probability * 100)} %`
  const measured = measurementsOf(finding)
  return `${finding.trackingIdentifier}${place ? ` (${place})` : ''}${measured ? `: ${measured}` : ''}${probability}`
}

function changeLine({ trackingIdentifier, change, quantities, doublingDays }: LesionChange): string {
  const changes = quantities.map(({ quantity, prior, current, unit }) => {
    const percent =
      prior === 0
        ? ''
        : ` (${relativeChange(prior, current) > 0 ? '+' : ''}${relativeChange(prior, current).toFixed(0)} %)`
    return `${quantity.meaning} ${round(prior)} to ${round(current)} ${plainUnit(unit.value)}${percent}`
  })
  const doubling = doublingDays === undefined ? [] : [`doubling time ${Math.round(doublingDays)} days`]
  return [`${trackingIdentifier}: ${change}`, ...changes, ...doubling].join(', ')
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}

/** UCUM codes as people write them; what has no unit has none. */
export function plainUnit(code: string): string {
  return code === "[hnsf'U]" ? 'HU' : code === 'ml' ? 'mL' : code === '1' ? '' : code
}

/** A DICOM date, `YYYYMMDD`, as ISO 8601 has it. */
export function plainDate(date: string | undefined): string {
  return date && /^\d{8}$/.test(date) ? date.replace(/(\d{4})(\d\d)(\d\d)/, '$1-$2-$3') : 'unknown date'
}
