import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'
import type { Difference } from '../platform/differences.js'
import { endpointsJsonSchema } from '../platform/endpoints.js'
import { readEndpointsFile } from '../platform/readEndpoints.js'
import { SettingsError } from '../platform/settings.js'
import { AdminApi, ApiRefusal, serviceOptions } from './adminApi.js'
import { UsageError } from './usageError.js'

export const usage = `config validate FILE                     checks a file of endpoints as the service does
       config schema                            its JSON Schema, for editors
       config apply -f FILE [--dry-run] [--test] [--yes] [-m COMMENT]   makes it the configuration of a running service
       config export [--version N]              the configuration of a running service, as YAML
       config history                           its versions
       config rollback N [-m COMMENT]           brings an earlier version back
       with --at URL (http://127.0.0.1:8080) and --token env:NAME|file:PATH`

/** Endpoints as code. Exit code 1 if a document cannot be used or the service refuses it, 2 called wrongly. */
export async function config(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...serviceOptions,
      file: { type: 'string', short: 'f' },
      'dry-run': { type: 'boolean', default: false },
      test: { type: 'boolean', default: false },
      yes: { type: 'boolean', short: 'y', default: false },
      comment: { type: 'string', short: 'm' },
      version: { type: 'string' },
    },
  })
  const [action, operand] = positionals
  try {
    switch (action) {
      case 'schema':
        console.log(JSON.stringify(endpointsJsonSchema(), null, 2))
        return 0
      case 'validate':
        if (!(values.file ?? operand)) throw new UsageError(usage)
        return validate((values.file ?? operand)!)
      case 'apply': {
        const file = values.file ?? operand
        if (!file) throw new UsageError(usage)
        return await apply(file, new AdminApi(values), {
          dryRun: values['dry-run'],
          test: values.test,
          yes: values.yes,
          comment: values.comment,
        })
      }
      case 'export': {
        const path = values.version ? `/configuration/versions/${values.version}` : '/configuration'
        const { body } = await new AdminApi(values).call('GET', `${path}?format=yaml`)
        process.stdout.write(await body.text())
        return 0
      }
      case 'history':
        return await history(new AdminApi(values))
      case 'rollback':
        if (!operand || !/^\d+$/.test(operand)) throw new UsageError(usage)
        return await rollback(Number(operand), new AdminApi(values), values.comment)
      default:
        throw new UsageError(usage)
    }
  } catch (error) {
    if (!(error instanceof SettingsError || error instanceof ApiRefusal)) throw error
    console.error(error.message)
    return 1
  }
}

function validate(file: string): number {
  const { sources, providers, destinations, routes } = readEndpointsFile(file).endpoints
  const counts = [
    [sources.length, 'source'],
    [providers.length, 'provider'],
    [destinations.length, 'destination'],
    [routes.length, 'route'],
  ] as const
  console.log(`${file} is valid: ${counts.map(([n, name]) => `${n} ${name}${n === 1 ? '' : 's'}`).join(', ')}`)
  return 0
}

interface Change {
  version: number
  changes: Difference[]
  tests?: { name: string; ok: boolean; steps: { step: string; ok: boolean; detail: string; fix?: string }[] }[]
}

async function apply(
  file: string,
  api: AdminApi,
  options: { dryRun: boolean; test: boolean; yes: boolean; comment?: string | undefined },
): Promise<number> {
  readEndpointsFile(file) // what is wrong is told with its line in this file
  const text = readFileSync(file, 'utf8')
  const put = async (query: Record<string, string>, headers: Record<string, string>) => {
    const { body } = await api.call('PUT', `/configuration?${new URLSearchParams(query)}`, {
      body: text,
      headers: { 'Content-Type': 'application/yaml', ...headers },
    })
    return (await body.json()) as Change
  }
  const { version, changes, tests = [] } = await put({ dryRun: 'true', test: String(options.test) }, {})
  if (changes.length === 0) {
    console.log(`nothing changes: version ${version} is the same`)
    return 0
  }
  for (const change of changes) console.log(lineOf(change))
  for (const { name, ok, steps } of tests) {
    const told = steps.find(step => !step.ok) ?? steps.at(-1)!
    console.log(`${ok ? '✓' : '✗'} ${name}: ${told.detail}${told.fix ? ` ${told.fix}` : ''}`)
  }
  const failed = tests.some(({ ok }) => !ok)
  if (options.dryRun) return failed ? 1 : 0
  if (!options.yes && process.stdin.isTTY) {
    const question = createInterface({ input: process.stdin, output: process.stdout })
    const answer = await question.question(`Apply to version ${version}? [y/N] `)
    question.close()
    if (!/^y(es)?$/i.test(answer.trim())) return 1
  }
  const comment: Record<string, string> = options.comment ? { comment: options.comment } : {}
  const applied = await put(comment, { 'If-Match': `"${version}"` })
  console.log(`version ${applied.version} is in force`)
  return 0
}

async function history(api: AdminApi): Promise<number> {
  const { body } = await api.call('GET', '/configuration/versions?limit=1000')
  const versions = (await body.json()) as { version: number; author: string; comment: string; createdAt: string }[]
  for (const { version, author, comment, createdAt } of versions)
    console.log(`${String(version).padStart(4)}  ${createdAt}  ${author}${comment ? `  ${comment}` : ''}`)
  if (versions.length === 0) console.log('nothing was configured yet: the defaults are in force')
  return 0
}

async function rollback(version: number, api: AdminApi, comment: string | undefined): Promise<number> {
  const current = (await (await api.call('GET', '/configuration')).body.json()) as { version: number }
  const { body } = await api.call('POST', '/configuration/rollback', {
    body: JSON.stringify({ version, ...(comment ? { comment } : {}) }),
    headers: { 'Content-Type': 'application/json', 'If-Match': `"${current.version}"` },
  })
  const applied = (await body.json()) as Change
  for (const change of applied.changes) console.log(lineOf(change))
  console.log(`version ${applied.version} is in force: version ${version} again`)
  return 0
}

function lineOf({ kind, path, from, to }: Difference): string {
  const text = (value: unknown) => JSON.stringify(value)
  if (kind === 'added') return `+ ${path}: ${text(to)}`
  if (kind === 'removed') return `- ${path}: ${text(from)}`
  return `~ ${path}: ${text(from)} → ${text(to)}`
}
