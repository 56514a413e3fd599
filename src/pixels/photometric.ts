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

/**
 * YBR_PARTIAL (interleaved) to RGB in place: luminance from 16 to 235, chrominance from 16 to 240 of 256 levels (ITU-R BT.601).
 * @see PS3.3 C.7.6.3.1.2 of 2017, before its retirement
 */
export function ybrPartialToRgb(samples: Samples, bitsStored: number): void {
  const scale = 2 ** (bitsStored - 8)
  const max = 2 ** bitsStored - 1
  const clamp = (value: number) => (value < 0 ? 0 : value > max ? max : Math.round(value))
  for (let i = 0; i + 2 < samples.length; i += 3) {
    const y = 1.164384 * (samples[i]! - 16 * scale)
    const cb = samples[i + 1]! - 128 * scale
    const cr = samples[i + 2]! - 128 * scale
    samples[i] = clamp(y + 1.596027 * cr)
    samples[i + 1] = clamp(y - 0.391762 * cb - 0.812968 * cr)
    samples[i + 2] = clamp(y + 2.017232 * cb)
  }
}

/** Native 4:2:2 (Y1 Y2 Cb Cr) to a full triple for each pixel, each chrominance value used for two. */
export function expand422<T extends Samples>(samples: T, pixels: number): T {
  if (samples.length < pixels * 2) throw new PixelProblem('Pixel Data is shorter than two samples a pixel')
  const out = new (samples.constructor as new (length: number) => T)(pixels * 3)
  for (let pixel = 0; pixel < pixels; pixel++) {
    const pair = (pixel >> 1) * 4
    out[pixel * 3] = samples[pair + (pixel & 1)]!
    out[pixel * 3 + 1] = samples[pair + 2]!
    out[pixel * 3 + 2] = samples[pair + 3]!
  }
  return out
}

/**
 * Keeps the stored bits of samples: shifts them down, clears what lies above (overlays), extends the sign. In place.
 * @param samples of integers; a signed array has its sign extended from `bitsStored`
 * @param shift position of the lowest stored bit
 */
export function keepStoredBits(samples: Samples, bitsStored: number, shift: number): void {
  const width = samples.BYTES_PER_ELEMENT * 8
  if (shift === 0 && bitsStored === width) return
  const up = 32 - bitsStored - shift
  const down = 32 - bitsStored
  const signed = samples instanceof Int16Array || samples instanceof Int8Array || samples instanceof Int32Array
  if (signed) for (let i = 0; i < samples.length; i++) samples[i] = (samples[i]! << up) >> down
  else for (let i = 0; i < samples.length; i++) samples[i] = (samples[i]! << up) >>> down
}
