import { parseArgs } from 'node:util'
import { request } from 'undici'
import { resolveSecret, secretReference } from '../platform/secret.js'
import { progressBar } from './progress.js'
import { UsageError } from './usageError.js'

const usage =
  'follow STUDY-UID [--at URL] [--token env:NAME|file:PATH]   URL of Radbridge, http://127.0.0.1:8080 if not given'

/** Prints what happens to a study until it has reached its end; exit code 1 if that is a failure. */
export async function follow(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { at: { type: 'string', default: 'http://127.0.0.1:8080' }, token: { type: 'string' } },
  })
  const [study] = positionals
  if (!study || positionals.length > 1) throw new UsageError(usage)
  if (values.token && !secretReference.test(values.token))
    throw new UsageError(`--token: expected env:NAME or file:PATH. ${usage}`)
  const { statusCode, body } = await request(`${values.at.replace(/\/$/, '')}/api/studies/${study}/events`, {
    headers: values.token ? { Authorization: `Bearer ${resolveSecret(values.token)}` } : {},
    bodyTimeout: 0,
  })
  if (statusCode !== 200) {
    const { detail } = (await body.json()) as { detail?: string }
    console.error(`radbridge: ${detail ?? `answered ${statusCode}`}`)
    return 1
  }
  let failed = false
  let bar: ReturnType<typeof progressBar> | undefined
  let [shown, total] = [0, 0]
  for await (const { event, data } of serverSentEvents(body)) {
    if (event === 'progress') {
      const { done, of, findings } = data as { done: number; of: number; findings: number }
      if (of !== total) {
        bar?.stop()
        bar = progressBar('images', of)
        shown = 0
        total = of
      }
      bar?.advance(done - shown)
      shown = done
      if (!process.stderr.isTTY) console.log(`${done} of ${of} images, ${findings} findings`)
      continue
    }
    const { kind, detail, at } = data as { kind: string; detail: Record<string, unknown>; at: string }
    failed = kind === 'failed'
    bar?.stop()
    bar = undefined
    total = 0
    const words = Object.entries(detail)
      .filter(([, value]) => !Array.isArray(value) || value.length > 0)
      .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join('; ') : value}`)
    console.log([at.slice(11, 19), kind, ...words].join('  '))
  }
  bar?.stop()
  return failed ? 1 : 0
}

/** The events of a `text/event-stream` body, with their data as JSON. */
export async function* serverSentEvents(body: AsyncIterable<Buffer>): AsyncGenerator<{ event: string; data: unknown }> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true })
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const field = (name: string) => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2)
      yield { event: field('event') ?? 'message', data: JSON.parse(field('data') ?? 'null') }
    }
  }
}
