import type { DataSet } from 'dicom-parser'
import { vrOf } from './dictionary.js'
import { parseDataSet, readPart10Header } from './part10.js'
import type { ReadableFile } from './readHeaderOf.js'
import { swapWords } from './toDicomJson.js'

const firstAttempt = 256 * 1024

/**
 * The value of a binary attribute other than Pixel Data, in Little Endian.
 * @param path as in the Bulk Data URI of `toDicomJson`: `00420011`, or within sequences `54000100/0/54001010`
 * @returns undefined if there is none
 */
export async function readBulkData(file: ReadableFile, path: string): Promise<Buffer | undefined> {
  const { size } = await file.stat()
  for (let length = firstAttempt; ; length *= 4) {
    const bytes = Buffer.alloc(Math.min(length, size))
    await file.read(bytes, 0, bytes.length, 0)
    const whole = bytes.length === size
    const outcome = readPart10Header(bytes, whole, true)
    if (outcome.outcome === 'incomplete') continue
    if (outcome.outcome === 'refused') return undefined
    const { transferSyntax, dataSetOffset } = outcome.header
    const parsed = parseDataSet(bytes, dataSetOffset, transferSyntax, whole, { anyVr: true })
    return 'dataSet' in parsed
      ? valueAt(parsed.dataSet, path.split('/'), transferSyntax.encoding === 'explicit-big')
      : undefined
  }
}

function valueAt(dataSet: DataSet, [tag = '', item, ...rest]: string[], bigEndian: boolean): Buffer | undefined {
  const element = dataSet.elements[`x${tag.toLowerCase()}`]
  if (!element) return undefined
  if (item !== undefined) {
    const inner = element.items?.[Number(item)]?.dataSet
    return inner && valueAt(inner, rest, bigEndian)
  }
  if (element.items) return undefined
  const value = Buffer.from(dataSet.byteArray.subarray(element.dataOffset, element.dataOffset + element.length))
  if (bigEndian) swapWords(value, element.vr ?? vrOf(tag) ?? 'UN')
  return value
}
