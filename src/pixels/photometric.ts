import { PixelProblem, type Samples } from './imageDescription.js'

/**
 * Turns MONOCHROME1 samples into MONOCHROME2 by mirroring them within the stored range, in place.
 * @param samples one frame, row-major; values lie in the range of `bitsStored` and `signed`
 * @returns the same array
 * @see PS3.3 C.7.6.3.1.2; windows and padding must be mirrored with it: mirrorDisplayAttributes
 */
export function invertMonochrome<T extends Samples>(samples: T, bitsStored: number, signed: boolean): T {
  const sum = mirrorSum(bitsStored, signed)
  for (let i = 0; i < samples.length; i++) samples[i] = sum - samples[i]!
  return samples
}

/** Smallest plus greatest storable value: v' = sum − v. */
export function mirrorSum(bitsStored: number, signed: boolean): number {
  return signed ? -1 : 2 ** bitsStored - 1
}

/** Brings samples from colour-by-plane to colour-by-pixel order (Planar Configuration 1 to 0). */
export function interleavePlanes<T extends Samples>(samples: T, pixels: number): T {
  const out = samples.slice() as T
  for (let plane = 0; plane < 3; plane++) {
    for (let i = 0; i < pixels; i++) out[i * 3 + plane] = samples[plane * pixels + i]!
  }
  return out
}

/** YBR_FULL (interleaved) to RGB in place, by the equations of PS3.3 C.7.6.3.1.2 with their inverse rounded and clamped. */
export function ybrFullToRgb(samples: Samples, bitsStored: number): void {
  const half = 2 ** (bitsStored - 1)
  const max = 2 ** bitsStored - 1
  const clamp = (value: number) => (value < 0 ? 0 : value > max ? max : Math.round(value))
  for (let i = 0; i + 2 < samples.length; i += 3) {
    const y = samples[i]!
    const cb = samples[i + 1]! - half
    const cr = samples[i + 2]! - half
    samples[i] = clamp(y + 1.402 * cr)
    samples[i + 1] = clamp(y - 0.344136 * cb - 0.714136 * cr)
    samples[i + 2] = clamp(y + 1.772 * cb)
  }
}

/** Native YBR_FULL_422 (Y1 Y2 Cb Cr) to YBR_FULL, each chrominance value used for two pixels. */
export function expand422(samples: Uint8Array, pixels: number): Uint8Array {
  if (samples.length < pixels * 2) throw new PixelProblem('Pixel Data is shorter than YBR_FULL_422 needs')
  const out = new Uint8Array(pixels * 3)
  for (let pair = 0; pair * 2 < pixels; pair++) {
    const [y1, y2, cb, cr] = samples.subarray(pair * 4, pair * 4 + 4) as unknown as [number, number, number, number]
    out.set([y1, cb, cr], pair * 6)
    if (pair * 2 + 1 < pixels) out.set([y2, cb, cr], pair * 6 + 3)
  }
  return out
}

/**
 * Keeps the stored bits of native samples: shifts High Bit down, clears what lies above (overlays), extends the sign. In place.
 */
export function keepStoredBits(samples: Samples, bitsAllocated: number, bitsStored: number, highBit: number): void {
  const shift = highBit + 1 - bitsStored
  if (shift === 0 && bitsStored === bitsAllocated) return
  const mask = 2 ** bitsStored - 1
  const signed = samples instanceof Int16Array || samples instanceof Int8Array
  const unused = 32 - bitsStored
  for (let i = 0; i < samples.length; i++) {
    const value = (samples[i]! >> shift) & mask
    samples[i] = signed ? (value << unused) >> unused : value
  }
}
