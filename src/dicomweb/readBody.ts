import type { Readable } from 'node:stream'
import { MalformedMultipart } from './multipartSplitter.js'

/** The sender was silent, or nearly so, for longer than allowed. */
export class SenderTooSlow extends Error {}
/** The sender hung up before its body was complete. */
export class SenderGone extends Error {}

export interface Pace {
  idleSeconds: number
  minimumBytesPerSecond: number
}

/**
 * Reads a request body chunk by chunk. Stopping early leaves the connection open, so that an answer can still be sent.
 * @param onChunk `'stop'` ends reading; a promise makes the sender wait; a throw ends reading with that error
 * @returns `'end'` or `'stopped'`
 * @throws SenderTooSlow, SenderGone, MalformedMultipart
 */
export function readBody(
  req: Readable,
  pace: Pace,
  onChunk: (chunk: Buffer) => Promise<void> | 'stop' | undefined,
): Promise<'end' | 'stopped'> {
  return new Promise((resolve, reject) => {
    let arrived = 0
    let senderWaits = false
    const onData = (chunk: Buffer) => {
      arrived += chunk.length
      try {
        const next = onChunk(chunk)
        if (next === 'stop') finish(() => resolve('stopped'))
        else if (next) {
          senderWaits = true
          req.pause()
          next.then(
            () => {
              senderWaits = false
              req.resume()
            },
            error => finish(() => reject(error)),
          )
        }
      } catch (error) {
        finish(() => reject(error))
      }
    }
    const onEnd = () => finish(() => resolve('end'))
    const onGone = (error?: Error) =>
      finish(() => reject(error instanceof MalformedMultipart ? error : new SenderGone('the sender hung up')))
    const clock = setInterval(() => {
      const enough = arrived >= Math.max(1, pace.minimumBytesPerSecond * pace.idleSeconds)
      arrived = 0
      if (!enough && !senderWaits) finish(() => reject(new SenderTooSlow('too few bytes arrived for too long')))
    }, pace.idleSeconds * 1000)
    const finish = (conclude: () => void) => {
      clearInterval(clock)
      req.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
      req.on('error', () => {})
      req.pause()
      conclude()
    }
    req.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}
