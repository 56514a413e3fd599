/** What is another in a document than in the one before it. */
export interface Difference {
  /** `routes.chest-ct.analysis.primary`; entries of lists are named by their `name`, else by their place. */
  path: string
  kind: 'added' | 'removed' | 'changed'
  from?: unknown
  to?: unknown
}

/** Differences of two JSON documents, in the order of the later one; entries that only changed their place in a list are not told, but `… order` is. */
export function differences(from: unknown, to: unknown, path: readonly string[] = []): Difference[] {
  if (JSON.stringify(from) === JSON.stringify(to)) return []
  const [before, after] = [entriesOf(from), entriesOf(to)]
  if (!before || !after) {
    const kind = from === undefined ? 'added' : to === undefined ? 'removed' : 'changed'
    return [
      {
        path: path.join('.'),
        kind,
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
      },
    ]
  }
  const keys = [...after.keys(), ...[...before.keys()].filter(key => !after.has(key))]
  const inner = keys.flatMap(key => differences(before.get(key), after.get(key), [...path, key]))
  const order = (names: Map<string, unknown>) => [...names.keys()].filter(key => before.has(key) && after.has(key))
  if (Array.isArray(to) && order(before).join() !== order(after).join())
    inner.push({
      path: [...path, 'order'].join('.'),
      kind: 'changed',
      from: [...before.keys()],
      to: [...after.keys()],
    })
  return inner
}

function entriesOf(value: unknown): Map<string, unknown> | undefined {
  if (Array.isArray(value)) {
    // A list of plain values is one value.
    if (!value.every(entry => typeof entry === 'object' && entry !== null)) return undefined
    return new Map(value.map((entry, i) => [String((entry as { name?: unknown }).name ?? i), entry]))
  }
  return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : undefined
}
