import { parseArgs } from 'node:util'
import { request } from 'undici'
import { resolveSecret, secretReference } from '../platform/secret.js'
import { UsageError } from './usageError.js'

const usage =
  'providers [--days N | --month YYYY-MM] [--changed-at YYYY-MM-DD] [--json] [--at URL] [--token env:NAME|file:PATH]'

/** Prints the report of the providers as Markdown, or as JSON. */
export async function providers(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      days: { type: 'string' },
      month: { type: 'string' },
      'changed-at': { type: 'string' },
      json: { type: 'boolean', default: false },
      at: { type: 'string', default: 'http://127.0.0.1:8080' },
      token: { type: 'string' },
    },
  })
  if (values.token && !secretReference.test(values.token))
    throw new UsageError(`--token: expected env:NAME or file:PATH. ${usage}`)
  const query = new URLSearchParams({
    ...(values.days ? { days: values.days } : {}),
    ...(values.month ? { month: values.month } : {}),
    ...(values['changed-at'] ? { changedAt: values['changed-at'] } : {}),
    ...(values.json ? {} : { format: 'markdown' }),
  })
  const { statusCode, body } = await request(`${values.at.replace(/\/$/, '')}/api/providers/report?${query}`, {
    headers: values.token ? { Authorization: `Bearer ${resolveSecret(values.token)}` } : {},
  })
  if (statusCode === 200) {
    console.log((await body.text()).trimEnd())
    return 0
  }
  const { detail } = (await body.json()) as { detail?: string }
  console.error(`radbridge: ${detail ?? `answered ${statusCode}`}`)
  return 1
}
