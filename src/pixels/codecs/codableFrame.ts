import { PixelProblem } from '../imageDescription.js'

/** Samples that can be compressed without loss. */
export interface CodableFrame {
  rows: number
  columns: number
  samplesPerPixel: 1 | 3
  bitsAllocated: 8 | 16
  /** Bits that hold all of the samples, at most those allocated. */
  precision: number
  signed: boolean
  /** Little endian, colour by pixel. */
  bytes: Uint8Array
}

/** Colour goes through a reversible transformation that is defined for RGB. */
const wavelets = /\.4\.(90|201)$/

interface DecodedSamples extends Omit<CodableFrame, 'bytes' | 'precision' | 'bitsAllocated'> {
  bitsAllocated: number
  bitsStored: number
  photometric: string
  samples: ArrayBufferView & ArrayLike<number>
}

/** @throws PixelProblem if the transfer syntax is not written for such samples */
export function codable(frame: DecodedSamples, transferSyntaxUid: string, oneBit: boolean): CodableFrame {
  const { rows, columns, samplesPerPixel, bitsAllocated, signed, samples, photometric } = frame
  if (oneBit || (bitsAllocated !== 8 && bitsAllocated !== 16))
    throw new PixelProblem(`samples of ${oneBit ? 1 : bitsAllocated} bits are not compressed`)
  if (samplesPerPixel === 3 && photometric !== 'RGB' && wavelets.test(transferSyntaxUid))
    throw new PixelProblem(`${photometric} is not compressed in this transfer syntax`)
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)
  return { rows, columns, samplesPerPixel, bitsAllocated, precision: precisionOf(frame), signed, bytes }
}

/** Bits Stored, unless there is something above them: it would be lost. */
function precisionOf({ samples, bitsStored, bitsAllocated, signed }: DecodedSamples): number {
  if (bitsStored === bitsAllocated) return bitsStored
  const [least, most] = signed ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1] : [0, 2 ** bitsStored - 1]
  for (let i = 0; i < samples.length; i++) if (samples[i]! < least || samples[i]! > most) return bitsAllocated
  return bitsStored
}
