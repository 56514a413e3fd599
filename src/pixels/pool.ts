import { Piscina } from 'piscina'
import { compiledModule } from '../platform/compiledModule.js'
import type { NormalizedFrame } from './decodeFrame.js'
import type { PixelAnswer, PixelTask } from './decodeWorker.js'
import { PixelProblem } from './imageDescription.js'
import type { NormalizeOptions, NormalizeReport } from './normalizeFile.js'

/** Decodes in worker threads, so that pixels never hold up the event loop. */
export interface PixelPool {
  /** @param frame 0-based @throws PixelProblem */
  frame(path: string, frame: number): Promise<NormalizedFrame>
  /** @throws PixelProblem */
  file(input: string, output: string, options: NormalizeOptions): Promise<NormalizeReport>
  readonly threads: number
  close(): Promise<void>
}

const taskMilliseconds = 60_000

export function startPixelPool(threads: number): PixelPool {
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './decodeWorker.js'),
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: 10_000,
    resourceLimits: { maxOldGenerationSizeMb: 2048 },
  })
  const run = async <T>(task: PixelTask): Promise<T> => {
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), taskMilliseconds) // ends the thread; the pool starts another
    try {
      const answer = (await pool.run(task, { signal: limit.signal })) as PixelAnswer
      if ('problem' in answer) throw new PixelProblem(answer.problem)
      return answer as T
    } catch (error) {
      if (limit.signal.aborted) throw new PixelProblem(`decoding took longer than ${taskMilliseconds / 1000} s`)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    frame: (path, frame) => run<NormalizedFrame>({ kind: 'frame', path, frame }),
    file: (input, output, options) => run<NormalizeReport>({ kind: 'file', input, output, options }),
    threads,
    close: () => pool.destroy(),
  }
}
