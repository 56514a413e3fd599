import { json, type Request, type Response, Router } from 'express'
import { z } from 'zod'
import {
  type CanaryAction,
  chooseRoute,
  datasetStudy,
  labelledStudies,
  listCanaries,
  type PipelineContext,
  type RetryOutcome,
  readTraits,
  retryDelivery,
  retryStudy,
  shadowReports,
  steerCanary,
} from '../pipeline/index.js'
import { type Database, transaction } from '../platform/database.js'
import { sendDatasetStudy } from './dataset.js'
import { testEndpoint } from './endpointTest.js'
import { budgetReports, type Period, providerReportMarkdown, providerReports } from './providerReport.js'
import { alarmsMarkdown, driftAlarms, qualityReports } from './quality.js'
import { findStudy, howFar, listDeliveries, listStudies, studyStates } from './queries.js'
import { giveVerdict, verdictSchema } from './verdicts.js'

/** The admin REST API. Answers hold study UIDs and states, no patient data. */
export function adminRouter(context: PipelineContext): Router {
  const { database, endpoints, log } = context
  const { routes } = endpoints
  const router = Router()
  router.use(json({ limit: '64kb' }))

  router.get('/studies', async (req, res) => {
    const state = text(req.query.state)
    if (state && !studyStates.includes(state))
      return problem(res, 400, `state: expected one of ${studyStates.join(', ')}`)
    const limit = natural(req.query.limit, 100)
    if (limit === undefined || limit > 1000) return problem(res, 400, 'limit: expected a whole number up to 1000')
    res.json(await listStudies(database, state, limit))
  })

  router.get('/studies/:uid', async (req, res) => {
    const study = await findStudy(database, req.params.uid)
    if (!study) return problem(res, 404, 'no study of this UID was received')
    res.json(study)
  })

  router.get('/studies/:uid/events', async (req, res) => streamEvents(database, req.params.uid, req, res))

  router.post('/studies/:uid/retry', async (req, res) => answerRetry(res, await retryStudy(database, req.params.uid)))

  // A dry run: nothing of the study changes.
  router.get('/studies/:uid/route', async (req, res) => {
    if (!(await findStudy(database, req.params.uid))) return problem(res, 404, 'no study of this UID was received')
    const { explanation, ...choice } = chooseRoute(routes, await readTraits(database, req.params.uid))
    res.json({ route: 'route' in choice ? choice.route.name : null, explanation })
  })

  // Really tests: name, connection, TLS, and whether what is there understands us.
  router.post('/endpoints/:name/test', async (req, res) => {
    const test = await testEndpoint(req.params.name, endpoints, context.echo)
    if (!test) return problem(res, 404, 'no destination or provider bears this name')
    res.json(test)
  })

  router.get('/deliveries', async (req, res) => {
    const state = text(req.query.state)
    if (state && !['pending', 'stored', 'delivered', 'dead'].includes(state))
      return problem(res, 400, 'state: expected pending, stored, delivered or dead')
    res.json(await listDeliveries(database, state))
  })

  router.post('/deliveries/:id/retry', async (req, res) => {
    const id = natural(req.params.id)
    if (id === undefined) return problem(res, 400, 'the delivery is named by a number')
    answerRetry(res, await retryDelivery(database, id))
  })

  router.post('/studies/:uid/verdicts', async (req, res) => {
    const parsed = verdictSchema.safeParse(req.body)
    if (!parsed.success)
      return problem(
        res,
        400,
        'expected {"trackingUid": "…", "verdict": "true-positive" | "false-positive"} or {"verdict": "missed"}',
      )
    const trackingUid = await giveVerdict(database, req.params.uid, parsed.data)
    if (!trackingUid) return problem(res, 404, 'no finding of this tracking UID was reported for a study of this UID')
    res.status(201).json({ trackingUid })
  })

  router.get('/providers/report', async (req, res) => {
    const period = periodOf(req.query)
    if (typeof period === 'string') return problem(res, 400, period)
    const markdown = req.query.format === 'markdown'
    if (req.query.changedAt === undefined) {
      const reports = await providerReports(database, period, endpoints.providers)
      if (markdown)
        res
          .type('text/markdown')
          .send(providerReportMarkdown(reports, nameOf(period)) + alarmsMarkdown(await driftAlarms(database)))
      else res.json(reports)
      return
    }
    // As many days before a change of provider as after it.
    const changedAt = new Date(`${text(req.query.changedAt)}T00:00:00Z`)
    if (Number.isNaN(changedAt.getTime())) return problem(res, 400, 'changedAt: expected a day, YYYY-MM-DD')
    const length = period.to.getTime() - period.from.getTime()
    const [earlier, later] = [
      { from: new Date(changedAt.getTime() - length), to: changedAt },
      { from: changedAt, to: new Date(changedAt.getTime() + length) },
    ]
    const [before, after] = await Promise.all(
      [earlier, later].map(part => providerReports(database, part, endpoints.providers)),
    )
    if (markdown)
      res
        .type('text/markdown')
        .send(
          [
            providerReportMarkdown(before!, `before the change: ${nameOf(earlier)}`),
            providerReportMarkdown(after!, `after the change: ${nameOf(later)}`),
          ].join('\n'),
        )
    else res.json({ before, after })
  })

  router.get(
    '/providers/budgets',
    async (_req, res) => void res.json(await budgetReports(database, endpoints.providers)),
  )

  router.get('/quality', async (req, res) => {
    const period = periodOf(req.query)
    if (typeof period === 'string') return problem(res, 400, period)
    res.json(await qualityReports(database, period))
  })

  router.get('/quality/alarms', async (_req, res) => void res.json(await driftAlarms(database)))

  router.get('/dataset', async (req, res) => {
    const days = natural(req.query.days, 365)
    if (!days || days > 36_600) return problem(res, 400, 'days: expected a whole number from 1')
    res.json(await labelledStudies(database, days))
  })

  router.get('/dataset/:uid', async (req, res) => {
    const study = await datasetStudy(req.params.uid, context)
    if (study.outcome === 'not-found') return problem(res, 404, 'no study of this UID has verdicts')
    if (study.outcome === 'withheld')
      return problem(res, 409, `the study is withheld, since its pixels may name the patient: ${study.reason}`)
    await sendDatasetStudy(res, study)
  })

  router.get('/shadows', async (_req, res) => void res.json(await shadowReports(database, routes)))

  router.get('/canaries', async (_req, res) => void res.json(await listCanaries(database, routes)))

  router.post('/canaries/:route', async (req, res) => {
    const parsed = canaryAction.safeParse(req.body)
    if (!parsed.success)
      return problem(
        res,
        400,
        'expected {"action": "freeze" | "resume" | "rollback"} or {"action": "set", "percent": 0 to 100}',
      )
    const route = routes.find(entry => entry.name === req.params.route)
    const action: CanaryAction = parsed.data
    const percent = await transaction(database, tx => steerCanary(tx, route, action, log))
    if (percent === undefined) return problem(res, 404, 'no route of this name has a canary')
    res.json({ percent })
  })

  router.use((_req, res) => problem(res, 404, 'there is no such resource'))
  return router
}

/** A month, `2026-11`, or so many days up to now, 30 if nothing is said; UTC. @returns what is wrong, in words */
function periodOf(query: Request['query']): Period | string {
  if (query.month !== undefined) {
    const parts = /^(\d{4})-(\d\d)$/.exec(text(query.month) ?? '')
    if (!parts || Number(parts[2]) < 1 || Number(parts[2]) > 12) return 'month: expected a month, YYYY-MM'
    const [year, month] = [Number(parts[1]), Number(parts[2])]
    return { from: new Date(Date.UTC(year, month - 1, 1)), to: new Date(Date.UTC(year, month, 1)) }
  }
  const days = natural(query.days, 30)
  if (!days || days > 3660) return 'days: expected a whole number from 1'
  const to = new Date()
  return { from: new Date(to.getTime() - days * 86_400_000), to }
}

const nameOf = ({ from, to }: Period) => `${from.toISOString().slice(0, 10)} to ${to.toISOString().slice(0, 10)}`

const canaryAction = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('freeze') }),
  z.strictObject({ action: z.literal('resume') }),
  z.strictObject({ action: z.literal('rollback') }),
  z.strictObject({ action: z.literal('set'), percent: z.number().min(0).max(100) }),
])

function answerRetry(res: Response, outcome: RetryOutcome): void {
  if (outcome === 'not-found') problem(res, 404, 'there is nothing of this name')
  else if (outcome === 'not-failed') problem(res, 409, 'it has not failed, so there is nothing to take up again')
  else res.status(202).json({ state: 'queued' })
}

const eventPollMilliseconds = 100
const finalStates = ['completed', 'failed', 'ignored']

/** Server-sent events: each entry of the timeline as it is written, until the study has reached its end. */
async function streamEvents(database: Database, uid: string, req: Request, res: Response): Promise<void> {
  if (!(await findStudy(database, uid))) return problem(res, 404, 'no study of this UID was received')
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  let last = Number(req.headers['last-event-id'] ?? 0) || 0
  let gone = false
  let shown = 'null'
  res.on('close', () => (gone = true))
  while (!gone) {
    const { rows } = await database.query<{ id: number; revision: number; kind: string; detail: object; at: Date }>(
      'select id, revision, kind, detail, at from study_event where study_instance_uid = $1 and id > $2 order by id',
      [uid, last],
    )
    for (const { id, ...event } of rows) {
      res.write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`)
      last = id
    }
    const now = await howFar(database, uid)
    const progress = JSON.stringify(now?.progress ?? null)
    if (progress !== shown && progress !== 'null') res.write(`event: progress\ndata: ${progress}\n\n`)
    shown = progress
    if (!now || finalStates.includes(now.state)) break
    await new Promise(resolve => setTimeout(resolve, eventPollMilliseconds))
  }
  res.end()
}

function problem(res: Response, status: number, detail: string): void {
  const titles: Readonly<Record<number, string>> = { 400: 'Bad Request', 404: 'Not Found', 409: 'Conflict' }
  res
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title: titles[status], status, detail }))
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function natural(value: unknown, fallback?: number): number | undefined {
  if (value === undefined) return fallback
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined
}
