import type { ReadStream } from 'node:fs'

/** A blob's name within the store. It is made by us from time and chance; nothing a sender says becomes a path. */
export type BlobKey = string & { readonly kind?: 'BlobKey' }

/**
 * A file being received. It bears its final name from the beginning; what makes it one of the archive is the index row that names it,
 * and none does before `keep` has resolved. A file without a row is an orphan: `sweepOrphans` removes it.
 */
export interface IncomingBlob {
  readonly key: BlobKey
  /** Appends a copy of the bytes. What goes wrong is told by `keep`. @returns a promise to wait for when the storage is behind */
  write(bytes: Buffer): Promise<void> | undefined
  /** Makes bytes and name durable. Until this has resolved nothing may refer to the key. @throws Error what the storage has refused; then it is to be discarded */
  keep(): Promise<BlobKey>
  discard(): Promise<void>
}

/** Where the bytes of instances are kept: a folder (directoryStore.ts), or a bucket of an object storage (s3Store.ts). */
export interface BlobStore {
  /** Makes an empty file. */
  receive(): IncomingBlob
  /**
   * A file of this machine with the bytes of the blob, to be read soon. It is not to be changed.
   * @throws Error with code ENOENT if there is no such blob
   */
  localPath(key: BlobKey): Promise<string>
  read(key: BlobKey): Promise<ReadStream>
  remove(key: BlobKey): Promise<void>
  /** @returns milliseconds since 1970; undefined if the blob is gone */
  modifiedAt(key: BlobKey): Promise<number | undefined>
  /** @returns undefined if the blob is gone */
  lengthOf(key: BlobKey): Promise<number | undefined>
  /** All blobs, some at a time, by folder (`folderOf`) from `from` (included) to `until` (not included). */
  list(from: string, until: string): AsyncIterable<BlobKey[]>
  /** On the disk that received bytes are written to first. */
  freeBytes(): Promise<number>
}

export function isBlobKey(text: string): text is BlobKey {
  return /^[0-9/]+\/[0-9a-f-]+\.dcm$/.test(text)
}

/** The folder of a minute: `2026/11/24/1045`. */
export function folderOf(moment: Date): string {
  const text = moment.toISOString()
  return [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10), text.slice(11, 13) + text.slice(14, 16)].join('/')
}
