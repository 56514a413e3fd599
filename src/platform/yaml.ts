import { isMap, LineCounter, parseDocument } from 'yaml'

/** A YAML text that cannot be read: `message` holds file, line and reason. */
export class YamlProblem extends Error {
  constructor(
    file: string,
    readonly line: number,
    readonly reason: string,
  ) {
    super(`${file}:${line}: ${reason}`)
  }
}

export interface LocatedYaml {
  value: Record<string, unknown>
  /** `file:line` of the value or key at a path, or of the nearest parent that is there. */
  locate(path: readonly (string | number)[]): string
  lineOf(path: readonly (string | number)[]): number
}

/** Reads a YAML mapping and remembers at which line each value stands, so that a wrong one can be pointed at. */
export function parseYaml(text: string, file: string): LocatedYaml {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const problem = document.errors[0]
  if (problem) throw new YamlProblem(file, lines.linePos(problem.pos[0]).line, problem.message)
  const value: unknown = document.toJS() ?? {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new YamlProblem(file, 1, 'expected a mapping of settings')
  }
  const lineAt = (path: readonly (string | number)[]): number => {
    for (let depth = path.length; depth > 0; depth--) {
      const parent = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true)
      const key = path[depth - 1]
      if (isMap(parent)) {
        const pair = parent.items.find(
          item => String((item.key as { value?: unknown })?.value ?? item.key) === String(key),
        )
        const range = (pair?.key as { range?: number[] } | undefined)?.range
        if (range) return lines.linePos(range[0]!).line
      }
      const node = document.getIn(path.slice(0, depth), true) as { range?: number[] } | undefined
      if (node?.range) return lines.linePos(node.range[0]!).line
    }
    return 1
  }
  return { value: value as Record<string, unknown>, locate: path => `${file}:${lineAt(path)}`, lineOf: lineAt }
}
