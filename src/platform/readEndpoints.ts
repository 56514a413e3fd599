import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { type Endpoints, endpointsJsonSchema, endpointsSchema, type Route } from './endpoints.js'
import { SettingsError } from './settings.js'
import { suggestionFor } from './suggestion.js'
import { parseYaml, YamlProblem } from './yaml.js'

/** One thing that is wrong in an endpoints document. */
export interface EndpointsIssue {
  /** `routes.0.analysis.primary` */
  path: string
  /** In the text it was read from. */
  line: number
  message: string
}

/** An endpoints document that cannot be used; `message` has a line for each issue, with file, line and what was expected. */
export class EndpointsProblem extends SettingsError {
  constructor(
    file: string,
    readonly issues: EndpointsIssue[],
  ) {
    super(
      issues
        .map(
          ({ path, line, message }) =>
            `${file}:${line}: ${message.startsWith('unknown setting') || !path ? '' : `${path}: `}${message}`,
        )
        .join('\n'),
    )
  }
}

/** An endpoints document: as it was written, and with defaults. */
export interface ReadEndpoints {
  document: Record<string, unknown>
  endpoints: Endpoints
}

/** With no endpoints at all every study goes to the embedded analyser and results stay in the archive. */
const defaultRoute: Route = {
  name: 'default',
  match: {},
  priority: 'routine',
  analysis: {
    primary: 'reference',
    fallback: [],
    shadow: [],
    priors: { max: 1, within: 'P5Y', analyze: false, from: [] },
  },
  results: ['sr', 'seg', 'sc'],
  reportOn: ['findings', 'no-findings', 'incomplete'],
  deliverTo: [],
}

/**
 * Reads and checks an endpoints document.
 * @param file absent: the defaults
 * @throws SettingsError with file, line and what was expected
 */
export function loadEndpoints(file?: string): Endpoints {
  return readEndpointsFile(file).endpoints
}

/** @throws SettingsError with file, line and what was expected */
export function readEndpointsFile(file?: string): ReadEndpoints {
  if (!file) return endpointsOf({})
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SettingsError(`${file}: endpoints file cannot be read (${(cause as NodeJS.ErrnoException).code})`)
  }
  return readEndpoints(text, file)
}

/** @throws EndpointsProblem with file, line and what was expected */
export function parseEndpoints(text: string, file: string): Endpoints {
  return readEndpoints(text, file).endpoints
}

/**
 * @param text YAML, of which JSON is a part
 * @throws EndpointsProblem
 */
export function readEndpoints(text: string, file: string): ReadEndpoints {
  try {
    const { value, lineOf } = parseYaml(text, file)
    return check(value, file, lineOf)
  } catch (error) {
    if (error instanceof YamlProblem)
      throw new EndpointsProblem(file, [{ path: '', line: error.line, message: error.reason }])
    throw error
  }
}

/** @throws EndpointsProblem */
export function endpointsOf(document: Record<string, unknown>): ReadEndpoints {
  return check(document, 'endpoints', () => 1)
}

type LineOf = (path: readonly (string | number)[]) => number

function check(document: Record<string, unknown>, file: string, lineOf: LineOf): ReadEndpoints {
  const parsed = endpointsSchema.safeParse(document)
  if (!parsed.success)
    throw new EndpointsProblem(
      file,
      parsed.error.issues.flatMap(issue => explain(issue, lineOf)),
    )
  // `routes: []` is a choice (archive only); an absent list is the default route.
  return { document, endpoints: { ...parsed.data, routes: parsed.data.routes ?? [defaultRoute] } }
}

function explain(issue: z.core.$ZodIssue, lineOf: LineOf): EndpointsIssue[] {
  const path = issue.path.map(step => (typeof step === 'number' ? step : String(step)))
  const name = path.join('.')
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(key => {
      const full = [...path, key]
      const known = suggestionFor(key, path, endpointsJsonSchema())
      return { path: full.join('.'), line: lineOf(full), message: `unknown setting ${full.join('.')}${known}` }
    })
  const line = lineOf(path)
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // Which one was meant is told by the names of its settings.
    const meant = issue.errors.filter(
      errors => !errors.some(({ code, path }) => code === 'unrecognized_keys' && path.length === 0),
    )
    if (meant.length === 1) return meant[0]!.flatMap(one => explain({ ...one, path: [...path, ...one.path] }, lineOf))
    const variants = issue.errors.map(errors =>
      errors.map(e => `${[...path, ...e.path].join('.')}: ${e.message}`).join(', '),
    )
    return [{ path: name, line, message: `neither ${variants.join('; nor ')}` }]
  }
  return [{ path: name, line, message: issue.message }]
}
