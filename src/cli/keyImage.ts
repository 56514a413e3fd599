import { encode } from 'fast-png'
import { type DicomJson, itemsOf, numberOf, numbersOf, textOf } from '../dicom/dicomJson.js'
import { decodeFrame } from '../pixels/decodeFrame.js'
import { openFrames } from '../pixels/frames.js'
import { readObject } from './files.js'

const outlineColor = [255, 176, 0] as const
const scale = 2

/**
 * The slice that the report's first outline lies on, in its own window, with all outlines of that slice drawn.
 * @param sources paths of the images that were sent
 * @returns undefined if the report outlines nothing
 */
export async function keyImagePng(report: DicomJson, sources: readonly string[]): Promise<Uint8Array | undefined> {
  const outlines = outlinesIn(report)
  const first = outlines[0]
  if (!first) return undefined
  for (const path of sources) {
    const object = await readObject(path)
    if ('problem' in object || object.sopInstanceUid !== first.sopInstanceUid) continue
    return draw(
      path,
      outlines.filter(outline => outline.sopInstanceUid === first.sopInstanceUid),
    )
  }
  return undefined
}

interface Outline {
  sopInstanceUid: string
  points: number[]
}

function outlinesIn(item: DicomJson): Outline[] {
  const children = itemsOf(item, '0040A730')
  if (textOf(item, '0040A040') !== 'SCOORD') return children.flatMap(outlinesIn)
  const reference = itemsOf(children[0] ?? {}, '00081199')[0]
  const sopInstanceUid = reference && textOf(reference, '00081155')
  return sopInstanceUid ? [{ sopInstanceUid, points: numbersOf(item, '00700022') }] : []
}

async function draw(path: string, outlines: readonly Outline[]): Promise<Uint8Array> {
  const source = await openFrames(path)
  try {
    const { samples, rows, columns } = await decodeFrame(source, 0)
    const { json } = source.header
    const slope = numberOf(json, '00281053') ?? 1
    const intercept = numberOf(json, '00281052') ?? 0
    const center = numberOf(json, '00281050') ?? -600
    const width = Math.max(1, numberOf(json, '00281051') ?? 1500)
    const data = new Uint8Array(rows * columns * 3 * scale * scale)
    const at = (x: number, y: number) => (y * columns * scale + x) * 3
    for (let y = 0; y < rows * scale; y++) {
      for (let x = 0; x < columns * scale; x++) {
        const value = samples[Math.floor(y / scale) * columns + Math.floor(x / scale)]! * slope + intercept
        data.fill(Math.max(0, Math.min(255, ((value - center) / width + 0.5) * 255)), at(x, y), at(x, y) + 3)
      }
    }
    for (const { points } of outlines) {
      for (let i = 0; i + 3 < points.length; i += 2) {
        const [x1, y1, x2, y2] = points.slice(i, i + 4).map(v => v * scale) as [number, number, number, number]
        const steps = Math.max(1, Math.ceil(Math.hypot(x2 - x1, y2 - y1)))
        for (let s = 0; s <= steps; s++) {
          const x = Math.min(columns * scale - 1, Math.round(x1 + ((x2 - x1) * s) / steps))
          const y = Math.min(rows * scale - 1, Math.round(y1 + ((y2 - y1) * s) / steps))
          data.set(outlineColor, at(x, y))
        }
      }
    }
    return encode({ width: columns * scale, height: rows * scale, data, channels: 3, depth: 8 })
  } finally {
    await source.close()
  }
}
