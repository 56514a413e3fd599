import { z } from 'zod'

/** A time of day, `20:00`. */
export const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time of day, 20:00')

export const localTimeZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone

export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/** Hours of each day by the clock of a place; over midnight if they end before they begin. */
export interface Hours {
  from: string
  to: string
  timeZone: string
}

const minute = 60_000
const dayMinutes = 24 * 60

export function isWithin({ from, to, timeZone }: Hours, now: Date): boolean {
  const [begin, end, at] = [minutesOf(from), minutesOf(to), minutesAt(now, timeZone)]
  return begin <= end ? at >= begin && at < end : at >= begin || at < end
}

/** When it is a time of day the next time, by the clock of a place. */
export function nextTime(clock: string, timeZone: string, now: Date): Date {
  const [wanted, at] = [minutesOf(clock), minutesAt(now, timeZone)]
  const ahead = ((wanted - at + dayMinutes) % dayMinutes) * minute
  const time = new Date(Math.floor(now.getTime() / minute) * minute + ahead)
  // Where the clocks change before then, the hour is that of the changed clock.
  const shown = minutesAt(time, timeZone)
  return shown === wanted ? time : new Date(time.getTime() + (wanted - shown) * minute)
}

function minutesOf(clock: string): number {
  const [hours, minutes] = clock.split(':').map(Number)
  return hours! * 60 + minutes!
}

function minutesAt(time: Date, timeZone: string): number {
  const format = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  return minutesOf(format.format(time))
}
