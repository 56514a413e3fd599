import { Piscina } from 'piscina'
import type { Window } from '../../pixels/greyLevels.js'
import { viewable } from '../../pixels/view.js'
import { compiledModule } from '../../platform/compiledModule.js'
import type { ImagePixels, NormalizedImage } from '../normalizedStudy.js'
import type { ImageData, ImageTask } from './prepareImage.js'

export type Prepare = (task: ImageTask) => Promise<Uint8Array>
/** Has a worker module do something with plain data. @param module path of the compiled one */
export type InThread = <T>(module: string, task: unknown) => Promise<T>

/** Makes images into what providers take, and reads what is long to read, in threads that end when there is nothing to do. */
export function startPreparation(threads: number): { prepare: Prepare; inThread: InThread; close(): Promise<void> } {
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './prepareWorker.js'),
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: 10_000,
  })
  return {
    // The samples are the task's alone: they change threads without being copied.
    prepare: task => pool.run(task, { transferList: [task.image.samples.buffer as ArrayBuffer] }),
    inThread: (module, task) => pool.run(task, { filename: module }),
    close: () => pool.destroy(),
  }
}

/** An image as plain data. @param window instead of the image's own */
export function imageData(image: NormalizedImage, pixels: ImagePixels, window?: Window): ImageData {
  return viewable(image, pixels, image.header, image.frame - 1, window)
}
