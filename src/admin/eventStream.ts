import type { Response } from 'express'

/** Server-sent events, until the listener has gone or the service stops. */
export interface EventStream {
  /** A field, an event or a comment with its empty line; nothing happens once the stream has ended. */
  say(text: string): void
  isOpen(): boolean
  end(): void
}

export function openStream(res: Response): EventStream {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  const isOpen = () => !res.writableEnded && !res.destroyed
  return {
    say(text) {
      if (isOpen()) res.write(text)
    },
    isOpen,
    end: () => void res.end(),
  }
}
