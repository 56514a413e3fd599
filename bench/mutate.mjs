/** Mulberry32: `random(n)` gives 0 to n − 1, the same for the same seed. */
export function randomness(seed) {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** One to four wounds: bits turned, bytes set, a piece cut out, doubled or moved, the end cut off, a length field overwritten. */
export function mutate(original, random) {
  let bytes = Buffer.from(original)
  for (let wounds = 1 + random(3); wounds > 0 && bytes.length > 200; wounds--) {
    const at = random(10) < 5 ? 132 + random(Math.min(2000, bytes.length - 140)) : random(bytes.length - 8)
    switch (random(8)) {
      case 0:
        bytes[at] ^= 1 << random(8)
        break
      case 1:
        bytes[at] = random(256)
        break
      case 2:
        bytes = bytes.subarray(0, Math.max(140, at))
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(64))])
        break
      case 4: {
        const piece = bytes.subarray(at, at + 1 + random(64))
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
        break
      }
      case 5:
        bytes.writeUInt32LE([0xffffffff, 0xfffffffe, 0x7fffffff, 0, 1, random(0x10000)][random(6)], at)
        break
      case 6:
        bytes.writeUInt16LE([0xffff, 0, 1, 0x8000, random(0x10000)][random(5)], at)
        break
      default: {
        // Two lengths change places.
        const other = 132 + random(bytes.length - 140)
        const length = bytes.readUInt16LE(at)
        bytes.writeUInt16LE(bytes.readUInt16LE(other), at)
        bytes.writeUInt16LE(length, other)
      }
    }
  }
  return bytes
}
