import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import { secretReference } from './secret.js'
import { nearest } from './suggestion.js'
import { parseYaml, YamlProblem } from './yaml.js'

const gibibyte = 1024 ** 3

const secret = z.string().regex(secretReference, 'expected a reference, env:NAME or file:/path')

const serverTls = z.strictObject({ cert: z.string().min(1), key: secret, ca: z.string().min(1).optional() })

/** What a node does. */
const nodeRoles = ['receive', 'work', 'admin'] as const

const roleClaims = z.array(z.string()).default([])

/** Every process setting, its default and its meaning. Endpoints (sources, routes …) are in endpoints.ts. */
const settingsSchema = z.strictObject({
  roles: z
    .array(z.enum(nodeRoles))
    .nonempty()
    .default([...nodeRoles])
    .describe(
      'what this node does: receive (DICOMweb and DIMSE), work (analyses and deliveries), admin (REST API, console, viewer)',
    ),
  data: z.strictObject({ directory: z.string().min(1).default('./data') }).prefault({}),
  http: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: z.number().int().min(0).max(65535).default(8080).describe('0 = a free port'),
      corsOrigins: z
        .array(z.union([z.literal('*'), z.url({ protocol: /^https?$/ })]))
        .default([])
        .describe('web pages of these origins, https://viewer.example.org, may use DICOMweb from a browser; * for all'),
      proxies: z
        .number()
        .int()
        .min(0)
        .max(10)
        .default(0)
        .describe('proxies before the service, whose X-Forwarded-For is believed'),
      drainSeconds: z
        .number()
        .min(0)
        .max(3600)
        .default(0)
        .describe(
          'so long before it stops the service says by /readyz that it will, so that a load balancer sends no more',
        ),
      publicUrl: z
        .url({ protocol: /^https?$/ })
        .optional()
        .describe('the address users know, if a proxy stands before the service'),
      tls: serverTls
        .optional()
        .describe('PEM files, read again when they change; with ca, senders may show a certificate of that authority'),
    })
    .prefault({}),
  dimse: z
    .strictObject({
      port: z.number().int().min(0).max(65535).default(11112).describe('0 = off'),
      aeTitle: z
        .string()
        .regex(/^[^\\\x00-\x1f]{1,16}$/, 'expected up to 16 characters without a backslash')
        .default('RADBRIDGE'),
      host: z.string().min(1).optional().describe('that of http if not set'),
      maxAssociations: z.number().int().min(1).default(100),
      idleSeconds: z.number().positive().default(60).describe('an association on which nothing moves is given up'),
      tls: serverTls
        .optional()
        .describe(
          'PEM files; without them associations are not encrypted; with ca, only senders with a certificate of that authority',
        ),
    })
    .prefault({}),
  database: z
    .strictObject({
      url: z
        .string()
        .regex(/^postgres(ql)?:\/\//, 'a postgresql:// address')
        .optional(),
    })
    .prefault({}),
  storage: z
    .strictObject({
      url: z
        .string()
        .regex(/^(file:|s3:\/\/[a-z0-9][a-z0-9.-]+)/, 'expected file:PATH or s3://BUCKET/PREFIX')
        .optional(),
      s3: z
        .strictObject({
          endpoint: z
            .url({ protocol: /^https?$/ })
            .optional()
            .describe('of an object storage other than that of AWS'),
          region: z.string().min(1).default('us-east-1'),
          pathStyle: z.boolean().default(true).describe('the bucket stands in the path, not in the host name'),
          accessKeyId: secret
            .optional()
            .describe('without it, as other programs of the machine find theirs (AWS_ACCESS_KEY_ID, profile, role)'),
          secretAccessKey: secret.optional(),
          cacheBytes: z
            .number()
            .int()
            .min(0)
            .default(20 * gibibyte)
            .describe('of what was received or read of late, in the data folder'),
        })
        .prefault({}),
      minimumFreeBytes: z
        .number()
        .int()
        .min(0)
        .default(gibibyte)
        .describe('below this much free disk, STOW-RS answers 503'),
    })
    .prefault({}),
  study: z
    .strictObject({
      quietSeconds: z.number().min(0).max(86400).default(30),
      duplicatePolicy: z.enum(['keep', 'replace']).default('keep'),
    })
    .prefault({}),
  stow: z
    .strictObject({
      maxRequestBytes: z
        .number()
        .int()
        .min(1)
        .default(64 * gibibyte),
      maxInstanceBytes: z
        .number()
        .int()
        .min(1)
        .default(8 * gibibyte),
      maxParts: z.number().int().min(1).default(100_000),
      maxBytesInFlight: z
        .number()
        .int()
        .min(1)
        .default(gibibyte / 2)
        .describe(
          'of all that is received at one moment, by STOW-RS and C-STORE, at most 8 MiB each; then 503 or A700',
        ),
      idleSeconds: z.number().positive().default(60).describe('a sender silent for so long is cut off with 408'),
      minimumBytesPerSecond: z.number().min(0).default(256).describe('averaged over idleSeconds'),
    })
    .prefault({}),
  analysis: z
    .strictObject({
      workers: z
        .number()
        .int()
        .min(1)
        .max(256)
        .default(availableParallelism())
        .describe('pixel worker threads; as many as there are cores if not set'),
    })
    .prefault({}),
  auth: z
    .strictObject({
      adminToken: z.string().min(16).optional(),
      anonymous: z
        .boolean()
        .optional()
        .describe(
          'who shows nothing may do everything; if not set: on loopback, until there is a token, an account or a way to sign in',
        ),
      sessionHours: z.number().positive().max(168).default(12),
      oidc: z
        .strictObject({
          issuer: z.url({ protocol: /^https?$/ }),
          clientId: z.string().min(1),
          clientSecret: secret.optional(),
          scope: z.string().default('openid profile'),
          nameClaim: z.string().default('preferred_username'),
          rolesClaim: z.string().default('roles').describe('path of the claim, for Keycloak realm_access.roles'),
          roles: z
            .strictObject({
              viewer: roleClaims,
              radiologist: roleClaims,
              operator: roleClaims,
              administrator: roleClaims,
            })
            .describe('values of the claim, by role'),
        })
        .optional(),
    })
    .prefault({}),
  audit: z
    .strictObject({
      syslog: z
        .strictObject({
          url: z.url({ protocol: /^(udp|tcp|tls)$/ }).describe('udp://host:514, tls://host:6514'),
          ca: z.string().min(1).optional(),
        })
        .optional()
        .describe('where DICOM audit messages are sent as well (RFC 5424)'),
    })
    .prefault({}),
  mail: z
    .strictObject({
      host: z.string().min(1),
      port: z.number().int().min(1).max(65535).default(587),
      from: z.email(),
      username: z.string().optional(),
      password: secret.optional(),
      tls: z.enum(['starttls', 'implicit', 'none']).default('starttls'),
    })
    .optional()
    .describe('the SMTP server for notifications'),
  tracing: z
    .strictObject({
      url: z
        .url({ protocol: /^https?$/ })
        .optional()
        .describe('of an OpenTelemetry collector, http://collector:4318; without it nothing is traced'),
      ratio: z.number().min(0).max(1).default(1).describe('of the studies'),
    })
    .prefault({}),
  viewer: z
    .strictObject({ directory: z.string().min(1).optional().describe('of the viewer OHIF, prebuilt') })
    .prefault({}),
  endpointsFile: z.string().min(1).optional(),
  log: z
    .strictObject({
      level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
      format: z.enum(['auto', 'json', 'text']).default('auto').describe('auto: text on a terminal, JSON elsewhere'),
    })
    .prefault({}),
})

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
  const siblings = Object.values(environmentVariables)
    .filter(v => v.path.length >= path.length && path.slice(0, -1).every((p, i) => v.path[i] === p))
    .map(v => v.path[path.length - 1]!)
  const known = nearest(key, siblings)
  return known ? `; did you mean ${known}?` : ''
}
