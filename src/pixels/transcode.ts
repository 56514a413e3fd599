import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type InstanceHeader, parseDataSet } from '../dicom/part10.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { fileMeta, implicitElementHeader, rewriteDataSet } from '../dicom/rewrite.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { implementationClassUid } from '../dicom/uid.js'
import { losslessEncoders } from './codecs/encoders.js'
import { PixelProblem } from './imageDescription.js'
import type { PixelPool } from './pool.js'
import { readExactly } from './readExactly.js'

/** An object as a Part 10 file in another transfer syntax, otherwise as it was. */
export interface TranscodedObject {
  path: string
  transferSyntaxUid: string
  byteLength: number
  /** Where its data set begins. */
  dataSetOffset: number
  /** Removes the file. */
  dispose(): Promise<void>
}

/** Can objects be brought into this transfer syntax: Explicit VR Little Endian, or one that compresses without loss? */
export function canTranscodeTo(transferSyntaxUid: string): boolean {
  return transferSyntaxUid === explicitVrLittleEndian || losslessEncoders.has(transferSyntaxUid)
}

/**
 * Brings a stored object into a transfer syntax for one who takes no other (PS3.18 8.7.3.5.2, PS3.5 10). A pixel thread does it, frame by frame.
 * @param transferSyntaxUid one of those of {@link canTranscodeTo}
 * @param scratch folder for the file
 * @throws PixelProblem if it cannot be decoded, or has no pixels that can be compressed
 */
export async function transcode(
  path: string,
  transferSyntaxUid: string,
  pixels: PixelPool,
  scratch: string,
): Promise<TranscodedObject> {
  const output = join(scratch, `${randomUUID()}.dcm`)
  const dispose = () => rm(output, { force: true })
  try {
    const header = await headerOf(path)
    const compress = transferSyntaxUid === explicitVrLittleEndian ? undefined : transferSyntaxUid
    if (header.pixelData) await pixels.file(path, output, { keepPhotometric: true, ...(compress ? { compress } : {}) })
    else if (compress) throw new PixelProblem('the object has no pixels to be compressed')
    else await rewriteWhole(path, header, output)
    const { dataSetOffset } = await headerOf(output)
    const file = await open(output, 'r')
    const { size } = await file.stat().finally(() => file.close())
    return { path: output, transferSyntaxUid, byteLength: size, dataSetOffset, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

/** What has no pixels is small. */
async function rewriteWhole(path: string, header: InstanceHeader, output: string): Promise<void> {
  const { transferSyntax, dataSetOffset, sopClassUid, sopInstanceUid } = header
  const parsed = parseDataSet(await readFile(path), dataSetOffset, transferSyntax, true)
  if (!('dataSet' in parsed)) throw new PixelProblem('the object cannot be read')
  const bigEndian = transferSyntax.encoding === 'explicit-big'
  const meta = fileMeta({
    sopClassUid,
    sopInstanceUid,
    transferSyntaxUid: explicitVrLittleEndian,
    implementationClassUid,
  })
  await writeFile(output, Buffer.concat([meta, rewriteDataSet(parsed.dataSet, bigEndian, new Map())]), { mode: 0o600 })
}

async function headerOf(path: string): Promise<InstanceHeader> {
  const file = await open(path, 'r')
  try {
    const { outcome } = await readHeaderOf(file, true)
    if (outcome.outcome === 'refused') throw new PixelProblem(outcome.detail)
    return outcome.header
  } finally {
    await file.close()
  }
}

const chunk = 256 * 1024
/** What may stand behind Pixel Data. */
const maxTrailing = 64 * 1024 * 1024

/** The data set of a Part 10 file in Explicit VR Little Endian, as Implicit VR Little Endian; values stay as they are, and pixels are not held. */
export async function* asImplicit(path: string): AsyncGenerator<Buffer> {
  const file = await open(path, 'r')
  try {
    const { size, outcome } = await readHeaderOf(file, true)
    if (outcome.outcome === 'refused') throw new PixelProblem(outcome.detail)
    const { dataSetOffset, transferSyntax, pixelData } = outcome.header
    const end = pixelData ? pixelData.offset : size
    const before = parseDataSet(await readExactly(file, 0, end), dataSetOffset, transferSyntax, !pixelData)
    if (!('dataSet' in before)) throw new PixelProblem('the object cannot be read')
    const without = new Map(pixelData ? [[pixelData.tag, undefined]] : [])
    yield rewriteDataSet(before.dataSet, false, without, { implicit: true })
    if (!pixelData) return
    yield implicitElementHeader(pixelData.tag, pixelData.length)
    const last = pixelData.offset + pixelData.length
    const value = createReadStream(path, { start: pixelData.offset, end: last - 1, highWaterMark: chunk })
    for await (const bytes of value) yield bytes as Buffer
    if (last >= size || size - last > maxTrailing) return
    const after = parseDataSet(await readExactly(file, last, size - last), 0, transferSyntax, true)
    if ('dataSet' in after) yield rewriteDataSet(after.dataSet, false, new Map(), { implicit: true })
  } finally {
    await file.close()
  }
}
