/**
 * Outer outline of the pixels of one slice along their edges, as a closed polygon (first point = last) in pixel corners:
 * (0, 0) is the outer corner of the first pixel. The longest loop, if there are several.
 * @param runs row, first column and length of each run of pixels
 */
export function outlineOf(runs: readonly { row: number; column: number; length: number }[]): [number, number][] {
  const set = new Set<string>()
  for (const { row, column, length } of runs) for (let i = 0; i < length; i++) set.add(`${column + i},${row}`)
  // Edges run clockwise around each pixel; those between two set pixels cancel out.
  const next = new Map<string, [number, number][]>()
  const edge = (x1: number, y1: number, x2: number, y2: number) => {
    const key = `${x1},${y1}`
    next.set(key, [...(next.get(key) ?? []), [x2, y2]])
  }
  for (const key of set) {
    const [x, y] = key.split(',').map(Number) as [number, number]
    if (!set.has(`${x},${y - 1}`)) edge(x, y, x + 1, y)
    if (!set.has(`${x + 1},${y}`)) edge(x + 1, y, x + 1, y + 1)
    if (!set.has(`${x},${y + 1}`)) edge(x + 1, y + 1, x, y + 1)
    if (!set.has(`${x - 1},${y}`)) edge(x, y + 1, x, y)
  }
  let longest: [number, number][] = []
  for (let start = next.keys().next().value; start !== undefined; start = next.keys().next().value) {
    const loop = takeLoop(next, start)
    if (loop.length > longest.length) longest = loop
  }
  return withoutStraightPoints(longest)
}

function takeLoop(next: Map<string, [number, number][]>, start: string): [number, number][] {
  const loop: [number, number][] = [start.split(',').map(Number) as [number, number]]
  let key = start
  for (;;) {
    const choices = next.get(key)
    const point = choices?.shift()
    if (choices?.length === 0) next.delete(key)
    if (!point) return loop
    loop.push(point)
    key = `${point[0]},${point[1]}`
    if (key === start) return loop
  }
}

function withoutStraightPoints(loop: [number, number][]): [number, number][] {
  return loop.filter((point, i) => {
    const before = loop[i - 1]
    const after = loop[i + 1]
    if (!before || !after) return true
    return !((before[0] === point[0] && point[0] === after[0]) || (before[1] === point[1] && point[1] === after[1]))
  })
}
