import { z } from 'zod'
import { clock, isTimeZone, localTimeZone } from './clock.js'
import { name, secret } from './providerSettings.js'

/** What can be told of. */
const notifiedEvents = [
  'urgent-finding',
  'study-failed',
  'dead-letter',
  'provider-away',
  'provider-back',
  'destination-away',
  'disk',
  'store-damaged',
  'budget',
  'canary-step',
  'drift',
] as const
export type NotifiedEvent = (typeof notifiedEvents)[number]

const code = z.strictObject({ scheme: z.string(), value: z.string() })

/** A finding is urgent if all that is said is true of it. */
const urgentFinding = z
  .strictObject({
    /** Finding type. */
    type: code.optional(),
    /** Confidence from so much on, 0 to 1. */
    probability: z.number().min(0).max(1).optional(),
    /** A measurement of this quantity that is above a value, in its unit. */
    quantity: code.optional(),
    above: z.number().optional(),
  })
  .refine(entry => !entry.quantity === (entry.above === undefined), 'expected quantity and above, or none of them')
  .refine(entry => Object.values(entry).some(value => value !== undefined), 'expected type, probability or quantity')
export type UrgentFinding = z.infer<typeof urgentFinding>

/** Whom to tell of what. */
export const notificationRule = z
  .strictObject({
    name,
    on: z.array(z.enum(notifiedEvents)).min(1),
    webhook: z
      .strictObject({
        url: z.url({ protocol: /^https?$/ }),
        /** Signs what is sent: X-Radbridge-Signature, `t=SECONDS,sha256=HMAC of "SECONDS.BODY"`. */
        secret: secret.optional(),
      })
      .optional(),
    /** By the SMTP server of the settings, `mail`. */
    email: z.strictObject({ to: z.array(z.email()).min(1) }).optional(),
    urgent: z.array(urgentFinding).default([]),
    /** Of one rule in an hour; what is more is counted, and told with the next one. */
    perHour: z.number().int().min(1).default(30),
    /** What is not urgent waits until they are over. */
    quietHours: z
      .strictObject({
        from: clock,
        to: clock,
        timeZone: z.string().refine(isTimeZone, 'expected a time zone, Europe/Berlin').default(localTimeZone),
      })
      .optional(),
    /** Adds name, Patient ID and Accession Number. */
    patient: z.boolean().default(false),
  })
  .refine(rule => rule.webhook ?? rule.email, 'expected webhook, email or both')
  .refine(
    rule => !rule.on.includes('urgent-finding') || rule.urgent.length > 0,
    'urgent-finding needs urgent: which findings are',
  )
export type NotificationRule = z.infer<typeof notificationRule>
