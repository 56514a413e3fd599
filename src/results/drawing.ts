import { Piscina } from 'piscina'
import { compiledModule } from '../platform/compiledModule.js'
import type { KeyImage, Picture } from './keyImage.js'

export type Draw = (picture: Picture) => Promise<KeyImage> | KeyImage

/** Draws in a thread, so that pictures never hold up the event loop; the thread ends when nothing is drawn. */
export function startDrawing(): { draw: Draw; close(): Promise<void> } {
  const pool = new Piscina({
    filename: compiledModule(import.meta.url, './drawingWorker.js'),
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: 10_000,
  })
  return { draw: picture => pool.run(picture) as Promise<KeyImage>, close: () => pool.destroy() }
}
