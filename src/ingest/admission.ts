/** What one transfer may hold in memory at most, and counts for at most: senders wait while more of theirs is not written. */
const windowBytes = 8 * 1024 * 1024

/** What is on its way in at one moment is limited, and one source that sends all it can leaves room for others. */
export class Admission {
  private readonly inFlight = new Map<string, number>()
  private total = 0

  /** @param most bytes on their way at one moment */
  constructor(private readonly most: number) {}

  /** Bytes on their way. */
  get bytes(): number {
    return this.total
  }

  /**
   * @param source who sends; all that are not known are one
   * @param length bytes of the transfer; absent: not known
   * @returns what is to be called when the transfer has ended; undefined: it may not begin now
   */
  enter(source: string | undefined, length = windowBytes): (() => void) | undefined {
    const name = source ?? ''
    const bytes = Math.min(Math.max(length, 1), windowBytes)
    const own = this.inFlight.get(name) ?? 0
    // The first of all, and the first of a source while others leave it room, is let in whatever its length.
    if (this.total > 0 && this.total + bytes > this.most) return undefined
    const others = this.inFlight.size - (own > 0 ? 1 : 0)
    // Half of the room is for who comes first; in the other half nobody has more than their share.
    if (others > 0 && own > 0 && this.total + bytes > this.most / 2 && own + bytes > this.most / (others + 1))
      return undefined
    this.inFlight.set(name, own + bytes)
    this.total += bytes
    let left = false
    return () => {
      if (left) return
      left = true
      this.total -= bytes
      const rest = this.inFlight.get(name)! - bytes
      if (rest > 0) this.inFlight.set(name, rest)
      else this.inFlight.delete(name)
    }
  }
}
