import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect } from '@jest/globals'
import { type Service, startService } from '../../src/main.js'
import { silentLog } from '../../src/platform/log.js'
import { loadSettings } from '../../src/platform/settings.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { testWhere } from '../fixtures/peers.js'
import { phantomFiles, smallPhantom } from '../fixtures/phantom.js'
import { followStudy, http, until } from '../fixtures/service.js'
import { hasSwift, type Swift, startSwift } from '../fixtures/swift.mjs'

const command = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-bucket-'))
const check = testWhere(hasSwift, 'OpenStack Swift is not installed')
let swift: Swift
let client: S3Client
let service: Service | undefined
let environment: Record<string, string>

beforeAll(async () => {
  if (!hasSwift) return
  swift = await startSwift()
  const { endpoint, credentials } = swift
  client = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: 'hospital' }))
  writeFileSync(join(scratch, 'key'), credentials.accessKeyId)
  writeFileSync(join(scratch, 'secret'), credentials.secretAccessKey)
  writeFileSync(
    join(scratch, 'radbridge.yaml'),
    `storage:
  url: s3://hospital/archive
  s3: { endpoint: '${endpoint}', accessKeyId: 'file:${join(scratch, 'key')}', secretAccessKey: 'file:${join(scratch, 'secret')}' }
`,
  )
  writeFileSync(join(scratch, 'endpoints.yaml'), 'routes: [{ name: all, analysis: { primary: reference } }]\n')
  environment = {
    RADBRIDGE_CONFIG: join(scratch, 'radbridge.yaml'),
    RADBRIDGE_DATA_DIR: join(scratch, 'data'),
    RADBRIDGE_ENDPOINTS: join(scratch, 'endpoints.yaml'),
    RADBRIDGE_HTTP_PORT: '0',
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_QUIET_SECONDS: '0.5',
    RADBRIDGE_MINIMUM_FREE_BYTES: '0',
  }
}, 180_000)
afterAll(async () => {
  await service?.stop()
  swift?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

const start = async () => (service = await startService(loadSettings(environment), silentLog))
const push = (url: string, files: Buffer[]) =>
  http('POST', `${url}/dicom-web/studies`, { 'Content-Type': multipartType }, multipart(files))

check(
  'a study lives in a bucket: received, analysed, reported, retrieved after a restart, checked by fsck',
  async () => {
    const { url } = await start()
    const files = await phantomFiles({ ...smallPhantom, study: 'bucket' })
    const answer = await push(url, files)
    expect(answer.status).toBe(200)
    const retrieveUrl: string = answer.json['00081190'].Value[0]
    const study = retrieveUrl.slice(retrieveUrl.lastIndexOf('/') + 1)
    expect(await followStudy(url, study)).toMatchObject({ state: 'completed' })
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'hospital', Prefix: 'archive/' }))
    const all = await http('GET', `${url}/dicom-web/studies/${study}/instances`)
    expect(Contents).toHaveLength(all.json.length)
    expect(all.json.length).toBeGreaterThan(files.length)

    await service!.stop()
    const again = await start()
    expect(readdirSync(join(scratch, 'data', 'cache'))).toEqual([])
    const { json } = await http('GET', `${again.url}/dicom-web/studies/${study}/instances?Modality=CT`)
    const one = json[0] as Record<string, { Value: string[] }>
    const path = `/dicom-web/studies/${study}/series/${one['0020000E']!.Value[0]}/instances/${one['00080018']!.Value[0]}`
    const retrieved = await fetch(`${again.url}${path}`, {
      headers: { Accept: 'application/dicom; transfer-syntax=*' },
    })
    const bytes = Buffer.from(await retrieved.arrayBuffer())
    expect(files.some(file => bytes.includes(file))).toBe(true)
    const rendered = await fetch(`${again.url}${path}/rendered`, { headers: { Accept: 'image/png' } })
    expect(rendered.status).toBe(200)
    await service!.stop()
    service = undefined
    const words = execFileSync(process.execPath, [command, 'fsck', '--checksums'], {
      env: { ...(process.env as Record<string, string>), ...environment, NODE_OPTIONS: '' },
      encoding: 'utf8',
    })
    expect(words).toContain(`${all.json.length} instances, 0 of them broken`)
  },
  180_000,
)

check(
  'while the object storage is away nothing is said to be stored, and nothing is left of it',
  async () => {
    const { url } = await start()
    swift.stop()
    const file = instance(freshUids())
    const refused = await push(url, [file])
    expect(refused.status).toBe(409)
    expect(refused.json['00081198'].Value[0]['00081197'].Value[0]).toBe(0xa700)
    await until('no file', async () =>
      readdirSync(join(scratch, 'data', 'cache'), { recursive: true }).some(name => String(name).endsWith('.dcm'))
        ? undefined
        : true,
    )
  },
  180_000,
)
