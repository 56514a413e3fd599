import { isWithin, nextTime } from '../platform/clock.js'
import type { Endpoints, Route } from '../platform/endpoints.js'
import { urgentPriority } from './context.js'

/** Before which others a study is analysed, and from when on. */
export function whenToAnalyze(
  priority: Route['priority'],
  offPeak: Endpoints['offPeak'],
  now: Date,
): { priority: number; runAt?: Date } {
  if (priority === 'stat') return { priority: urgentPriority }
  if (priority === 'routine') return { priority: 0 }
  const waits = offPeak.from !== offPeak.to && !isWithin(offPeak, now)
  return { priority: 5, ...(waits ? { runAt: nextTime(offPeak.from, offPeak.timeZone, now) } : {}) }
}
