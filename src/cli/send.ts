import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type DeliveryOutcome, delayBeforeRetry, type ObjectToDeliver, StowClient } from '../delivery/index.js'
import { secretReference } from '../platform/secret.js'
import { listFiles, readObject } from './files.js'
import { type Progress, progressBar } from './progress.js'
import { UsageError } from './usageError.js'

const usage =
  'send FILE… --to URL [--token env:NAME|file:PATH]   URL ends before /studies, for example http://127.0.0.1:8080/dicom-web'

/** Sends files and folders; exit code 1 if an instance was not stored, or a file is no DICOM. */
export async function send(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { to: { type: 'string' }, token: { type: 'string' } },
  })
  if (!values.to || positionals.length === 0) throw new UsageError(usage)
  if (!/^https?:\/\//.test(values.to)) throw new UsageError(`--to: expected an http address. ${usage}`)
  if (values.token && !secretReference.test(values.token))
    throw new UsageError(`--token: expected env:NAME or file:PATH. ${usage}`)
  const files = await listFiles(positionals)
  const bar = progressBar('sending', files.length)
  const summary = await sendFiles(files, values.to, values.token, bar)
  bar.stop()
  for (const { path, problem } of summary.problems) console.error(`${path}: ${problem}`)
  console.log(`${summary.stored} stored, ${summary.problems.length} not stored`)
  return summary.problems.length > 0 ? 1 : 0
}

export interface SendSummary {
  stored: number
  problems: { path: string; problem: string }[]
  studies: Set<string>
}

const maxRequestFiles = 100
const maxRequestBytes = 128 * 1024 * 1024
const maxTries = 4

/** Sends files with as few requests as their size allows, and again what may succeed later. */
export async function sendFiles(
  files: readonly string[],
  url: string,
  token: string | undefined,
  bar: Progress,
): Promise<SendSummary> {
  const client = new StowClient({ url, timeoutSeconds: 300, http2: false, confirm: false, ...(token ? { token } : {}) })
  const summary: SendSummary = { stored: 0, problems: [], studies: new Set() }
  try {
    let batch: ObjectToDeliver[] = []
    let bytes = 0
    const flush = async () => {
      if (batch.length > 0) await sendBatch(client, batch, summary)
      bar.advance(batch.length)
      batch = []
      bytes = 0
    }
    for (const path of files) {
      const object = await readObject(path)
      if ('problem' in object) {
        summary.problems.push(object)
        bar.advance(1)
        continue
      }
      // An answer tells instances apart by their UIDs: two files of one go into two requests.
      const isTwin = batch.some(({ sopInstanceUid }) => sopInstanceUid === object.sopInstanceUid)
      if (batch.length === maxRequestFiles || bytes + object.byteLength > maxRequestBytes || isTwin) await flush()
      batch.push(object)
      bytes += object.byteLength
    }
    await flush()
    return summary
  } finally {
    await client.close()
  }
}

async function sendBatch(client: StowClient, batch: readonly ObjectToDeliver[], summary: SendSummary): Promise<void> {
  let waiting = [...batch]
  for (let attempt = 1; waiting.length > 0; attempt++) {
    const outcomes: DeliveryOutcome[] = await client.send(waiting)
    const again: ObjectToDeliver[] = []
    let wait = 0
    for (const [i, object] of waiting.entries()) {
      const outcome = outcomes[i]!
      if (outcome.outcome === 'delivered') {
        summary.stored++
        summary.studies.add(object.studyInstanceUid)
      } else if (outcome.outcome === 'failed' && attempt < maxTries) {
        again.push(object)
        wait = Math.max(wait, delayBeforeRetry(attempt, outcome.retryAfterSeconds))
      } else summary.problems.push({ path: object.path, problem: outcome.detail })
    }
    waiting = again
    if (waiting.length > 0) await sleep(wait * 1000)
  }
}
