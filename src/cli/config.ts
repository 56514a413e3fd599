import { parseArgs } from 'node:util'
import { endpointsJsonSchema, loadEndpoints } from '../platform/endpoints.js'
import { SettingsError } from '../platform/settings.js'
import { UsageError } from './usageError.js'

/** `config validate FILE`: endpoints as they are read at start, without starting; `config schema`: their JSON Schema, for editors. */
export async function config(args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true })
  const [action, file] = positionals
  if (action === 'schema') {
    console.log(JSON.stringify(endpointsJsonSchema(), null, 2))
    return 0
  }
  if (action !== 'validate' || !file) throw new UsageError('expected: config validate FILE, or config schema')
  try {
    const { sources, providers, destinations, routes } = loadEndpoints(file)
    const counts = [
      [sources.length, 'source'],
      [providers.length, 'provider'],
      [destinations.length, 'destination'],
      [routes.length, 'route'],
    ] as const
    console.log(`${file} is valid: ${counts.map(([n, name]) => `${n} ${name}${n === 1 ? '' : 's'}`).join(', ')}`)
    return 0
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    console.error(error.message)
    return 1
  }
}
