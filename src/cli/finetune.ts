import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { relative } from 'node:path'
import { Readable } from 'node:stream'
import { parseArgs } from 'node:util'
import { request } from 'undici'
import type { ProviderSettings } from '../platform/providerSettings.js'
import { loadEndpoints } from '../platform/readEndpoints.js'
import { authorizationOf } from '../platform/secret.js'
import { loadSettings } from '../platform/settings.js'
import { listFiles } from './files.js'
import { serverSentEvents } from './follow.js'
import { UsageError } from './usageError.js'

const usage = `finetune create --provider NAME --dataset FOLDER [--config FILE]
       finetune list --provider NAME
       finetune events JOB --provider NAME`

/** Has a provider of kind imaging-rest train on an exported data set. Exit code 1 if it refuses, or the job fails. */
export async function finetune(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { provider: { type: 'string' }, dataset: { type: 'string' }, config: { type: 'string' } },
  })
  const [action, job] = positionals
  if (!values.provider || !['create', 'list', 'events'].includes(action ?? '')) throw new UsageError(usage)
  const { endpointsFile } = loadSettings(process.env, values.config)
  const provider = loadEndpoints(endpointsFile).providers.find(entry => entry.name === values.provider)
  if (provider?.kind !== 'imaging-rest')
    throw new UsageError(`--provider: no provider of kind imaging-rest is named ${values.provider}`)
  if (action === 'create') {
    if (!values.dataset) throw new UsageError(usage)
    return create(provider, values.dataset)
  }
  if (action === 'list') return list(provider)
  if (!job) throw new UsageError(usage)
  return events(provider, job)
}

type ImagingRest = Extract<ProviderSettings, { kind: 'imaging-rest' }>

const jobsOf = ({ baseUrl }: ImagingRest) => `${baseUrl}/fine-tuning/jobs`
const headersOf = ({ apiKey }: ImagingRest) => ({ Accept: 'application/json', ...authorizationOf({ token: apiKey }) })

async function create(provider: ImagingRest, folder: string): Promise<number> {
  const files = await listFiles([folder])
  const studies = files.filter(file => file.endsWith('labels.json')).length
  if (studies === 0) {
    console.error(`radbridge: ${folder} holds no labels.json: is it what dataset export has written?`)
    return 1
  }
  const boundary = randomUUID()
  const part = (name: string, type: string, fileName: string) =>
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${fileName}"\r\nContent-Type: ${type}\r\n\r\n`,
    )
  async function* body() {
    yield part('request', 'application/json', 'request.json')
    yield Buffer.from(JSON.stringify({ ...(provider.model ? { model: provider.model } : {}), studies }))
    for (const file of files) {
      if (!(await stat(file)).isFile()) continue
      yield Buffer.from('\r\n')
      yield part('files', file.endsWith('.dcm') ? 'application/dicom' : 'application/json', relative(folder, file))
      for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
    }
    yield Buffer.from(`\r\n--${boundary}--\r\n`)
  }
  const answer = await request(jobsOf(provider), {
    method: 'POST',
    headers: { ...headersOf(provider), 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body: Readable.from(body(), { objectMode: false }),
    headersTimeout: 600_000,
  })
  return told(answer, json => {
    const { id, status } = json as { id?: string; status?: string }
    console.log(`${id ?? 'no id'}  ${status ?? 'no status'}`)
  })
}

async function list(provider: ImagingRest): Promise<number> {
  return told(await request(jobsOf(provider), { headers: headersOf(provider) }), json => {
    for (const { id, status } of (json as { jobs?: { id: string; status: string }[] }).jobs ?? [])
      console.log(`${id}  ${status}`)
  })
}

async function told(
  { statusCode, body }: Awaited<ReturnType<typeof request>>,
  print: (json: unknown) => void,
): Promise<number> {
  const text = await body.text()
  if (statusCode < 200 || statusCode > 299) {
    console.error(`radbridge: the provider answered ${statusCode}`)
    return 1
  }
  print(JSON.parse(text))
  return 0
}

async function events(provider: ImagingRest, job: string): Promise<number> {
  const { statusCode, body } = await request(`${jobsOf(provider)}/${encodeURIComponent(job)}/events`, {
    headers: { ...headersOf(provider), Accept: 'text/event-stream' },
    bodyTimeout: 0,
  })
  if (statusCode !== 200) {
    await body.dump()
    console.error(`radbridge: the provider answered ${statusCode}`)
    return 1
  }
  let last = ''
  for await (const { data } of serverSentEvents(body)) {
    const { status = '', message = '' } = data as { status?: string; message?: string }
    last = status
    console.log([status, message].filter(Boolean).join('  '))
  }
  return last === 'failed' ? 1 : 0
}
