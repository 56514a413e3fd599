import { readFile, writeFile } from 'node:fs/promises'
import type { DataSet } from 'dicom-parser'
import { textsOf } from '../dicom/dicomJson.js'
import { parseDataSet } from '../dicom/part10.js'
import { fileMeta, type Replacement, rewriteDataSet } from '../dicom/rewrite.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { deriveUid, implementationClassUid } from '../dicom/uid.js'
import { decodeFrame, type NormalizedFrame } from './decodeFrame.js'
import { type FrameSource, maxInflated, openFrames } from './frames.js'
import { PixelProblem } from './imageDescription.js'
import { hasVoiLut, mirrorDisplayAttributes, text, word } from './mirrorDisplayAttributes.js'

export interface NormalizeOptions {
  /** Decode only: photometric interpretation, windows and UIDs stay. */
  keepPhotometric: boolean
}

export interface NormalizeReport {
  sopInstanceUid: string
  transferSyntaxUid: { from: string; to: string }
  photometric: { from: string; to: string }
  frames: number
  /** Every change made, in words. */
  changes: string[]
}

/**
 * Writes an object decoded, as Explicit VR Little Endian, MONOCHROME2 or RGB.
 * @throws PixelProblem if it holds no image, or one that cannot be decoded
 */
export async function normalizeFile(
  input: string,
  output: string,
  options: NormalizeOptions,
): Promise<NormalizeReport> {
  const source = await openFrames(input)
  try {
    const frames: NormalizedFrame[] = []
    for (let frame = 0; frame < source.image.frames; frame++)
      frames.push(await decodeFrame(source, frame, options.keepPhotometric))
    return await writeNormalized(input, output, source, frames)
  } finally {
    await source.close()
  }
}

async function writeNormalized(
  input: string,
  output: string,
  source: FrameSource,
  frames: NormalizedFrame[],
): Promise<NormalizeReport> {
  const { header, image } = source
  const first = frames[0]!
  const changes = [...new Set(frames.flatMap(frame => frame.changes))]
  const pixels = Buffer.concat(
    frames.map(({ samples }) => Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)),
  )
  const replacements = new Map<string, Replacement>([
    ['7FE00010', { vr: first.bitsAllocated === 16 ? 'OW' : 'OB', bytes: pixels }],
    ['7FE00001', undefined],
    ['7FE00002', undefined],
    ['7FE00003', undefined],
    ['00280004', text('CS', first.photometric)],
    ['00280006', first.samplesPerPixel === 3 ? word('US', 0) : undefined],
  ])
  if (first.bitsAllocated !== image.bitsAllocated || first.bitsStored !== image.bitsStored) {
    replacements.set('00280100', word('US', first.bitsAllocated))
    replacements.set('00280101', word('US', first.bitsStored))
    replacements.set('00280102', word('US', first.bitsStored - 1))
  } else if (
    !header.transferSyntax.encapsulated &&
    image.highBit !== image.bitsStored - 1 &&
    first.photometric !== image.photometric
  ) {
    replacements.set('00280102', word('US', image.bitsStored - 1))
  }
  if (header.transferSyntax.lossy && !header.json['00282110']) {
    replacements.set('00282110', text('CS', '01'))
    changes.push('Lossy Image Compression set to 01')
  }
  let sopInstanceUid = header.sopInstanceUid
  if (image.photometric === 'MONOCHROME1' && first.photometric === 'MONOCHROME2') {
    if (hasVoiLut(header.json))
      throw new PixelProblem('a MONOCHROME1 image with a VOI LUT table is not converted by this version')
    for (const [tag, value] of mirrorDisplayAttributes(header.json, first.bitsStored, first.signed))
      replacements.set(tag, value)
    // Other sample values make another object (PS3.3 C.7.6.1.1.2, C.12.1.1).
    sopInstanceUid = deriveUid('normalized', header.sopInstanceUid)
    replacements.set('00080018', text('UI', sopInstanceUid))
    replacements.set('00080008', text('CS', ['DERIVED', ...textsOf(header.json, '00080008').slice(1)].join('\\')))
    replacements.set('00082111', text('ST', 'MONOCHROME1 converted to MONOCHROME2'))
    changes.push('new SOP Instance UID')
  }
  const parsed = parseDataSet(await readFile(input), header.dataSetOffset, header.transferSyntax, true, maxInflated)
  if (!('dataSet' in parsed)) throw new PixelProblem('detail' in parsed ? parsed.detail : 'the file is cut')
  const { dataSet } = parsed
  if (hasEncapsulatedIcon(dataSet)) replacements.set('00880200', undefined)
  const body = rewriteDataSet(dataSet, header.transferSyntax.encoding === 'explicit-big', replacements)
  const meta = fileMeta({
    sopClassUid: header.sopClassUid,
    sopInstanceUid,
    transferSyntaxUid: explicitVrLittleEndian,
    implementationClassUid,
  })
  await writeFile(output, [meta, body])
  return {
    sopInstanceUid,
    transferSyntaxUid: { from: header.transferSyntax.uid, to: explicitVrLittleEndian },
    photometric: { from: image.photometric, to: first.photometric },
    frames: image.frames,
    changes,
  }
}

/** An icon (0088,0200) may be compressed like the image itself; it would not fit the new transfer syntax. */
function hasEncapsulatedIcon(dataSet: DataSet): boolean {
  return dataSet.elements.x00880200?.items?.[0]?.dataSet?.elements.x7fe00010?.encapsulatedPixelData ?? false
}
