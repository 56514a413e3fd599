import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { AdminApi, ApiRefusal, serviceOptions } from './adminApi.js'
import { UsageError } from './usageError.js'

const usage = 'audit verify | audit export [--format jsonl|dicom]   [--at URL] [--token env:NAME|file:PATH]'

/** The audit trail of a running service. Exit code 1 if an entry was changed, taken out or put in between. */
export async function audit(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...serviceOptions, format: { type: 'string', default: 'jsonl' } },
  })
  const api = new AdminApi(values)
  try {
    if (positionals[0] === 'export') {
      const { body } = await api.call('GET', `/audit/export?format=${encodeURIComponent(values.format)}`)
      await pipeline(body, process.stdout, { end: false })
      return 0
    }
    if (positionals[0] !== 'verify') throw new UsageError(usage)
    const proof = (await (await api.call('GET', '/audit/verify')).body.json()) as {
      entries: number
      intact: boolean
      brokenAt?: number
      head: string
    }
    if (proof.intact) console.log(`${proof.entries} entries, intact; keep this elsewhere: ${proof.head}`)
    else console.error(`entry ${proof.brokenAt} is not what was written, or does not follow the one before it`)
    return proof.intact ? 0 : 1
  } catch (error) {
    if (!(error instanceof ApiRefusal)) throw error
    console.error(error.message)
    return 1
  }
}
