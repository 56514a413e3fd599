import { z } from 'zod'
import {
  type CanaryAction,
  datasetStudy,
  labelledStudies,
  listCanaries,
  shadowDisagreements,
  shadowReports,
  steerCanary,
} from '../../pipeline/index.js'
import { transaction } from '../../platform/database.js'
import { readDashboard } from '../dashboard.js'
import { sendDatasetStudy } from '../dataset.js'
import { type Operation, operation, Reply, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { budgetReports, type Period, providerReportMarkdown, providerReports } from '../providerReport.js'
import { alarmsMarkdown, driftAlarms, qualityReports } from '../quality.js'
import { type AdminContext, count, days, studyParams } from './common.js'

const month = z
  .string()
  .regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'expected a month, YYYY-MM')
  .optional()
const share = z.object({ value: z.number(), low: z.number(), high: z.number(), of: count }).nullable()
const maybeNumber = z.number().nullable()

const providerReport = z.object({
  provider: z.string(),
  arm: z.string().describe('primary, canary, shadow or prior'),
  analyses: count,
  failed: count,
  incomplete: count,
  errorRate: z.number(),
  p50: maybeNumber,
  p95: maybeNumber,
  p99: maybeNumber,
  requests: count,
  units: z.number(),
  cost: z.object({ amount: z.number(), currency: z.string() }).optional(),
  falsePositives: share,
  sensitivity: share,
  uptime: maybeNumber,
})

const budgetReport = z.object({
  provider: z.string(),
  currency: z.string(),
  day: z.number(),
  month: z.number(),
  perDay: maybeNumber,
  perMonth: maybeNumber,
})

const qualityReport = z.object({
  provider: z.string(),
  model: z.string(),
  version: z.string(),
  modality: z.string(),
  site: z.string().describe('who sent the study'),
  arm: z.string(),
  falsePositives: share,
  sensitivity: share,
  auc: z
    .object({ value: z.number(), low: z.number(), high: z.number(), right: count, wrong: count })
    .nullable()
    .describe('with its 95 % interval'),
})

const driftAlarm = z.object({
  provider: z.string(),
  arm: z.string(),
  what: z.enum(['false positives', 'positive studies']),
  before: share,
  lately: share,
  p: z.number().describe('probability of such a difference by chance'),
})

const shadowReport = z.object({
  route: z.string(),
  provider: z.string(),
  studies: count,
  failed: count,
  agreement: maybeNumber.describe('lesions that both found, of all that one of them found'),
  both: count,
  onlyDelivered: count,
  onlyShadow: count,
  differences: z.array(z.object({ quantity: z.string(), pairs: count, meanRelative: z.number() })),
  secondsP50: maybeNumber,
  secondsP95: maybeNumber,
})

const dashboard = z.object({
  version: z.string(),
  at: time,
  ready: z.boolean(),
  problem: z.string().optional().describe('why nothing can be taken in'),
  nodes: count,
  studies: z.record(z.string(), count).describe('by state: of the last 24 hours, and all that are not done'),
  refusedInstances: count.describe('of the last 24 hours'),
  receivedByHour: z.array(z.object({ at: time, studies: count })),
  turnaroundSeconds: z.object({ p50: maybeNumber, p95: maybeNumber, p99: maybeNumber, studies: count }),
  openDeliveries: z.array(z.object({ destination: z.string(), state: z.string(), count })),
  jobs: z.object({ due: count, oldestSeconds: z.number() }),
  providers: z.array(providerReport),
  providerHealth: z.array(
    z.object({ provider: z.string(), up: z.boolean(), problem: z.string().nullable(), at: time }),
  ),
  budgets: z.array(budgetReport),
  storage: z.object({ freeBytes: z.number() }),
})

const canary = z.object({
  route: z.string(),
  provider: z.string(),
  percent: z.number(),
  frozen: z.boolean(),
  ramp: z.array(z.object({ day: count, percent: z.number() })),
  startedAt: time,
  decisions: z.array(
    z.object({
      at: time,
      from: z.number(),
      to: z.number(),
      reason: z.string(),
      sample: count.nullable(),
      failures: count.nullable(),
    }),
  ),
})

const canaryAction = z.discriminatedUnion(
  'action',
  [
    z.strictObject({ action: z.literal('freeze') }),
    z.strictObject({ action: z.literal('resume') }),
    z.strictObject({ action: z.literal('rollback') }),
    z.strictObject({ action: z.literal('set'), percent: z.number().min(0).max(100) }),
  ],
  'expected {"action": "freeze" | "resume" | "rollback"} or {"action": "set", "percent": 0 to 100}',
)

const tag = 'reports'

export function reportOperations(context: AdminContext): Operation[] {
  const { database, audit, log } = context
  return [
    operation({
      method: 'get',
      path: '/dashboard',
      permission: 'studies:read',
      tag,
      summary: 'How the service is now and was in the last 24 hours',
      answer: dashboard,
      handle: () => readDashboard(context),
    }),
    operation({
      method: 'get',
      path: '/service',
      permission: 'studies:read',
      tag,
      summary: 'How this service is reached',
      answer: z.object({ version: z.string(), aeTitle: z.string(), dimsePort: count.describe('0: off') }),
      handle: () => ({ version: context.softwareVersion, aeTitle: context.aeTitle, dimsePort: context.dimsePort }),
    }),
    operation({
      method: 'get',
      path: '/providers/report',
      permission: 'reports:read',
      tag,
      summary:
        'Latency, failures, cost, verdicts and uptime of each provider; with changedAt, before and after that day',
      query: z.strictObject({
        month,
        days: days.optional().describe('up to now; 30 if nothing is said'),
        changedAt: z.iso.date('expected a day, YYYY-MM-DD').optional(),
        format: z.enum(['json', 'markdown']).default('json'),
      }),
      answer: z.union([
        z.array(providerReport),
        z.object({ before: z.array(providerReport), after: z.array(providerReport) }),
      ]),
      async handle({ query }) {
        const period = periodOf(query)
        const markdown = query.format === 'markdown'
        const { providers } = context.endpoints
        if (query.changedAt === undefined) {
          const reports = await providerReports(database, period, providers)
          if (!markdown) return reports
          return asMarkdown(
            providerReportMarkdown(reports, nameOf(period)) + alarmsMarkdown(await driftAlarms(database)),
          )
        }
        // As many days before a change of provider as after it.
        const changedAt = new Date(`${query.changedAt}T00:00:00Z`)
        const length = period.to.getTime() - period.from.getTime()
        const earlier = { from: new Date(changedAt.getTime() - length), to: changedAt }
        const later = { from: changedAt, to: new Date(changedAt.getTime() + length) }
        const [before, after] = await Promise.all(
          [earlier, later].map(part => providerReports(database, part, providers)),
        )
        if (!markdown) return { before, after }
        return asMarkdown(
          [
            providerReportMarkdown(before!, `before the change: ${nameOf(earlier)}`),
            providerReportMarkdown(after!, `after the change: ${nameOf(later)}`),
          ].join('\n'),
        )
      },
    }),
    operation({
      method: 'get',
      path: '/providers/budgets',
      permission: 'reports:read',
      tag,
      summary: 'What priced providers have cost today and this month, and what they may',
      answer: z.array(budgetReport),
      handle: () => budgetReports(database, context.endpoints.providers),
    }),
    operation({
      method: 'get',
      path: '/quality',
      permission: 'reports:read',
      tag,
      summary: 'False positives, sensitivity and AUC by verdicts',
      query: z.strictObject({ month, days: days.optional() }),
      answer: z.array(qualityReport),
      handle: ({ query }) => qualityReports(database, periodOf(query)),
    }),
    operation({
      method: 'get',
      path: '/quality/alarms',
      permission: 'reports:read',
      tag,
      summary: 'What has drifted in the last week',
      answer: z.array(driftAlarm),
      handle: () => driftAlarms(database),
    }),
    operation({
      method: 'get',
      path: '/dataset',
      permission: 'datasets:export',
      tag,
      summary: 'Studies with verdicts',
      query: z.strictObject({ days: days.default(365) }),
      answer: z.array(z.object({ studyInstanceUid: z.string(), verdicts: count })),
      handle: ({ query }) => labelledStudies(database, query.days),
    }),
    operation({
      method: 'get',
      path: '/dataset/{uid}',
      permission: 'datasets:export',
      tag,
      summary: 'A study with verdicts, de-identified, for training',
      params: studyParams,
      answer: { mediaType: 'multipart/related' },
      problems: { 404: 'no study of this UID has verdicts', 409: 'its pixels may name the patient' },
      async handle({ params: { uid }, res, done }) {
        const study = await datasetStudy(uid, context)
        if (study.outcome === 'not-found') throw new ApiProblem(404, 'no study of this UID has verdicts')
        if (study.outcome === 'withheld')
          throw new ApiProblem(409, `the study is withheld, since its pixels may name the patient: ${study.reason}`)
        await audit.record(done({ event: 'export', study: uid, detail: { deidentified: true, to: 'data set' } }))
        await sendDatasetStudy(res, study)
        return undefined
      },
    }),
    operation({
      method: 'get',
      path: '/shadows',
      permission: 'reports:read',
      tag,
      summary: 'How shadows compare with what was delivered',
      answer: z.array(shadowReport),
      handle: () => shadowReports(database, context.endpoints.routes),
    }),
    operation({
      method: 'get',
      path: '/shadows/{route}/{provider}/disagreements',
      permission: 'reports:read',
      tag,
      summary: 'Studies in which a shadow and what was delivered differ in a lesion, the latest first',
      params: z.object({ route: z.string(), provider: z.string() }),
      answer: z.array(z.object({ studyInstanceUid: z.string(), onlyDelivered: count, onlyShadow: count })),
      handle: ({ params }) => shadowDisagreements(database, params.route, params.provider),
    }),
    operation({
      method: 'get',
      path: '/canaries',
      permission: 'reports:read',
      tag,
      summary: 'Canaries: their share now, and every change of it with the numbers it was decided by',
      answer: z.array(canary),
      handle: () => listCanaries(database, context.endpoints.routes),
    }),
    operation({
      method: 'post',
      path: '/canaries/{route}',
      permission: 'canaries:control',
      tag,
      summary: 'Steers a canary: rollback takes its share to 0 at once',
      params: z.object({ route: z.string() }),
      body: canaryAction,
      answer: z.object({ percent: z.number() }),
      problems: { 404: 'no route of this name has a canary' },
      async handle({ params, body, done }) {
        const route = context.endpoints.routes.find(entry => entry.name === params.route)
        const action: CanaryAction = body
        let told = () => {}
        const percent = await transaction(database, async tx => {
          const changed = await steerCanary(tx, route, action, log)
          if (changed !== undefined)
            told = await audit.recordIn(
              tx,
              done({ event: 'operated', detail: { what: 'canary', route: params.route, ...action } }),
            )
          return changed
        })
        if (percent === undefined) throw new ApiProblem(404, 'no route of this name has a canary')
        told()
        return { percent }
      },
    }),
  ]
}

function asMarkdown(text: string): Reply {
  return new Reply(200, text, { 'Content-Type': 'text/markdown; charset=utf-8' })
}

/** A month, `2026-11`, or so many days up to now, 30 if nothing is said; UTC. */
function periodOf(query: { month?: string | undefined; days?: number | undefined }): Period {
  if (query.month !== undefined) {
    const [year, month] = query.month.split('-').map(Number) as [number, number]
    return { from: new Date(Date.UTC(year, month - 1, 1)), to: new Date(Date.UTC(year, month, 1)) }
  }
  const to = new Date()
  return { from: new Date(to.getTime() - (query.days ?? 30) * 86_400_000), to }
}

const nameOf = ({ from, to }: Period) => `${from.toISOString().slice(0, 10)} to ${to.toISOString().slice(0, 10)}`
