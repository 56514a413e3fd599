// Receiving into a folder and into a bucket of OpenStack Swift on this machine, MB/s: node bench/storage.mjs [ROUNDS=3]
// 200 CT instances of 525 KB by 8 clients, one request each; both are stored durably before they are acknowledged. Floor: the same bytes put into the bucket by the SDK alone.

import { createHash } from 'node:crypto'
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { hasSwift, startSwift } from '../test/fixtures/swift.mjs'
import { startRadbridge } from './contenders.mjs'
import { makeInstances, pushEach, renew } from './load.mjs'

if (!hasSwift) {
  console.log(
    'OpenStack Swift is not installed (Debian: swift-proxy swift-account swift-container swift-object memcached)',
  )
  process.exit(1)
}
const rounds = Number(process.argv[2] ?? 3)
const clients = 8
const swift = await startSwift()
const { endpoint, credentials } = swift
const client = new S3Client({
  endpoint,
  credentials,
  region: 'us-east-1',
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
})
await client.send(new CreateBucketCommand({ Bucket: 'bench' }))
const folder = await startRadbridge()
const bucket = await startRadbridge({
  RADBRIDGE_STORAGE: 's3://bench/radbridge',
  RADBRIDGE_S3_ENDPOINT: endpoint,
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
})
const instances = makeInstances(200)
const megabytes = instances.reduce((sum, bytes) => sum + bytes.length, 0) / 1e6
let objects = 0
const contenders = {
  'a folder': () => pushEach(folder.stow, instances, clients),
  'a bucket': () => pushEach(bucket.stow, instances, clients),
  'floor: the SDK alone': async () => {
    const queue = [...instances]
    const began = performance.now()
    await Promise.all(
      Array.from({ length: clients }, async () => {
        while (queue.length > 0) {
          const Body = queue.shift()
          const ContentMD5 = createHash('md5').update(Body).digest('base64')
          await client.send(new PutObjectCommand({ Bucket: 'bench', Key: `floor/${objects++}`, Body, ContentMD5 }))
        }
      }),
    )
    return (performance.now() - began) / 1000
  },
}
const speeds = Object.fromEntries(Object.keys(contenders).map(name => [name, []]))
for (let round = 0; round <= rounds; round++)
  for (const [name, push] of Object.entries(contenders)) {
    renew(instances)
    const seconds = await push()
    if (round > 0) speeds[name].push(megabytes / seconds) // the first one warms up
  }
const median = list => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]
console.log('| | MB/s |\n| --- | --- |')
for (const [name, list] of Object.entries(speeds)) console.log(`| ${name} | ${median(list).toFixed(0)} |`)
await folder.stop()
await bucket.stop()
swift.stop()
process.exit()
