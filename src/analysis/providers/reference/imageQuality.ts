/** Technical measurements of a projection radiograph, of its MONOCHROME2 samples. */
export interface ImageQuality {
  /** Percent of pixels at the smallest or the greatest storable value. */
  clippedFraction: number
  /** Percent of the stored range between the 5th and the 95th percentile. */
  exposureSpread: number
  /** True if the frame of the picture is brighter than its centre: direct exposure shown white, as if the picture were inverted. */
  looksInverted: boolean
}

export function measureImageQuality(
  samples: ArrayLike<number>,
  { rows, columns, bitsStored, signed }: { rows: number; columns: number; bitsStored: number; signed: boolean },
): ImageQuality {
  const lowest = signed ? -(2 ** (bitsStored - 1)) : 0
  const range = 2 ** bitsStored
  const histogram = new Uint32Array(range)
  for (let i = 0; i < rows * columns; i++) histogram[Math.max(0, Math.min(range - 1, samples[i]! - lowest))]!++
  const pixels = rows * columns
  const percentile = (share: number) => {
    let seen = 0
    for (let value = 0; value < range; value++) {
      seen += histogram[value]!
      if (seen >= share * pixels) return value
    }
    return range - 1
  }
  const border = Math.max(1, Math.round(Math.min(rows, columns) * 0.05))
  let [edgeSum, edgeCount, centerSum, centerCount] = [0, 0, 0, 0]
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const value = samples[y * columns + x]!
      if (y < border || y >= rows - border || x < border || x >= columns - border) {
        edgeSum += value
        edgeCount++
      } else if (y > rows * 0.25 && y < rows * 0.75 && x > columns * 0.25 && x < columns * 0.75) {
        centerSum += value
        centerCount++
      }
    }
  }
  return {
    clippedFraction: (100 * (histogram[0]! + histogram[range - 1]!)) / pixels,
    exposureSpread: (100 * (percentile(0.95) - percentile(0.05))) / (range - 1),
    looksInverted: centerCount > 0 && edgeSum / edgeCount > centerSum / centerCount,
  }
}
