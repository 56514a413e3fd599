import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { deflate, deflateSync, inflate, inflateSync } from 'node:zlib'
import type { DicomJson } from '../dicom/dicomJson.js'
import { toJsonb } from '../platform/jsonText.js'

// PostgreSQL took longer to parse a header into jsonb and to compress it than all the rest of receiving an instance takes, and nothing asks for it by its parts
// (docs/decisions/0013-packed-headers.md).

/** The first byte of a zlib stream (RFC 1950); JSON begins with another one. */
const zlibMark = 0x78
const options = { level: 1 }
/** Headers that are unpacked before others have their turn: some milliseconds. */
const atOnce = 32
/** Characters, and bytes of such a one when packed, that are worth a trip to another thread: the header of an enhanced object may have megabytes. */
const [longText, longPacked] = [256 * 1024, 64 * 1024]
const [deflateElsewhere, inflateElsewhere] = [promisify(deflate), promisify(inflate)] as [
  (text: string, options: { level: number }) => Promise<Buffer>,
  (packed: Buffer) => Promise<Buffer>,
]

/** The column `header` of an instance: DICOM JSON, deflated. Characters that PostgreSQL cannot hold in text are replaced, as everywhere. */
export async function packHeader(header: DicomJson): Promise<Buffer> {
  const text = toJsonb(header)
  return text.length < longText ? deflateSync(text, options) : deflateElsewhere(text, options)
}

/** @returns the text of the DICOM JSON */
export async function headerText(packed: Buffer): Promise<string> {
  if (packed[0] !== zlibMark) return packed.toString()
  const text = packed.length < longPacked ? inflateSync(packed) : await inflateElsewhere(packed)
  return text.toString()
}

/** Rows with their headers unpacked, however many there are. */
export async function withHeaders<T extends { header: Buffer }>(
  rows: readonly T[],
): Promise<(Omit<T, 'header'> & { header: DicomJson })[]> {
  const unpacked: (Omit<T, 'header'> & { header: DicomJson })[] = []
  for (const row of rows) {
    unpacked.push({ ...row, header: JSON.parse(await headerText(row.header)) as DicomJson })
    if (unpacked.length % atOnce === 0) await nextTurn()
  }
  return unpacked
}
