/** Runs of set voxels along x, labelled by the 6-connected component that they belong to. */
export interface Components {
  count: number
  runs: number
  /** First index in the volume, one for each run; runs stand in the order of the volume. */
  start: Int32Array
  length: Int32Array
  /** Component of each run, 0 to count − 1. */
  label: Int32Array
  /** Voxels of each component. */
  size: Int32Array
}

/**
 * 6-connected components of a mask by run-length union-find (L. He, Y. Chao, K. Suzuki, "A Run-Based Two-Scan Labeling Algorithm",
 * IEEE Trans. Image Process. 17(5), 2008, in three dimensions).
 * @param mask non-zero is set
 */
export function findComponents(mask: Uint8Array, width: number, height: number, depth: number): Components {
  let capacity = 1 << 16
  let start = new Int32Array(capacity)
  let length = new Int32Array(capacity)
  let parent = new Int32Array(capacity)
  let runs = 0
  const rows = height * depth
  const firstRunOfRow = new Int32Array(rows + 1)

  const root = (run: number): number => {
    let r = run
    while (parent[r] !== r) {
      parent[r] = parent[parent[r]!]!
      r = parent[r]!
    }
    return r
  }
  const join = (row: number, otherRow: number) => {
    const base = row * width
    const otherBase = otherRow * width
    let a = firstRunOfRow[row]!
    let b = firstRunOfRow[otherRow]!
    const endB = firstRunOfRow[otherRow + 1]!
    while (a < runs && b < endB) {
      const startA = start[a]! - base
      const endA = startA + length[a]!
      const startB = start[b]! - otherBase
      const endOfB = startB + length[b]!
      if (startA < endOfB && startB < endA) {
        const rootA = root(a)
        const rootB = root(b)
        if (rootA < rootB) parent[rootB] = rootA
        else parent[rootA] = rootB
      }
      if (endA < endOfB) a++
      else b++
    }
  }

  for (let row = 0; row < rows; row++) {
    firstRunOfRow[row] = runs
    const end = (row + 1) * width
    for (let i = row * width; i < end; ) {
      if (mask[i] === 0) {
        i++
        continue
      }
      const first = i
      while (i < end && mask[i] !== 0) i++
      if (runs === capacity) {
        capacity *= 2
        start = grow(start, capacity)
        length = grow(length, capacity)
        parent = grow(parent, capacity)
      }
      start[runs] = first
      length[runs] = i - first
      parent[runs] = runs
      runs++
    }
    if (row % height !== 0) join(row, row - 1)
    if (row >= height) join(row, row - height)
    firstRunOfRow[row + 1] = runs
  }

  const label = new Int32Array(runs)
  const numbers = new Map<number, number>()
  const sizes: number[] = []
  for (let run = 0; run < runs; run++) {
    const r = root(run)
    let number = numbers.get(r)
    if (number === undefined) {
      number = numbers.size
      numbers.set(r, number)
      sizes.push(0)
    }
    label[run] = number
    sizes[number]! += length[run]!
  }
  return {
    count: numbers.size,
    runs,
    start: start.subarray(0, runs),
    length: length.subarray(0, runs),
    label,
    size: Int32Array.from(sizes),
  }
}

function grow(array: Int32Array, capacity: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(capacity)
  larger.set(array)
  return larger
}
