import { expect, test } from '@jest/globals'
import { encodeJpeg } from '../../src/pixels/codecs/jpegEncoder.js'

/** Nothing compresses worse: independent samples of black and white, or of anything between. */
function worst(length: number, kind: 'flat' | 'noise' | 'extremes'): Uint8Array {
  let state = 42
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    const value = (state >> 16) & 0xff
    return kind === 'flat' ? 7 : kind === 'noise' ? value : value & 1 ? 255 : 0
  })
}

const sizes = [
  [1, 1],
  [8, 8],
  [16, 16],
  [3, 400],
  [95, 97],
  [130, 61],
  [256, 256],
] as const

test.each(
  sizes.flatMap(size =>
    ([1, 3] as const).flatMap(channels =>
      (['flat', 'noise', 'extremes'] as const).map(kind => [...size, channels, kind] as const),
    ),
  ),
)('%i × %i pixels of %i channels, %s: a whole JPEG at any quality', async (width, height, channels, kind) => {
  const data = worst(width * height * channels, kind)
  for (const quality of [1, 50, 90, 100]) {
    const jpeg = await encodeJpeg({ width, height, channels, data }, quality)
    expect([...jpeg.subarray(0, 2), ...jpeg.subarray(-2)]).toEqual([0xff, 0xd8, 0xff, 0xd9])
  }
})
