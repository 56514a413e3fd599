import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import { settingsSchema } from './settingsSchema.js'
import { nearest } from './suggestion.js'
import { parseYaml, YamlProblem } from './yaml.js'

export type Settings = z.infer<typeof settingsSchema> & {
  /** Absolute path of the data folder. */
  dataDirectory: string
  /** Absolute path of the folder of the blob store, or of the cache before an object storage. */
  storageDirectory: string
  /** Where instances are kept if not in a folder. */
  bucket?: { name: string; prefix: string }
}

/** Environment variable → path in the YAML document. */
const environmentVariables: Readonly<Record<string, { path: readonly string[]; number?: true; list?: true }>> = {
  RADBRIDGE_ROLES: { path: ['roles'], list: true },
  RADBRIDGE_DATA_DIR: { path: ['data', 'directory'] },
  RADBRIDGE_HTTP_HOST: { path: ['http', 'host'] },
  RADBRIDGE_HTTP_PORT: { path: ['http', 'port'], number: true },
  RADBRIDGE_DRAIN_SECONDS: { path: ['http', 'drainSeconds'], number: true },
  RADBRIDGE_DIMSE_PORT: { path: ['dimse', 'port'], number: true },
  RADBRIDGE_AE_TITLE: { path: ['dimse', 'aeTitle'] },
  DATABASE_URL: { path: ['database', 'url'] },
  RADBRIDGE_STORAGE: { path: ['storage', 'url'] },
  RADBRIDGE_S3_ENDPOINT: { path: ['storage', 's3', 'endpoint'] },
  RADBRIDGE_S3_REGION: { path: ['storage', 's3', 'region'] },
  RADBRIDGE_MINIMUM_FREE_BYTES: { path: ['storage', 'minimumFreeBytes'], number: true },
  RADBRIDGE_QUIET_SECONDS: { path: ['study', 'quietSeconds'], number: true },
  RADBRIDGE_DUPLICATE_POLICY: { path: ['study', 'duplicatePolicy'] },
  RADBRIDGE_MAX_REQUEST_BYTES: { path: ['stow', 'maxRequestBytes'], number: true },
  RADBRIDGE_MAX_INSTANCE_BYTES: { path: ['stow', 'maxInstanceBytes'], number: true },
  RADBRIDGE_MAX_BYTES_IN_FLIGHT: { path: ['stow', 'maxBytesInFlight'], number: true },
  RADBRIDGE_IDLE_SECONDS: { path: ['stow', 'idleSeconds'], number: true },
  RADBRIDGE_WORKERS: { path: ['analysis', 'workers'], number: true },
  RADBRIDGE_ADMIN_TOKEN: { path: ['auth', 'adminToken'] },
  RADBRIDGE_ENDPOINTS: { path: ['endpointsFile'] },
  RADBRIDGE_LOG_LEVEL: { path: ['log', 'level'] },
  RADBRIDGE_LOG_FORMAT: { path: ['log', 'format'] },
}

/** A wrong setting: `message` names the place (file:line or variable), what stands there and what was expected. */
export class SettingsError extends Error {
  readonly code = 'SETTINGS'
}

/**
 * Process settings: environment over YAML over default.
 * @param configFile path of the YAML file; otherwise RADBRIDGE_CONFIG, otherwise ./radbridge.yaml if it is there
 * @throws SettingsError naming every wrong or unknown setting
 */
export function loadSettings(environment: NodeJS.ProcessEnv = process.env, configFile?: string): Settings {
  const file =
    configFile ?? environment.RADBRIDGE_CONFIG ?? (existsSync('radbridge.yaml') ? 'radbridge.yaml' : undefined)
  const fromFile = file ? readSettingsFile(file) : { value: {}, locate: () => '' }
  const merged = structuredClone(fromFile.value)
  const setByEnvironment = applyEnvironment(merged, environment)

  const parsed = settingsSchema.safeParse(merged)
  if (!parsed.success) {
    const lines = parsed.error.issues.flatMap(issue => {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [undefined]
      return keys.map(key => {
        const path = [...issue.path.map(String), ...(key === undefined ? [] : [key])]
        const name = path.join('.')
        const place = setByEnvironment.get(name) ?? fromFile.locate(path)
        return key === undefined
          ? `${place}: ${name}: ${issue.message}`
          : `${place}: unknown setting ${name}${suggestion(key, path)}`
      })
    })
    throw new SettingsError(lines.join('\n'))
  }
  const settings = parsed.data
  const dataDirectory = resolve(settings.data.directory)
  const bucket = /^s3:\/\/([^/]+)\/?(.*)$/.exec(settings.storage.url ?? '')
  if (bucket)
    return {
      ...settings,
      dataDirectory,
      storageDirectory: resolve(dataDirectory, 'cache'),
      bucket: { name: bucket[1]!, prefix: bucket[2]!.replace(/\/*$/, bucket[2] ? '/' : '') },
    }
  const storagePath = settings.storage.url?.replace(/^file:(\/\/)?/, '')
  const storageDirectory = storagePath
    ? isAbsolute(storagePath)
      ? storagePath
      : resolve(storagePath)
    : resolve(dataDirectory, 'archive')
  return { ...settings, dataDirectory, storageDirectory }
}

function readSettingsFile(file: string) {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SettingsError(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code}); expected a YAML file`)
  }
  try {
    return parseYaml(text, file)
  } catch (error) {
    if (error instanceof YamlProblem) throw new SettingsError(error.message)
    throw error
  }
}

function applyEnvironment(target: Record<string, unknown>, environment: NodeJS.ProcessEnv): Map<string, string> {
  const origin = new Map<string, string>()
  for (const name of Object.keys(environment)) {
    if (name.startsWith('RADBRIDGE_') && name !== 'RADBRIDGE_CONFIG' && !(name in environmentVariables)) {
      const known = nearest(name, Object.keys(environmentVariables))
      throw new SettingsError(`environment variable ${name}: unknown setting${known ? `; did you mean ${known}?` : ''}`)
    }
  }
  for (const [name, { path, number, list }] of Object.entries(environmentVariables)) {
    const text = environment[name]
    if (text === undefined || text === '') continue
    let node = target
    for (const key of path.slice(0, -1)) {
      if (typeof node[key] !== 'object' || node[key] === null) node[key] = {}
      node = node[key] as Record<string, unknown>
    }
    node[path.at(-1)!] = list
      ? text.split(',').map(entry => entry.trim())
      : number && text.trim() !== '' && Number.isFinite(Number(text))
        ? Number(text)
        : text
    origin.set(path.join('.'), `environment variable ${name}`)
  }
  return origin
}

function suggestion(key: string, path: readonly string[]): string {
  type Schema = { properties?: Record<string, Schema> } | undefined
  let level = z.toJSONSchema(settingsSchema, { io: 'input' }) as Schema
  for (const name of path.slice(0, -1)) level = level?.properties?.[name]
  const known = nearest(key, Object.keys(level?.properties ?? {}))
  return known ? `; did you mean ${known}?` : ''
}
