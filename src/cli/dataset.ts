import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { request } from 'undici'
import { parseMediaType } from '../dicomweb/mediaType.js'
import { MultipartSplitter } from '../dicomweb/multipartSplitter.js'
import { resolveSecret, secretReference } from '../platform/secret.js'
import { progressBar } from './progress.js'
import { UsageError } from './usageError.js'

const usage = 'dataset export -o FOLDER [--days 365] [--at URL] [--token env:NAME|file:PATH]'

/**
 * Writes the studies that have verdicts, de-identified, into `FOLDER/STUDY/N.dcm` with `labels.json` beside them. Exit code 1 if one of them could not be exported.
 */
export async function dataset(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      output: { type: 'string', short: 'o' },
      days: { type: 'string', default: '365' },
      at: { type: 'string', default: 'http://127.0.0.1:8080' },
      token: { type: 'string' },
    },
  })
  if (positionals[0] !== 'export' || positionals.length > 1 || !values.output) throw new UsageError(usage)
  if (values.token && !secretReference.test(values.token))
    throw new UsageError(`--token: expected env:NAME or file:PATH. ${usage}`)
  const api = `${values.at.replace(/\/$/, '')}/api/dataset`
  const headers: Record<string, string> = values.token ? { Authorization: `Bearer ${resolveSecret(values.token)}` } : {}
  const list = await request(`${api}?days=${encodeURIComponent(values.days)}`, { headers })
  if (list.statusCode !== 200) {
    console.error(`radbridge: ${await detailOf(list)}`)
    return 1
  }
  const studies = (await list.body.json()) as { studyInstanceUid: string }[]
  const bar = progressBar('exporting', studies.length)
  const problems: string[] = []
  let objects = 0
  for (const { studyInstanceUid } of studies) {
    const answer = await request(`${api}/${studyInstanceUid}`, { headers, bodyTimeout: 600_000 })
    if (answer.statusCode === 200)
      objects += await writeStudy(answer.body, String(answer.headers['content-type']), values.output)
    else problems.push(await detailOf(answer))
    bar.advance(1)
  }
  bar.stop()
  for (const problem of problems) console.error(`not exported: ${problem}`)
  console.log(`${studies.length - problems.length} studies with ${objects} images in ${values.output}`)
  return problems.length > 0 ? 1 : 0
}

async function detailOf({ statusCode, body }: Awaited<ReturnType<typeof request>>): Promise<string> {
  const { detail } = (await body.json().catch(() => ({}))) as { detail?: string }
  return detail ?? `answered ${statusCode}`
}

/** The folder gets its name when the study is complete. @returns number of images */
async function writeStudy(body: AsyncIterable<Buffer>, contentType: string, output: string): Promise<number> {
  const boundary = parseMediaType(contentType)?.parameters.boundary
  if (!boundary) throw new Error('the answer is no multipart')
  const folder = join(output, '.part')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const json: Buffer[] = []
  const closed: Promise<void>[] = []
  let images = 0
  let file: WriteStream | undefined
  const splitter = new MultipartSplitter(boundary, {
    partBegin(headers) {
      if (headers['content-type'] === 'application/dicom') file = createWriteStream(join(folder, `${++images}.dcm`))
    },
    partData(bytes) {
      if (!file) json.push(Buffer.from(bytes))
      else if (!file.write(Buffer.from(bytes))) return new Promise(resolve => file?.once('drain', resolve))
      return undefined
    },
    partEnd() {
      const ended = file
      file = undefined
      if (ended)
        closed.push(
          new Promise((resolve, reject) => {
            ended.once('error', reject)
            ended.end(resolve)
          }),
        )
    },
  })
  for await (const chunk of body) await splitter.write(chunk)
  splitter.end()
  await Promise.all(closed)
  const labels = Buffer.concat(json).toString('utf8')
  await writeFile(join(folder, 'labels.json'), labels)
  const target = join(output, (JSON.parse(labels) as { studyInstanceUid: string }).studyInstanceUid)
  await rm(target, { recursive: true, force: true })
  await rename(folder, target)
  return images
}
