import { crc32 } from '@node-rs/crc32'
import type { BlobKey, BlobStore } from './blobStore.js'

/** What was stored of an instance, by the index. */
export interface StoredBytes {
  sopInstanceUid: string
  blobKey: BlobKey
  byteLength: number
  /** Of all bytes. */
  crc32: number
}

/** A stored file is not as it was when it was stored: it has to come back from a backup, or from its sender. */
export class DamagedBlob extends Error {
  readonly code = 'DAMAGED'

  constructor({ sopInstanceUid }: StoredBytes) {
    super(
      `the stored file of instance ${sopInstanceUid} is damaged: bring it back from a backup, or have its study sent again (radbridge fsck)`,
    )
  }
}

/**
 * All bytes of an instance as they are read. The last of them are held back until the checksum is known to be right, so that a reader who got all got what was stored.
 * @throws DamagedBlob
 */
export async function* readWhole(blobs: BlobStore, stored: StoredBytes): AsyncGenerator<Buffer> {
  let checksum = 0
  let length = 0
  let held: Buffer | undefined
  try {
    for await (const chunk of await blobs.read(stored.blobKey)) {
      if (held) yield held
      held = chunk as Buffer
      checksum = crc32(held, checksum)
      length += held.length
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new DamagedBlob(stored)
    throw error
  }
  if (length !== stored.byteLength || checksum !== stored.crc32) throw new DamagedBlob(stored)
  if (held) yield held
}

const filesAtOnce = 4

/** Reads instances from end to end. @throws DamagedBlob for the first that is not as it was stored */
export async function requireAllWhole(blobs: BlobStore, instances: readonly StoredBytes[]): Promise<void> {
  let next = 0
  const check = async () => {
    while (next < instances.length) for await (const _ of readWhole(blobs, instances[next++]!));
  }
  await Promise.all(Array.from({ length: filesAtOnce }, check))
}
