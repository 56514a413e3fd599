/** What was meant by an unknown name, of those that a JSON Schema has at its place; empty if none is like it. */
export function suggestionFor(key: string, path: readonly (string | number)[], schema: object): string {
  const known = nearest(key, namesBelow(schema as SchemaNode, path))
  return known ? `; did you mean ${known}?` : ''
}

interface SchemaNode {
  properties?: Record<string, SchemaNode>
  items?: SchemaNode
  anyOf?: SchemaNode[]
  oneOf?: SchemaNode[]
}

function namesBelow(node: SchemaNode, [step, ...rest]: readonly (string | number)[]): string[] {
  const variants = [...(node.anyOf ?? []), ...(node.oneOf ?? [])]
  const next = step === undefined ? undefined : typeof step === 'number' ? node.items : node.properties?.[step]
  const here = step === undefined ? Object.keys(node.properties ?? {}) : next ? namesBelow(next, rest) : []
  return [...here, ...variants.flatMap(variant => namesBelow(variant, step === undefined ? [] : [step, ...rest]))]
}

/** The candidate within an edit distance of a third of the word's length, if there is one. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map(c => [editDistance(word.toLowerCase(), c.toLowerCase()), c] as const)
    .sort((a, b) => a[0] - b[0])
  const best = ranked[0]
  return best && best[0] <= Math.max(2, word.length / 3) ? best[1] : undefined
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    previous = row
  }
  return previous[b.length]!
}
