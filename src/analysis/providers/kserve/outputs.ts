import type { Found, ImageResult } from '../../calling/found.js'
import type { MaskRun } from '../../findings.js'
import { type Tensor, wrong } from './tensors.js'

/** What an output tensor says, as configured. */
export type OutputRule =
  | {
      kind: 'scores'
      output: string
      labels: readonly string[]
      activation: 'none' | 'sigmoid' | 'softmax'
      threshold: number
    }
  | {
      kind: 'boxes'
      output: string
      scores: string
      classes?: string | undefined
      labels: readonly string[]
      format: 'xyxy' | 'xywh' | 'cxcywh'
      relative: boolean
      threshold: number
    }
  | {
      kind: 'mask'
      output: string
      labels: readonly string[]
      activation: 'none' | 'sigmoid' | 'argmax'
      threshold: number
      minimumPixels: number
    }

interface Size {
  rows: number
  columns: number
}

const sigmoid = (value: number) => 1 / (1 + Math.exp(-value))
/** Of these labels nothing is found. */
const nothing = new Set(['background', 'normal', 'no finding'])

/** Findings of the n-th image of a batch, in the pixels of the image. @param input size of the network's input @throws RequestFailed */
export function findingsOfOutputs(
  rules: readonly OutputRule[],
  tensors: ReadonlyMap<string, Tensor>,
  n: number,
  batch: number,
  input: Size,
  image: Size,
): ImageResult {
  const of = (name: string): Tensor => {
    const tensor = tensors.get(name)
    if (!tensor) throw wrong(`there is no output ${name}, only ${[...tensors.keys()].join(', ')}`)
    if (tensor.shape[0] !== batch) throw wrong(`${name} has ${tensor.shape[0]} images, ${batch} were sent`)
    return tensor
  }
  return {
    findings: rules.flatMap(rule => {
      const output = partOf(of(rule.output), n)
      if (rule.kind === 'scores') return scores(rule, output)
      if (rule.kind === 'mask') return masks(rule, output, image)
      const classes = rule.classes ? partOf(of(rule.classes), n) : undefined
      return boxes(rule, output, partOf(of(rule.scores), n), classes, input, image)
    }),
  }
}

function partOf({ shape, data }: Tensor, n: number): Tensor {
  const rest = shape.slice(1)
  const size = rest.reduce((product, side) => product * side, 1)
  return { shape: rest, data: data.subarray(n * size, (n + 1) * size) }
}

function scores(rule: Extract<OutputRule, { kind: 'scores' }>, { data }: Tensor): Found[] {
  if (data.length !== rule.labels.length)
    throw wrong(`${rule.output} has ${data.length} scores for ${rule.labels.length} labels`)
  const raw = Array.from(data)
  const top = Math.max(...raw)
  const sum = raw.reduce((total, value) => total + Math.exp(value - top), 0)
  return raw.flatMap((value, i) => {
    const score =
      rule.activation === 'sigmoid'
        ? sigmoid(value)
        : rule.activation === 'softmax'
          ? Math.exp(value - top) / sum
          : value
    const label = rule.labels[i]!
    if (score < 0 || score > 1) throw wrong(`${rule.output} has the score ${score}: which activation does it need?`)
    return score >= rule.threshold && !nothing.has(label) ? [{ label, confidence: score, measurements: [] }] : []
  })
}

function boxes(
  rule: Extract<OutputRule, { kind: 'boxes' }>,
  boxes: Tensor,
  scores: Tensor,
  classes: Tensor | undefined,
  input: Size,
  image: Size,
): Found[] {
  const [count, four] = boxes.shape
  if (four !== 4 || scores.data.length !== count || (classes && classes.data.length !== count))
    throw wrong(`${rule.output}, its scores and classes are not of one length, or not of four numbers`)
  const [across, down] = rule.relative
    ? [image.columns, image.rows]
    : [image.columns / input.columns, image.rows / input.rows]
  const inside = (value: number, most: number) => Math.max(0, Math.min(most, value))
  const found: Found[] = []
  for (let i = 0; i < count!; i++) {
    const confidence = scores.data[i]!
    if (confidence < rule.threshold) continue
    const label = rule.labels[classes ? classes.data[i]! : 0]
    if (label === undefined) throw wrong(`class ${classes?.data[i]} has no label`)
    const [a, b, c, d] = [0, 1, 2, 3].map(k => boxes.data[i * 4 + k]!) as [number, number, number, number]
    const [left, top, right, bottom] = {
      xyxy: [a, b, c, d],
      xywh: [a, b, a + c, b + d],
      cxcywh: [a - c / 2, b - d / 2, a + c / 2, b + d / 2],
    }[rule.format] as [number, number, number, number]
    // A network's box may stand out of the image by a little; by how much it is wrong is for the plausibility check.
    const slack = 0.02
    const edge = (value: number, scale: number, most: number) => {
      const scaled = value * scale
      return scaled < -slack * most || scaled > (1 + slack) * most ? scaled : inside(scaled, most)
    }
    found.push({
      label,
      confidence: Math.min(1, confidence),
      box: [
        edge(left, across, image.columns),
        edge(top, down, image.rows),
        edge(right, across, image.columns),
        edge(bottom, down, image.rows),
      ],
      measurements: [],
    })
  }
  return found
}

function masks(rule: Extract<OutputRule, { kind: 'mask' }>, tensor: Tensor, image: Size): Found[] {
  const [planes, rows, columns] = tensor.shape.length === 2 ? [1, ...tensor.shape] : tensor.shape
  const { labels, activation, threshold } = rule
  const asClasses = activation === 'argmax' && planes === 1
  if (!rows || !columns || tensor.shape.length > 3 || (!asClasses && planes !== labels.length))
    throw wrong(`${rule.output} has the shape ${tensor.shape.join(' × ')} for ${labels.length} labels`)
  const size = rows * columns
  const belongs = (label: number, at: number): boolean => {
    if (asClasses) return tensor.data[at] === label
    if (activation === 'argmax') {
      for (let other = 0; other < planes!; other++)
        if (tensor.data[other * size + at]! > tensor.data[label * size + at]!) return false
      return true
    }
    const value = tensor.data[label * size + at]!
    return (activation === 'sigmoid' ? sigmoid(value) : value) >= threshold
  }
  return labels.flatMap((label, l) => {
    if (nothing.has(label)) return []
    const runs: MaskRun[] = []
    let pixels = 0
    for (let row = 0; row < image.rows; row++) {
      const y = Math.min(rows - 1, Math.floor(((row + 0.5) * rows) / image.rows))
      let start = -1
      for (let column = 0; column <= image.columns; column++) {
        const x = Math.min(columns - 1, Math.floor(((column + 0.5) * columns) / image.columns))
        const inside = column < image.columns && belongs(l, y * columns + x)
        if (inside && start < 0) start = column
        if (!inside && start >= 0) {
          runs.push({ row, column: start, length: column - start })
          pixels += column - start
          start = -1
        }
      }
    }
    // One mask through the study: parts of it on several images are one segment.
    return pixels >= rule.minimumPixels ? [{ label, lesion: label, mask: runs, measurements: [] }] : []
  })
}
