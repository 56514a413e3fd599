import { type FileHandle, open } from 'node:fs/promises'
import { crc32 } from '@node-rs/crc32'
import { textOf } from '../dicom/dicomJson.js'
import { PixelDataCheck } from '../dicom/pixelDataCheck.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { type Database, transaction } from '../platform/database.js'
import { blockBytes } from './alignedPieces.js'
import type { BlobKey, BlobStore } from './blobStore.js'
import { type InstanceToIndex, indexInstances } from './indexInstances.js'
import { addEvent, changeState } from './studies.js'
import { withoutInstance } from './sweepOrphans.js'

/** A row of the index whose file is not as it was stored. */
export interface BrokenRow {
  sopInstanceUid: string
  studyInstanceUid: string
  problem: 'the file is gone' | 'the file has another length' | 'the file has other bytes'
}

const rowsAtOnce = 1000
const filesAtOnce = 16

export interface RowsToCheck {
  /** All bytes are read and compared with the checksum of when they were stored. */
  checksums: boolean
  /** Only SOP Instance UIDs after this one. */
  after?: string
  /** Told after each thousand, with the last SOP Instance UID; empty at the end. @returns false: that is enough */
  onChecked?: (rows: number, reached: string) => Promise<boolean> | boolean
}

/** Looks for the file of each row. */
export async function* brokenRows(
  database: Database,
  blobs: BlobStore,
  { checksums, after = '', onChecked = () => true }: RowsToCheck,
): AsyncGenerator<BrokenRow> {
  for (let last = after; ; ) {
    const { rows } = await database.query<Row>(
      `select sop_instance_uid "sopInstanceUid", study_instance_uid "studyInstanceUid", blob_key "blobKey", byte_length "byteLength", crc32
         from instance where sop_instance_uid > $1 order by sop_instance_uid limit ${rowsAtOnce}`,
      [last],
    )
    for (let start = 0; start < rows.length; start += filesAtOnce) {
      const part = rows.slice(start, start + filesAtOnce)
      const problems = await Promise.all(part.map(row => problemOf(row, blobs, checksums)))
      for (const [i, problem] of problems.entries())
        if (problem)
          yield { sopInstanceUid: part[i]!.sopInstanceUid, studyInstanceUid: part[i]!.studyInstanceUid, problem }
    }
    last = rows.length < rowsAtOnce ? '' : rows.at(-1)!.sopInstanceUid
    if (!(await onChecked(rows.length, last)) || last === '') return
  }
}

interface Row {
  sopInstanceUid: string
  studyInstanceUid: string
  blobKey: BlobKey
  byteLength: number
  crc32: number
}

async function problemOf(row: Row, blobs: BlobStore, checksums: boolean): Promise<BrokenRow['problem'] | undefined> {
  const length = await blobs.lengthOf(row.blobKey)
  if (length === undefined) return 'the file is gone'
  if (length !== row.byteLength) return 'the file has another length'
  if (checksums && (await checksumOf(blobs, row.blobKey)) !== row.crc32) return 'the file has other bytes'
  return undefined
}

async function checksumOf(blobs: BlobStore, key: BlobKey): Promise<number> {
  let checksum = 0
  for await (const chunk of await blobs.read(key)) checksum = crc32(chunk as Buffer, checksum)
  return checksum
}

/** Files of the store that no row names, oldest first. @param before only of folders that are older */
export async function* unknownFiles(
  database: Database,
  blobs: BlobStore,
  before: string,
  onChecked: (files: number) => void = () => {},
): AsyncGenerator<BlobKey[]> {
  for await (const keys of blobs.list('', before)) {
    const unknown = keys.length > 0 ? await withoutInstance(database, keys) : []
    if (unknown.length > 0) yield unknown
    onChecked(keys.length)
  }
}

export interface Adopted {
  /** They are in the index now. */
  adopted: number
  /** They are no complete DICOM instances: nobody was ever told that they are stored. */
  unreadable: BlobKey[]
  /** Their SOP Instance UID is in the index with another file. */
  elsewhere: BlobKey[]
}

/**
 * Takes files that no row names into the index.
 * @param settled true, to rebuild a lost index: their studies count as completed, and nothing is analysed or delivered. False: they join their studies like late instances,
 * which settle anew when the service starts
 */
export async function adoptFiles(
  database: Database,
  blobs: BlobStore,
  keys: readonly BlobKey[],
  settled: boolean,
): Promise<Adopted> {
  const read: (InstanceToIndex | undefined)[] = []
  for (let start = 0; start < keys.length; start += filesAtOnce)
    read.push(...(await Promise.all(keys.slice(start, start + filesAtOnce).map(key => readInstance(blobs, key)))))
  const instances = read.filter(instance => instance !== undefined)
  const unreadable = keys.filter((_, i) => read[i] === undefined)
  if (instances.length === 0) return { adopted: 0, unreadable, elsewhere: [] }
  return transaction(database, async tx => {
    const outcomes = await indexInstances(tx, instances)
    const stored = instances.filter((_, i) => outcomes[i]!.outcome === 'stored')
    if (settled) {
      const studies = [...new Set(stored.map(({ studyInstanceUid }) => studyInstanceUid))]
      const { rows } = await tx.query<{ study: string; revision: number }>(
        `select s.study_instance_uid study, s.revision from study s join study_revision v using (study_instance_uid, revision)
          where s.study_instance_uid = any ($1) and v.state = 'receiving'`,
        [studies],
      )
      for (const { study, revision } of rows) {
        await addEvent(tx, study, revision, 'rebuilt from the store')
        await changeState(tx, study, revision, 'completed', { reason: 'rebuilt from the store; not analysed again' })
      }
    }
    const elsewhere = instances.filter((_, i) => outcomes[i]!.outcome !== 'stored').map(({ blobKey }) => blobKey)
    return { adopted: stored.length, unreadable, elsewhere }
  })
}

async function readInstance(blobs: BlobStore, key: BlobKey): Promise<InstanceToIndex | undefined> {
  const file = await open(await blobs.localPath(key), 'r')
  try {
    const { size, outcome } = await readHeaderOf(file)
    if (outcome.outcome !== 'header') return undefined
    const { header } = outcome
    const { sopInstanceUid, sopClassUid, studyInstanceUid, seriesInstanceUid } = header
    const pixels = new PixelDataCheck(header)
    let checksum = 0
    for await (const chunk of await blobs.read(key)) {
      checksum = crc32(chunk as Buffer, checksum)
      pixels.next(chunk as Buffer)
    }
    // Whoever sent it was not told that it is stored, and sends it again: in its way must be no half of it.
    if (pixels.end(size).outcome === 'cut' || (await isPadded(file, pixels.endsAt ?? size, size))) return undefined
    // What we have made says so; it is no part of what was received.
    const isResult =
      textOf(header.json, '00080070') === 'Radbridge' &&
      textOf(header.json, '00081090') === 'Radbridge' &&
      header.json['0018A001'] !== undefined
    return {
      sopInstanceUid,
      sopClassUid,
      studyInstanceUid,
      seriesInstanceUid,
      transferSyntaxUid: header.transferSyntax.uid,
      header: header.json,
      blobKey: key,
      byteLength: size,
      crc32: checksum,
      origin: isResult ? 'result' : 'received',
      ...(isResult ? { revision: 1 } : {}),
    }
  } finally {
    await file.close()
  }
}

/** The last block of a file is written with zeros behind it, which are cut off a moment later (incomingFile.ts). Others may have zeros at their end as well. */
async function isPadded(file: FileHandle, end: number, size: number): Promise<boolean> {
  const padding = size - end
  if (padding <= 0 || padding >= blockBytes || size % blockBytes !== 0) return false
  const { bytesRead, buffer } = await file.read(Buffer.alloc(padding), 0, padding, end)
  return buffer.subarray(0, bytesRead).every(byte => byte === 0)
}
