import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { compiledModule } from '../platform/compiledModule.js'
import type { DecodeOptions, NormalizedFrame } from './decodeFrame.js'
import type { PixelAnswer, PixelTask } from './decodeWorker.js'
import { PixelProblem } from './imageDescription.js'
import type { NormalizeOptions, NormalizeReport } from './normalizeFile.js'
import type { Rendering } from './render.js'

/** Decodes in worker threads, so that pixels never hold up the event loop. */
export interface PixelPool {
  /** Samples come without being copied; they are the caller's. @param frame 0-based @throws PixelProblem */
  frame(path: string, frame: number, options?: DecodeOptions): Promise<NormalizedFrame>
  /** @throws PixelProblem */
  file(input: string, output: string, options?: NormalizeOptions): Promise<NormalizeReport>
  /** A code stream of a frame, from 0, in one of the transfer syntaxes of `losslessEncoders`. @throws PixelProblem */
  compress(path: string, frame: number, transferSyntaxUid: string): Promise<Uint8Array>
  /** A frame, from 0, as a picture. @throws PixelProblem */
  render(path: string, frame: number, rendering: Rendering): Promise<Uint8Array>
  readonly threads: number
  close(): Promise<void>
}

export interface PixelLimits {
  /** A frame that takes longer ends its thread, one of a small file sooner; so does a whole file that takes a hundred times as long. */
  frameSeconds: number
  /** JavaScript memory of a thread. Samples and code streams are outside of it: their size is checked before they are decoded. */
  heapMegabytes: number
}

const defaults: PixelLimits = { frameSeconds: 60, heapMegabytes: 1024 }

/** @param threads as many as there are cores if not said otherwise */
export function startPixelPool(threads = availableParallelism(), limits: Partial<PixelLimits> = {}): PixelPool {
  const { frameSeconds, heapMegabytes } = { ...defaults, ...limits }
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './decodeWorker.js'),
    minThreads: 1, // to start one takes a tenth of a second, which the first image after a pause would wait for
    maxThreads: threads,
    idleTimeout: 10_000,
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
  })
  pool.on('error', () => {}) // a thread that dies between tasks: the pool starts another
  const run = async <T>(task: PixelTask): Promise<T> => {
    const frame = secondsForFrame(frameSeconds, await lengthOf(task.kind === 'file' ? task.input : task.path))
    const seconds = task.kind === 'file' ? frame * 100 : frame
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), seconds * 1000) // ends the thread; the pool starts another
    try {
      const answer = (await pool.run(task, { signal: limit.signal })) as PixelAnswer
      if ('problem' in answer) throw new PixelProblem(answer.problem)
      return answer as T
    } catch (error) {
      if (limit.signal.aborted) throw new PixelProblem(`decoding took longer than ${seconds} s`)
      if ((error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY')
        throw new PixelProblem(`decoding needs more than the ${heapMegabytes} MB of memory that a thread may use`)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    frame: (path, frame, options = {}) => run<NormalizedFrame>({ kind: 'frame', path, frame, options }),
    file: (input, output, options = {}) => run<NormalizeReport>({ kind: 'file', input, output, options }),
    compress: (path, frame, transferSyntaxUid) => run<Uint8Array>({ kind: 'compress', path, frame, transferSyntaxUid }),
    render: (path, frame, rendering) => run<Uint8Array>({ kind: 'render', path, frame, rendering }),
    threads,
    close: () => pool.destroy(),
  }
}

/**
 * A corrupt code stream of a kilobyte can keep a decoder busy for as long as a sound one of megabytes (CharLS reads on behind the end, 2³¹ zero bits).
 * @param bytes of the file
 */
export function secondsForFrame(most: number, bytes: number): number {
  return Math.min(most, Math.ceil(10 + bytes / 50_000))
}

/** @returns 0 if there is no such file: who reads it says so */
function lengthOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  )
}
