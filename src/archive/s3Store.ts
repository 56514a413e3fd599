import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream, fstat, type ReadStream, read } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type * as Sdk from '@aws-sdk/client-s3'
import { type BlobKey, type BlobStore, type IncomingBlob, isBlobKey } from './blobStore.js'
import { DirectoryStore } from './directoryStore.js'

const [statDescriptor, readInto] = [promisify(fstat), promisify(read)]

export interface S3Options {
  bucket: { name: string; prefix: string }
  /** Folder of the cache; what is in it is deleted. */
  directory: string
  /** What the cache may grow to; what was read a moment ago is kept over it. */
  cacheBytes: number
  region: string
  endpoint?: string | undefined
  pathStyle: boolean
  /** Without them, as the SDK finds them: environment, profile, role of the machine. */
  credentials?: { accessKeyId: string; secretAccessKey: string } | undefined
}

/** Objects above this length are sent in parts of it; S3 takes 10,000 of them. */
const partBytes = 16 * 1024 * 1024
const mostParts = 10_000
/** Parts of one object at the same time. */
const partsAtOnce = 3
/** A file that was named so short a time ago may not be opened yet. */
const graceMilliseconds = 10 * 60_000

/**
 * Blobs as objects of a bucket, under the same names as in a folder. What is received is written to a file of this machine, and kept when the object storage has
 * taken it, compared by MD5; files stay for a while as a cache for those who read. Nodes share the bucket, each has a cache of its own.
 */
export class S3Store implements BlobStore {
  /** Files of the cache, those used last at the end. */
  private readonly cached = new Map<BlobKey, { bytes: number; usedAt: number }>()
  private cachedBytes = 0
  private readonly downloads = new Map<BlobKey, Promise<void>>()

  private constructor(
    private readonly sdk: typeof Sdk,
    private readonly client: Sdk.S3Client,
    private readonly files: DirectoryStore,
    private readonly options: S3Options,
  ) {}

  /** @throws Error if the bucket cannot be used */
  static async open(options: S3Options): Promise<S3Store> {
    const { endpoint, region, pathStyle, credentials, bucket, directory } = options
    // Which Node.js a later version of the library will need is nothing for the log of this one.
    process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
    const sdk = await import('@aws-sdk/client-s3') // for those who use it: it takes a quarter of a second
    const client = new sdk.S3Client({
      region,
      forcePathStyle: pathStyle,
      ...(endpoint ? { endpoint } : {}),
      ...(credentials ? { credentials } : {}),
      // Object storages other than that of AWS do not know its newer checksums; MD5 is known by all.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: 5000,
        requestTimeout: 60_000,
        httpAgent: { maxSockets: 64 },
        httpsAgent: { maxSockets: 64 },
      },
    })
    await client.send(new sdk.HeadBucketCommand({ Bucket: bucket.name }))
    // A file that a crash has cut short looks like any other.
    await rm(directory, { recursive: true, force: true })
    return new S3Store(sdk, client, await DirectoryStore.open(directory), options)
  }

  receive(): IncomingBlob {
    const { key, file } = this.files.newFile(false) // its durability is that of the object storage
    return {
      key,
      write: bytes => file.write(bytes),
      keep: async () => {
        const descriptor = await file.complete()
        const { size } = await statDescriptor(descriptor)
        if (size <= partBytes) await this.put(key, descriptor, size)
        else await this.putInParts(key, descriptor, size)
        await file.close()
        this.remember(key, size)
        return key
      },
      discard: async () => {
        await file.close()
        await this.files.remove(key)
      },
    }
  }

  async localPath(key: BlobKey): Promise<string> {
    const path = this.files.pathOf(key)
    const known = this.cached.get(key)
    if (known) this.remember(key, known.bytes)
    else await this.download(key)
    return path
  }

  async read(key: BlobKey): Promise<ReadStream> {
    return createReadStream(await this.localPath(key), { highWaterMark: 256 * 1024 })
  }

  async remove(key: BlobKey): Promise<void> {
    await this.client.send(new this.sdk.DeleteObjectCommand(this.object(key)))
    await this.forget(key)
  }

  async modifiedAt(key: BlobKey): Promise<number | undefined> {
    return (await this.head(key))?.LastModified?.getTime()
  }

  async lengthOf(key: BlobKey): Promise<number | undefined> {
    return (await this.head(key))?.ContentLength
  }

  async *list(from: string, until: string): AsyncGenerator<BlobKey[]> {
    const { name, prefix } = this.options.bucket
    let after: string | undefined = prefix + from
    while (after !== undefined) {
      const page: Sdk.ListObjectsV2CommandOutput = await this.client.send(
        new this.sdk.ListObjectsV2Command({ Bucket: name, Prefix: prefix, StartAfter: after }),
      )
      const keys = (page.Contents ?? []).map(({ Key = '' }) => Key.slice(prefix.length))
      const wanted = keys.filter(isBlobKey).filter(key => key.slice(0, key.lastIndexOf('/')) < until)
      if (wanted.length > 0) yield wanted
      const last = keys.at(-1)
      after = page.IsTruncated && last !== undefined && last < until ? prefix + last : undefined
    }
  }

  freeBytes(): Promise<number> {
    return this.files.freeBytes()
  }

  close(): void {
    this.client.destroy()
  }

  private object(key: BlobKey): { Bucket: string; Key: string } {
    if (!isBlobKey(key)) throw new Error('not a blob key')
    const { name, prefix } = this.options.bucket
    return { Bucket: name, Key: prefix + key }
  }

  private async put(key: BlobKey, descriptor: number, size: number): Promise<void> {
    const body = await bytesOf(descriptor, 0, size)
    await this.client.send(
      new this.sdk.PutObjectCommand({ ...this.object(key), Body: body, ContentMD5: md5(body, 'base64') }),
    )
  }

  private async putInParts(key: BlobKey, descriptor: number, size: number): Promise<void> {
    const object = this.object(key)
    const { UploadId } = await this.client.send(new this.sdk.CreateMultipartUploadCommand(object))
    const length = Math.max(partBytes, Math.ceil(size / mostParts))
    const parts: Sdk.CompletedPart[] = []
    let next = 0
    const send = async () => {
      while (next * length < size) {
        const number = ++next
        const at = (number - 1) * length
        const body = await bytesOf(descriptor, at, Math.min(length, size - at))
        const part = { ...object, UploadId, PartNumber: number, Body: body, ContentMD5: md5(body, 'base64') }
        const { ETag } = await this.client.send(new this.sdk.UploadPartCommand(part))
        parts[number - 1] = { ETag, PartNumber: number }
      }
    }
    try {
      await Promise.all(Array.from({ length: partsAtOnce }, send))
      const upload = { ...object, UploadId, MultipartUpload: { Parts: parts } }
      await this.client.send(new this.sdk.CompleteMultipartUploadCommand(upload))
    } catch (error) {
      await this.client.send(new this.sdk.AbortMultipartUploadCommand({ ...object, UploadId })).catch(() => {})
      throw error
    }
  }

  /** Those who want the same object at the same time wait for one download. */
  private download(key: BlobKey): Promise<void> {
    const running = this.downloads.get(key)
    if (running) return running
    const download = this.fetch(key).finally(() => this.downloads.delete(key))
    this.downloads.set(key, download)
    return download
  }

  private async fetch(key: BlobKey): Promise<void> {
    const path = this.files.pathOf(key)
    const partial = join(this.files.directory, `${randomUUID()}.part`)
    try {
      const { Body, ContentLength, ETag } = await this.client
        .send(new this.sdk.GetObjectCommand(this.object(key)))
        .catch(missing)
      const hash = createHash('md5')
      let bytes = 0
      await pipeline(
        Body as Readable,
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            hash.update(chunk)
            bytes += chunk.length
            yield chunk
          }
        },
        createWriteStream(partial, { mode: 0o600 }),
      )
      if (ContentLength !== undefined && bytes !== ContentLength)
        throw new Error(`the object storage gave ${bytes} of ${ContentLength} bytes`)
      const digest = /^"?([0-9a-f]{32})"?$/.exec(ETag ?? '')?.[1] // of what was sent in parts, something else
      if (digest && hash.digest('hex') !== digest)
        throw new Error('the object storage gave other bytes than it has stored')
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await rename(partial, path)
      this.remember(key, bytes)
    } catch (error) {
      await rm(partial, { force: true })
      throw error
    }
  }

  private async head(key: BlobKey): Promise<Sdk.HeadObjectCommandOutput | undefined> {
    try {
      return await this.client.send(new this.sdk.HeadObjectCommand(this.object(key)))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  private remember(key: BlobKey, bytes: number): void {
    const known = this.cached.get(key)
    this.cached.delete(key)
    this.cached.set(key, { bytes, usedAt: performance.now() })
    this.cachedBytes += bytes - (known?.bytes ?? 0)
    if (this.cachedBytes <= this.options.cacheBytes) return
    for (const [oldest, { usedAt }] of this.cached) {
      if (this.cachedBytes <= this.options.cacheBytes || performance.now() - usedAt < graceMilliseconds) return
      void this.forget(oldest)
    }
  }

  private forget(key: BlobKey): Promise<void> {
    this.cachedBytes -= this.cached.get(key)?.bytes ?? 0
    this.cached.delete(key)
    return this.files.remove(key)
  }
}

async function bytesOf(descriptor: number, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; ) {
    const { bytesRead } = await readInto(descriptor, bytes, at, length - at, position + at)
    if (bytesRead === 0) throw new Error('a received file is shorter than it was')
    at += bytesRead
  }
  return bytes
}

const md5 = (bytes: Buffer, encoding: 'base64' | 'hex') => createHash('md5').update(bytes).digest(encoding)

function isMissing(error: unknown): boolean {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
  return name === 'NoSuchKey' || name === 'NotFound' || $metadata?.httpStatusCode === 404
}

/** An object that is not there is told as a file that is not there. */
function missing(error: unknown): never {
  if (isMissing(error)) throw Object.assign(new Error('there is no such object in the bucket'), { code: 'ENOENT' })
  throw error
}
