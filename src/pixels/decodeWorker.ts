import { move, transferableSymbol, valueSymbol } from 'piscina'
import { decodeFrame, type NormalizedFrame } from './decodeFrame.js'
import { type FrameSource, openFrames } from './frames.js'
import { type NormalizeOptions, type NormalizeReport, normalizeFile } from './normalizeFile.js'

/** Work for a pixel thread. */
export type PixelTask =
  | { kind: 'frame'; path: string; frame: number }
  | { kind: 'file'; input: string; output: string; options: NormalizeOptions }

// Frames of one object are asked for one after another: its header and fragments need finding once.
let opened: { path: string; source: FrameSource } | undefined

export default async function run(task: PixelTask): Promise<NormalizedFrame | NormalizeReport> {
  if (task.kind === 'file') return normalizeFile(task.input, task.output, task.options)
  if (opened?.path !== task.path) {
    await opened?.source.close()
    opened = undefined
    opened = { path: task.path, source: await openFrames(task.path) }
  }
  const decoded = await decodeFrame(opened.source, task.frame)
  if (opened.source.image.frames === 1) {
    await opened.source.close()
    opened = undefined
  }
  return handOver(decoded)
}

/** The samples change threads without being copied. */
function handOver(frame: NormalizedFrame): NormalizedFrame {
  return move({
    get [transferableSymbol]() {
      return frame.samples.buffer
    },
    get [valueSymbol]() {
      return frame
    },
  } as never) as unknown as NormalizedFrame
}
