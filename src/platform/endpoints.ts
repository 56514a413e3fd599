import { isIP, isIPv4 } from 'node:net'
import { z } from 'zod'
import { clock, isTimeZone, localTimeZone } from './clock.js'
import { notificationRule } from './notificationSettings.js'
import { aeTitle, concept, dimsePeer, name, provider, secret, stowServer } from './providerSettings.js'

const network = z.string().refine(text => {
  const [base = '', prefix, ...rest] = text.split('/')
  if (rest.length > 0 || !isIP(base)) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (isIPv4(base) ? 32 : 128))
}, 'expected an address or a network, for example 10.0.0.0/8')

/** What is taken of a source; an absent rule allows all. */
const rules = z.strictObject({
  sopClasses: z.array(z.string().regex(/^[0-9.]+$/, 'expected a SOP Class UID')).optional(),
  modalities: z.array(z.string()).optional(),
  maxInstanceBytes: z.number().int().positive().optional(),
})
export type SourceRules = z.infer<typeof rules>

/** Who may push: with a token by STOW-RS, by its AE title and address by C-STORE. */
const source = z
  .strictObject({
    name,
    stow: z
      .strictObject({
        token: secret.optional(),
        username: z.string().min(1).optional(),
        password: secret.optional(),
        /** Common name or SHA-256 fingerprint of a client certificate of the authority of `http.tls.ca`. */
        certificate: z.string().min(1).optional(),
      })
      .refine(
        entry => entry.token ?? entry.certificate ?? (entry.username && entry.password),
        'expected token, username and password, or certificate',
      )
      .optional(),
    dimse: z
      .strictObject({
        aeTitle,
        addresses: z.array(network).optional(),
        /** Where it takes what it asks for by C-MOVE, and reports of Storage Commitment. */
        host: z.string().min(1).optional(),
        port: z.number().int().min(1).max(65_535).optional(),
      })
      .refine(entry => !entry.host === !entry.port, 'expected host and port, or none of them')
      .optional(),
    accept: rules.optional(),
  })
  .refine(entry => entry.stow ?? entry.dimse, 'expected stow, dimse or both')

/** How results are written for a destination. */
const format = z.strictObject({
  language: z.enum(['en', 'de', 'fr', 'es', 'ja', 'zh']).default('en'),
  report: z.enum(['comprehensive-3d', 'comprehensive']).default('comprehensive-3d'),
  groups: z.enum(['both', 'planar', 'volumetric']).default('both'),
  segmentation: z.enum(['binary', 'labelmap']).default('binary'),
  compression: z.enum(['none', 'deflated', 'rle', 'jpeg2000']).default('none'),
  codes: z
    .array(z.strictObject({ replace: z.strictObject({ scheme: z.string(), value: z.string() }), by: concept }))
    .default([]),
})

const destination = z.union([
  z.strictObject({
    name,
    format: format.prefault({}),
    stow: stowServer,
  }),
  z.strictObject({
    name,
    format: format.prefault({}),
    dimse: dimsePeer.extend({
      /** Delivered is what it has committed to keep (Storage Commitment). */
      commit: z.boolean().default(false),
      /** It is told which results of a study are here (Instance Availability Notification), when all have been delivered. */
      notify: z.boolean().default(false),
      /** How studies are fetched from it: to our AE title, which it has to know, or over our own association. */
      retrieve: z.enum(['move', 'get']).default('move'),
    }),
  }),
  z.strictObject({ name, format: format.prefault({}), folder: z.string().min(1) }),
])

const regularExpression = z.string().refine(pattern => {
  try {
    return new RegExp(pattern, 'iu') instanceof RegExp
  } catch {
    return false
  }
}, 'expected a regular expression')

const percentage = z.number().min(0).max(100)

/** What a study, or a series of it, has to be like; all that is said has to be true of it. */
const match = z.strictObject({
  modality: z.array(z.string()).optional(),
  bodyPart: z.array(z.string()).optional(),
  source: z.array(z.string()).optional(),
  sopClass: z.array(z.string()).optional(),
  /** Station Name (0008,1010). */
  station: z.array(z.string()).optional(),
  /** Regular expression, in any case, of which one of the descriptions of the study and its series has to have something. */
  description: regularExpression.optional(),
  /** Years: from so many on, and below so many. */
  age: z.strictObject({ from: z.number().min(0).optional(), below: z.number().positive().optional() }).optional(),
  /** Any attribute of the data set, by keyword or tag: one of these values, or one like a pattern. */
  attributes: z
    .array(
      z.strictObject({
        attribute: z
          .string()
          .regex(/^([0-9A-F]{8}|[A-Z][A-Za-z0-9]+)$/, 'expected a keyword, PatientSex, or a tag, 00100040'),
        values: z.array(z.string()).optional(),
        pattern: regularExpression.optional(),
      }),
    )
    .optional(),
})
export type Match = z.infer<typeof match>

const route = z.strictObject({
  name,
  match: match.prefault({}),
  /** `stat` before all others; `off-peak`: in the hours of `offPeak` only. */
  priority: z.enum(['stat', 'routine', 'off-peak']).default('routine'),
  analysis: z.strictObject({
    primary: name,
    /** A share of the patients goes to another provider. */
    canary: z
      .strictObject({
        provider: name,
        percent: percentage,
        /** From so many days after the start on so many percent; instead of `percent`. */
        ramp: z.array(z.strictObject({ day: z.number().int().min(1), percent: percentage })).default([]),
        /** Steps of the share by how the provider does: up by 10 points under 1 % failures, down by 20 over 5 %. */
        automatic: z.boolean().default(true),
        /** Analyses that an evaluation needs. */
        minimumSample: z.number().int().min(1).default(50),
        /** A share whose 95th percentile is slower than that, seconds, goes down. */
        maxP95Seconds: z.number().positive().optional(),
        /** A share goes down when more of the lesions than that, 0 to 1, were found by one of both providers alone. The primary one has to be a shadow too. */
        maxDisagreement: z.number().min(0).max(1).optional(),
      })
      .optional(),
    /** In the place of a provider that could not analyse a study, in this order. */
    fallback: z.array(name).default([]),
    /** These analyse as well; nothing of it is delivered or waited for. */
    shadow: z.array(name).default([]),
    /** Which earlier examinations lesions are followed from; `max: 0` for none. */
    priors: z
      .strictObject({
        max: z.number().int().min(0).max(100).default(1),
        within: z
          .string()
          .regex(/^P(?=\d)(\d+Y)?(\d+M)?(\d+D)?$/, 'expected a duration of years, months and days, for example P5Y')
          .default('P5Y'),
        /** Those in the archive that this provider has not analysed are analysed by it as well. */
        analyze: z.boolean().default(false),
        /** Destinations with `stow` or `dimse` whose archive is searched for further ones, which are then fetched and analysed. */
        from: z.array(name).default([]),
      })
      .prefault({}),
  }),
  /**
   * What is written: Structured Report; Segmentations of findings that have a mask; Secondary Captures; presentation states with the outlines;
   * Parametric Maps of heat maps; a PDF; the longitudinal report where there is a prior examination.
   */
  results: z.array(z.enum(['sr', 'seg', 'sc', 'gsps', 'map', 'pdf', 'longitudinal'])).default(['sr', 'seg']),
  /** Outcomes of an analysis that are reported. A failure, or that an algorithm does not apply, is otherwise told to administrators only. */
  reportOn: z
    .array(z.enum(['findings', 'no-findings', 'incomplete', 'not-applicable', 'failed']))
    .default(['findings', 'no-findings', 'incomplete']),
  deliverTo: z.array(name).default([]),
})

export const endpointsSchema = z
  .strictObject({
    sources: z.array(source).default([]),
    providers: z.array(provider).default([]),
    destinations: z.array(destination).default([]),
    routes: z.array(route).optional(),
    /** Whom to tell of what. */
    notifications: z.array(notificationRule).default([]),
    /** Which studies are deleted from the archive, nightly; without a rule none is. */
    retention: z
      .array(
        z.strictObject({
          name,
          /** After its last instance, and after it was finished. */
          afterDays: z.number().positive(),
          states: z
            .array(z.enum(['completed', 'failed', 'ignored']))
            .min(1)
            .default(['completed', 'ignored']),
          /** Only when every result has been delivered to every destination. */
          delivered: z.boolean().default(true),
        }),
      )
      .default([]),
    /** Hours in which studies of priority `off-peak` are analysed. */
    offPeak: z
      .strictObject({
        from: clock.default('20:00'),
        to: clock.default('06:00'),
        timeZone: z.string().refine(isTimeZone, 'expected a time zone, Europe/Berlin').default(localTimeZone),
      })
      .prefault({}),
    /** Whether studies are whole is asked of these destinations, by QIDO-RS or C-FIND, in their order. */
    completeness: z
      .strictObject({
        ask: z.array(name).default([]),
        /** When nothing has come for so long; a study that is whole by then does not wait for the quiet period. */
        afterSeconds: z.number().min(0.1).default(2),
        /** Series that studies have to have. With them a study is whole; without one of them it is waited for. */
        required: z
          .array(
            z.strictObject({
              /** Studies that it is required of. */
              match: match.prefault({}),
              series: z.array(match.extend({ instances: z.number().int().min(1).default(1) })).min(1),
            }),
          )
          .default([]),
        /** So long after the last instance a study goes on without series that are required. */
        waitSeconds: z.number().min(0).default(900),
      })
      .prefault({}),
  })
  .superRefine((document, context) => {
    for (const kind of ['sources', 'providers', 'destinations', 'routes', 'notifications', 'retention'] as const) {
      const seen = new Set<string>()
      for (const [index, entry] of (document[kind] ?? []).entries()) {
        if (seen.has(entry.name)) {
          context.addIssue({ code: 'custom', path: [kind, index, 'name'], message: `${entry.name} is there twice` })
        }
        seen.add(entry.name)
      }
    }
    for (const [index, entry] of document.providers.entries()) {
      if (entry.kind === 'kserve' && (entry.patches?.overlap ?? 0) >= Math.min(entry.input.rows, entry.input.columns))
        context.addIssue({
          code: 'custom',
          path: ['providers', index, 'patches', 'overlap'],
          message: 'has to be less than the rows and columns of the input',
        })
      if (entry.kind !== 'reference' && entry.budget && !entry.price)
        context.addIssue({ code: 'custom', path: ['providers', index, 'budget'], message: 'a budget needs a price' })
    }
    for (const [index, entry] of document.providers.entries()) {
      if (entry.kind === 'dicom' && !entry.stow === !entry.dimse)
        context.addIssue({
          code: 'custom',
          path: ['providers', index],
          message: 'expected stow or dimse, one of them',
        })
      if (entry.kind === 'dicom' && !document.sources.some(from => from.name === entry.answersFrom))
        context.addIssue({
          code: 'custom',
          path: ['providers', index, 'answersFrom'],
          message: `no source is named ${entry.answersFrom}`,
        })
    }
    for (const [index, asked] of document.completeness.ask.entries())
      if (!document.destinations.some(d => d.name === asked && !('folder' in d)))
        context.addIssue({
          code: 'custom',
          path: ['completeness', 'ask', index],
          message: `no destination with stow or dimse is named ${asked}`,
        })
    const providers = new Set(['reference', ...document.providers.map(p => p.name)])
    const destinations = new Set(document.destinations.map(d => d.name))
    for (const [index, entry] of (document.routes ?? []).entries()) {
      const { primary, canary, shadow, fallback } = entry.analysis
      for (const [path, named] of [
        [['primary'], primary],
        [['canary', 'provider'], canary?.provider ?? primary],
        ...shadow.map((named, i) => [['shadow', i], named] as const),
        ...fallback.map((named, i) => [['fallback', i], named] as const),
      ] as const) {
        if (providers.has(named)) continue
        context.addIssue({
          code: 'custom',
          path: ['routes', index, 'analysis', ...path],
          message: `no provider is named ${named}; known: ${[...providers].join(', ')}`,
        })
      }
      if (canary?.maxDisagreement !== undefined && !shadow.includes(primary))
        context.addIssue({
          code: 'custom',
          path: ['routes', index, 'analysis', 'canary', 'maxDisagreement'],
          message: `needs shadow: [${primary}], so that both providers analyse the same studies`,
        })
      for (const [position, pacs] of entry.analysis.priors.from.entries())
        if (!document.destinations.some(d => d.name === pacs && !('folder' in d)))
          context.addIssue({
            code: 'custom',
            path: ['routes', index, 'analysis', 'priors', 'from', position],
            message: `no destination with stow or dimse is named ${pacs}`,
          })
      for (const [position, target] of entry.deliverTo.entries()) {
        if (destinations.has(target)) continue
        context.addIssue({
          code: 'custom',
          path: ['routes', index, 'deliverTo', position],
          message: `no destination is named ${target}; known: ${[...destinations].join(', ') || 'none'}`,
        })
      }
    }
  })

/** For editors that complete and check YAML. Rules between entries are not in it: names that refer to each other. */
export function endpointsJsonSchema(): object {
  return z.toJSONSchema(endpointsSchema, { io: 'input', unrepresentable: 'any' })
}

type ParsedEndpoints = z.infer<typeof endpointsSchema>
export type Destination = ParsedEndpoints['destinations'][number]
export type StowDestination = Extract<Destination, { stow: unknown }>
export type DimseDestination = Extract<Destination, { dimse: unknown }>
export type Route = NonNullable<ParsedEndpoints['routes']>[number]
export type Source = ParsedEndpoints['sources'][number]
/** Who may push, what analyses, where results go. `routes` always holds at least the default when none was written. */
export type Endpoints = Omit<ParsedEndpoints, 'routes'> & { routes: Route[] }
