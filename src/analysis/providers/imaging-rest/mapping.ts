/**
 * How the answer of a vendor that has its own field names becomes the one of docs/providers/imaging-rest.md. Paths are those of JSONPath without filters: `$.data.items[0].name`,
 * from the answer, from a result, or from a finding.
 */
export interface Mapping {
  model?: { name?: Rule | undefined; version?: Rule | undefined; manufacturer?: Rule | undefined } | undefined
  units?: Rule | undefined
  /** Path of the list of results in the answer, and what is in a result. */
  results?: string | undefined
  index?: Rule | undefined
  error?: Rule | undefined
  findings?: string | undefined
  heatmap?: string | undefined
  /** What is in a finding. */
  finding?: {
    label?: Rule | undefined
    lesion?: Rule | undefined
    confidence?: Rule | undefined
    outline?: Rule | undefined
    box?: Rule | BoxRules | undefined
    laterality?: Rule | undefined
    measurements?: readonly { name: string; value: Rule; unit: string }[] | undefined
  }
  /** What words and numbers of labels and sides mean, for example { L: left, R: right }. */
  words?: Readonly<Record<string, string>> | undefined
}

/** A path; or one with a factor; or a value that is always the same. */
export type Rule =
  | string
  | { path: string; times?: number | undefined; plus?: number | undefined }
  | { constant: string | number }

export type BoxRules =
  | { left: Rule; top: Rule; right: Rule; bottom: Rule }
  | { left: Rule; top: Rule; width: Rule; height: Rule }

/** @returns the value at the path; undefined if there is none */
function valueAt(json: unknown, path: string): unknown {
  let value = json
  for (const step of path.replace(/^\$\.?/, '').matchAll(/([^.[\]]+)|\[(\d+)\]/g)) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string, unknown>)[step[1] ?? step[2]!]
  }
  return value
}

/** The answer with the agreed field names; what a mapping does not mention is taken from where it was agreed to be. */
export function mapAnswer(answer: unknown, mapping: Mapping): unknown {
  const read = (json: unknown, rule: Rule | undefined, agreed: string) => apply(json, rule ?? `$.${agreed}`)
  const word = (json: unknown, rule: Rule | undefined, agreed: string) => {
    const value = textIfNumber(read(json, rule, agreed))
    return typeof value === 'string' ? (mapping.words?.[value] ?? value) : value
  }
  const result = (json: unknown) => {
    const error = read(json, mapping.error, 'error')
    const findings = valueAt(json, mapping.findings ?? '$.findings')
    return {
      index: read(json, mapping.index, 'index'),
      ...(error === undefined || error === null || error === '' ? {} : { error: String(error) }),
      findings: Array.isArray(findings) ? findings.map(finding) : findings,
      heatmap: valueAt(json, mapping.heatmap ?? '$.heatmap'),
    }
  }
  const rules = mapping.finding ?? {}
  const finding = (json: unknown) => ({
    label: word(json, rules.label, 'label'),
    lesion: textIfNumber(read(json, rules.lesion, 'lesion')),
    confidence: read(json, rules.confidence, 'confidence'),
    outline: read(json, rules.outline, 'outline'),
    box:
      rules.box && typeof rules.box === 'object' && 'left' in rules.box
        ? boxOf(json, rules.box)
        : read(json, rules.box, 'box'),
    mask: read(json, undefined, 'mask'),
    laterality: word(json, rules.laterality, 'laterality'),
    measurements: rules.measurements
      ? rules.measurements
          .map(({ name, value, unit }) => ({ name, unit, value: apply(json, value) }))
          .filter(({ value }) => value !== undefined && value !== null)
      : read(json, undefined, 'measurements'),
  })
  const results = valueAt(answer, mapping.results ?? '$.results')
  const units = read(answer, mapping.units, 'usage.units')
  return {
    ...(answer as object),
    model: {
      name: read(answer, mapping.model?.name, 'model.name'),
      version: textIfNumber(read(answer, mapping.model?.version, 'model.version')),
      manufacturer: read(answer, mapping.model?.manufacturer, 'model.manufacturer'),
    },
    usage: units === undefined ? undefined : { units },
    results: Array.isArray(results) ? results.map(result) : results,
  }
}

function apply(json: unknown, rule: Rule): unknown {
  if (typeof rule === 'string') return valueAt(json, rule)
  if ('constant' in rule) return rule.constant
  const value = valueAt(json, rule.path)
  return typeof value === 'number' ? value * (rule.times ?? 1) + (rule.plus ?? 0) : value
}

function boxOf(json: unknown, rules: BoxRules): unknown {
  const [left, top] = [apply(json, rules.left), apply(json, rules.top)]
  if ('right' in rules) {
    const box = [left, top, apply(json, rules.right), apply(json, rules.bottom)]
    return box.every(value => value === undefined || value === null) ? undefined : box
  }
  const size = [apply(json, rules.width), apply(json, rules.height)]
  if ([left, top, ...size].every(value => value === undefined || value === null)) return undefined
  return [left, top, Number(left) + Number(size[0]), Number(top) + Number(size[1])]
}

function textIfNumber(value: unknown): unknown {
  return typeof value === 'number' ? String(value) : value
}
