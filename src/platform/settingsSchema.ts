import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { secretReference } from './secret.js'

const gibibyte = 1024 ** 3

const secret = z.string().regex(secretReference, 'expected a reference, env:NAME or file:/path')

const serverTls = z.strictObject({ cert: z.string().min(1), key: secret, ca: z.string().min(1).optional() })

/** What a node does. */
const nodeRoles = ['receive', 'work', 'admin'] as const

const roleClaims = z.array(z.string()).default([])

/** Every process setting, its default and its meaning. Endpoints (sources, routes …) are in endpoints.ts. */
export const settingsSchema = z.strictObject({
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
