import { SingleBar } from 'cli-progress'

export interface Progress {
  advance(by: number): void
  stop(): void
}

/** A progress bar on standard error; silent where that is no terminal. */
export function progressBar(label: string, total: number): Progress {
  if (!process.stderr.isTTY) return { advance() {}, stop() {} }
  const bar = new SingleBar({
    format: `${label} {bar} {value}/{total} · {eta_formatted} left`,
    stream: process.stderr,
    hideCursor: true,
  })
  bar.start(total, 0)
  return { advance: by => bar.increment(by), stop: () => bar.stop() }
}
