import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, describe, expect, test } from '@jest/globals'
import { type BlobKey, type BlobStore, DirectoryStore, S3Store } from '../../src/archive/index.js'
import { testWhere } from '../fixtures/peers.js'
import { hasSwift, type Swift, startSwift } from '../fixtures/swift.mjs'

/** What every store of blobs does, wherever it keeps them. */
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-blobs-'))
let swift: Swift | undefined
afterAll(() => {
  swift?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

const bucket = { name: 'radbridge', prefix: 'hospital/' }
let caches = 0
const openS3 = (directory = join(scratch, `cache-${++caches}`), cacheBytes = 0) =>
  S3Store.open({ bucket, directory, cacheBytes, region: 'us-east-1', pathStyle: true, ...swift! })
async function bucketStore(): Promise<BlobStore> {
  if (!swift) {
    swift = await startSwift()
    await clientOf(swift).send(new CreateBucketCommand({ Bucket: bucket.name }))
  }
  return openS3()
}
const clientOf = ({ endpoint, credentials }: Swift) =>
  new S3Client({
    endpoint,
    credentials,
    region: 'us-east-1',
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
  })

const stores: [string, typeof test, () => Promise<BlobStore>][] = [
  ['a folder', test, () => DirectoryStore.open(join(scratch, 'folder'))],
  ['a bucket of OpenStack Swift', testWhere(hasSwift, 'OpenStack Swift is not installed'), bucketStore],
]

async function keep(store: BlobStore, ...buffers: Buffer[]): Promise<BlobKey> {
  const blob = store.receive()
  for (const bytes of buffers) await blob.write(bytes)
  return blob.keep()
}
async function allKeys(store: BlobStore, from = '', until = '9'): Promise<string[]> {
  const keys: string[] = []
  for await (const some of store.list(from, until)) keys.push(...some)
  return keys
}
const contentOf = async (store: BlobStore, key: BlobKey) => readFileSync(await store.localPath(key))

describe.each(stores)('%s', (_name, check, open) => {
  check(
    'gives back what was kept, by path, by stream and into a buffer',
    async () => {
      const store = await open()
      const [a, b] = [randomBytes(300_000), randomBytes(17)]
      const key = await keep(store, a, b)
      const whole = Buffer.concat([a, b])
      expect((await contentOf(store, key)).equals(whole)).toBe(true)
      const parts: Buffer[] = []
      for await (const part of await store.read(key)) parts.push(part as Buffer)
      expect(Buffer.concat(parts).equals(whole)).toBe(true)
      expect(await store.lengthOf(key)).toBe(whole.length)
      expect(Math.abs((await store.modifiedAt(key))! - Date.now())).toBeLessThan(60_000)
    },
    180_000,
  )

  check('what is received can be discarded', async () => {
    const store = await open()
    const blob = store.receive()
    blob.write(Buffer.from('abc'))
    await blob.discard()
    expect(await store.lengthOf(blob.key)).toBeUndefined()
    expect(await allKeys(store)).not.toContain(blob.key)
  })

  check('lists what it has, by folder, and what was removed no more', async () => {
    const store = await open()
    const keys = [await keep(store, Buffer.from('one')), await keep(store, Buffer.from('two'))]
    const folder = keys[0]!.slice(0, keys[0]!.lastIndexOf('/'))
    expect(await allKeys(store)).toEqual(expect.arrayContaining(keys))
    expect(await allKeys(store, folder)).toContain(keys[0])
    expect(await allKeys(store, '', folder)).not.toContain(keys[0])
    await store.remove(keys[0]!)
    await store.remove(keys[0]!) // twice is no error
    expect(await allKeys(store)).not.toContain(keys[0])
    expect(await store.modifiedAt(keys[0]!)).toBeUndefined()
    await expect(store.localPath(keys[0]!).then(path => readFileSync(path))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  check(
    'a large object, in parts where the store has parts',
    async () => {
      const store = await open()
      const piece = randomBytes(1024 * 1024)
      const key = await keep(store, ...Array.from({ length: 35 }, () => piece), Buffer.from('end'))
      expect(await store.lengthOf(key)).toBe(35 * 1024 * 1024 + 3)
      const content = await contentOf(await open(), key) // by another node
      expect(content.length).toBe(35 * 1024 * 1024 + 3)
      expect(content.subarray(34 * piece.length, 35 * piece.length).equals(piece)).toBe(true)
      expect(content.subarray(-3).toString()).toBe('end')
    },
    180_000,
  )

  check('a key that is none of ours never becomes a path', async () => {
    const store = await open()
    await expect(store.localPath('../../etc/passwd')).rejects.toThrow('not a blob key')
    await expect(store.remove('2026/11/25/../../x.dcm' as BlobKey)).rejects.toThrow('not a blob key')
  })
})

describe('a bucket', () => {
  const check = testWhere(hasSwift, 'OpenStack Swift is not installed')

  check('other nodes read what one has kept, and many who want the same cause one download', async () => {
    const [a, b] = [await bucketStore(), await bucketStore()]
    const key = await keep(a, Buffer.from('of the first node'))
    const paths = await Promise.all(Array.from({ length: 20 }, () => b.localPath(key)))
    expect(new Set(paths).size).toBe(1)
    expect(readFileSync(paths[0]!, 'utf8')).toBe('of the first node')
  })

  check('the cache is empty after a restart, since a crash may have cut its files short', async () => {
    await bucketStore()
    const directory = join(scratch, 'cache-again')
    const key = await keep(await openS3(directory), Buffer.from('whole'))
    expect(existsSync(join(directory, key))).toBe(true)
    const again = await openS3(directory)
    expect(existsSync(join(directory, key))).toBe(false)
    expect(readFileSync(await again.localPath(key), 'utf8')).toBe('whole')
  })

  check(
    'what the storage does not take is not kept',
    async () => {
      const store = await bucketStore()
      const blob = store.receive()
      blob.write(Buffer.from('x'))
      swift!.pause()
      const kept = blob.keep()
      const outcome = await Promise.race([
        kept.then(() => 'kept'),
        new Promise(resolve => setTimeout(resolve, 1000, 'waits')),
      ])
      expect(outcome).toBe('waits')
      swift!.resume()
      expect(await kept).toBe(blob.key)
    },
    180_000,
  )

  check('what is not ours in the bucket is left alone; a bucket that is not there is told', async () => {
    const store = await bucketStore()
    const other = new PutObjectCommand({ Bucket: bucket.name, Key: 'hospital/2026/11/25/1200/readme.txt', Body: 'x' })
    await clientOf(swift!).send(other)
    expect(await allKeys(store)).not.toContain('2026/11/25/1200/readme.txt')
    const missing = { name: 'not-there', prefix: '' }
    const options = {
      bucket: missing,
      directory: join(scratch, 'none'),
      cacheBytes: 0,
      region: 'us-east-1',
      pathStyle: true,
    }
    await expect(S3Store.open({ ...options, ...swift! })).rejects.toThrow()
  })
})
