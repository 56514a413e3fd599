import { setImmediate as nextTurn } from 'node:timers/promises'
import { deflateSync, inflateSync } from 'node:zlib'
import type { DicomJson } from '../dicom/dicomJson.js'
import { toJsonb } from '../platform/jsonText.js'

// PostgreSQL took longer to parse a header into jsonb and to compress it than all the rest of receiving an instance takes, and nothing asks for it by its parts
// (docs/decisions/0013-packed-headers.md).

/** The first byte of a zlib stream (RFC 1950); JSON begins with another one. */
const zlibMark = 0x78
/** Headers that are unpacked before others have their turn: some milliseconds. */
const atOnce = 32

/** The column `header` of an instance: DICOM JSON, deflated. Characters that PostgreSQL cannot hold in text are replaced, as everywhere. */
export function packHeader(header: DicomJson): Buffer {
  return deflateSync(toJsonb(header), { level: 1 })
}

/** @returns the text of the DICOM JSON */
export function headerText(packed: Buffer): string {
  return (packed[0] === zlibMark ? inflateSync(packed) : packed).toString()
}

export function unpackHeader(packed: Buffer): DicomJson {
  return JSON.parse(headerText(packed)) as DicomJson
}

/** Rows with their headers unpacked, however many there are. */
export async function withHeaders<T extends { header: Buffer }>(
  rows: readonly T[],
): Promise<(Omit<T, 'header'> & { header: DicomJson })[]> {
  const unpacked: (Omit<T, 'header'> & { header: DicomJson })[] = []
  for (const row of rows) {
    unpacked.push({ ...row, header: unpackHeader(row.header) })
    if (unpacked.length % atOnce === 0) await nextTurn()
  }
  return unpacked
}
