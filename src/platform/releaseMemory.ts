import { MessageChannel } from 'node:worker_threads'

/** Below that it is not worth the trouble. */
const leastBytes = 16 * 1024

/** Messages to it are dropped, and what they carry with them. */
const nowhere = (() => {
  const { port1, port2 } = new MessageChannel()
  port2.close()
  port1.close()
  return port1
})()

/**
 * Gives back the memory of a buffer that nobody else has or needs, at once: afterwards it is empty. The garbage collector is told of each buffer that a connection
 * brings, and goes through the whole heap whenever these come to some 32 MB: five times a second while a study arrives.
 */
export function releaseMemory({ buffer, byteLength }: Buffer): void {
  // A part of a larger one may not be the only part of it in use.
  if (byteLength < leastBytes || byteLength !== buffer.byteLength) return
  nowhere.postMessage(undefined, [buffer as ArrayBuffer])
}
