import { move } from 'piscina'
import { type ImageTask, prepareImage } from './prepareImage.js'

/** Prepares one image in a thread; it comes back without being copied. */
export default function run(task: ImageTask): Uint8Array {
  return move(prepareImage(task) as never) as unknown as Uint8Array
}
