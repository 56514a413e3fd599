import type { Endpoints, Route } from '../platform/endpoints.js'

const minute = 60_000
const dayMinutes = 24 * 60

/** Before which others a study is analysed, and from when on. `offPeak` hours are those of its time zone, over midnight if they end before they begin. */
export function whenToAnalyze(
  priority: Route['priority'],
  offPeak: Endpoints['offPeak'],
  now: Date,
): { priority: number; runAt?: Date } {
  if (priority === 'stat') return { priority: -10 }
  if (priority === 'routine') return { priority: 0 }
  const [from, to] = [minutesOf(offPeak.from), minutesOf(offPeak.to)]
  const at = minutesAt(now, offPeak.timeZone)
  const within = from <= to ? at >= from && at < to : at >= from || at < to
  if (within || from === to) return { priority: 5 }
  // Where the clocks change before then, the hour is that of tomorrow's clock.
  let runAt = new Date(Math.floor(now.getTime() / minute) * minute + ((from - at + dayMinutes) % dayMinutes) * minute)
  const shown = minutesAt(runAt, offPeak.timeZone)
  if (shown !== from) runAt = new Date(runAt.getTime() + (from - shown) * minute)
  return { priority: 5, runAt }
}

function minutesOf(clock: string): number {
  const [hours, minutes] = clock.split(':').map(Number)
  return hours! * 60 + minutes!
}

function minutesAt(time: Date, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  return minutesOf(parts.format(time))
}
