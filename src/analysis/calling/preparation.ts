import { Piscina } from 'piscina'
import { textOf } from '../../dicom/dicomJson.js'
import { type Window, windowOf } from '../../pixels/greyLevels.js'
import { compiledModule } from '../../platform/compiledModule.js'
import type { ImagePixels, NormalizedImage } from '../normalizedStudy.js'
import type { ImageData, ImageTask } from './prepareImage.js'

export type Prepare = (task: ImageTask) => Promise<Uint8Array>

/** Makes images into what providers take, in threads that end when there is nothing to do. */
export function startPreparation(threads: number): { prepare: Prepare; close(): Promise<void> } {
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './prepareWorker.js'),
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: 10_000,
  })
  return {
    // The samples are the task's alone: they change threads without being copied.
    prepare: task => pool.run(task, { transferList: [task.image.samples.buffer as ArrayBuffer] }),
    close: () => pool.destroy(),
  }
}

/** @param window instead of the image's own */
export function imageData(
  { rows, columns, rescale, header, frame }: NormalizedImage,
  { samples, photometric, bitsStored, signed }: ImagePixels,
  window: Window | undefined = windowOf(header, frame - 1),
): ImageData {
  return {
    rows,
    columns,
    samples,
    photometric,
    bitsStored,
    signed,
    rescale: { slope: rescale.slope, intercept: rescale.intercept },
    window,
    inverted: textOf(header, '00280004') === 'MONOCHROME1',
  }
}
