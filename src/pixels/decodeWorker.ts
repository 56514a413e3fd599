import { move, transferableSymbol, valueSymbol } from 'piscina'
import { compressFrame } from './compressFrame.js'
import { type DecodeOptions, decodeFrame, type NormalizedFrame } from './decodeFrame.js'
import { type FrameSource, openFrames } from './frames.js'
import { PixelProblem } from './imageDescription.js'
import { type NormalizeOptions, type NormalizeReport, normalizeFile } from './normalizeFile.js'
import { type Rendering, renderFrame } from './render.js'

/** Work for a pixel thread. `frame` counts from 0. */
export type PixelTask =
  | { kind: 'frame'; path: string; frame: number; options: DecodeOptions }
  | { kind: 'compress'; path: string; frame: number; transferSyntaxUid: string }
  | { kind: 'render'; path: string; frame: number; rendering: Rendering }
  | { kind: 'file'; input: string; output: string; options: NormalizeOptions }

// Frames of one object are asked for one after another: its header and fragments need finding once.
let opened: { path: string; source: FrameSource } | undefined
let idle: NodeJS.Timeout | undefined
const idleMilliseconds = 2000

/** Errors lose their class on the way between threads: what is wrong with the pixels is told as a value. */
export type PixelAnswer = NormalizedFrame | NormalizeReport | Uint8Array | { problem: string }

export default async function run(task: PixelTask): Promise<PixelAnswer> {
  try {
    if (task.kind === 'file') return await normalizeFile(task.input, task.output, task.options)
    if (task.kind === 'render')
      return await withFrames(task.path, source => renderFrame(source, task.frame, task.rendering))
    if (task.kind === 'compress')
      return await withFrames(task.path, async source => {
        const frame = await decodeFrame(source, task.frame, { keepPhotometric: true })
        return (await compressFrame(frame, task.transferSyntaxUid, source.image)).bytes
      })
    return handOver(await withFrames(task.path, source => decodeFrame(source, task.frame, task.options)))
  } catch (error) {
    if (error instanceof PixelProblem) return { problem: error.message }
    throw error
  }
}

async function withFrames<T>(path: string, use: (source: FrameSource) => Promise<T>): Promise<T> {
  clearTimeout(idle)
  if (opened?.path !== path) {
    await closeOpened()
    opened = { path, source: await openFrames(path) }
  }
  const { source } = opened
  const result = await use(source)
  if (source.image.frames === 1) await closeOpened()
  else idle = setTimeout(() => void closeOpened(), idleMilliseconds).unref()
  return result
}

async function closeOpened(): Promise<void> {
  const source = opened?.source
  opened = undefined
  await source?.close()
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
