import type { Request, Response } from 'express'
import { z } from 'zod'
import {
  analyzeAgain,
  cancelStudy,
  chooseRoute,
  deleteStudy,
  deliverAgain,
  type OperationOutcome,
  type RetryOutcome,
  readTraits,
  retryDelivery,
  retryStudy,
} from '../../pipeline/index.js'
import type { Database } from '../../platform/database.js'
import { openStream } from '../eventStream.js'
import { type Operation, operation } from '../operation.js'
import { ApiProblem } from '../problem.js'
import {
  deliveriesSchema,
  deliveryStates,
  findStudy,
  howFar,
  listDeliveries,
  listRefusals,
  listStudies,
  refusalsSchema,
  studyDetailSchema,
  studyStates,
  studySummarySchema,
} from '../queries.js'
import { giveVerdict, verdictSchema } from '../verdicts.js'
import { type AdminContext, flag, limit, noSuchStudy, routeExplanation, state, studyParams } from './common.js'

const notFound = { 404: 'no study of this UID was received' }
const notNow = { ...notFound, 409: 'its state does not allow it' }
const tag = 'studies'
const time = z.coerce.date('expected a time, 2026-11-25T12:00:00Z')
const search = {
  state: z.enum(studyStates, `expected one of ${studyStates.join(', ')}`).optional(),
  modality: z.string().max(16).optional(),
  before: time.optional().describe('received before'),
  after: time.optional().describe('received at or after'),
  limit,
}

export function studyOperations(context: AdminContext): Operation[] {
  const { database, audit } = context
  /** Does what changes a study, and keeps who did it. */
  const operate = (
    path: string,
    summary: string,
    what: string,
    work: (study: string, by: string) => Promise<OperationOutcome>,
  ) =>
    operation({
      method: 'post',
      path: `/studies/{uid}/${path}`,
      permission: 'studies:operate',
      tag,
      summary,
      params: studyParams,
      status: 202,
      answer: state,
      problems: notNow,
      async handle({ params: { uid }, caller, done }) {
        const outcome = await work(uid, caller.name)
        if (outcome === 'not-found') throw noSuchStudy()
        if (outcome === 'not-now') throw new ApiProblem(409, 'the state of the study does not allow it')
        await audit.record(done({ event: 'operated', study: uid, detail: { what } }))
        return { state: 'queued' }
      },
    })
  return [
    operation({
      method: 'get',
      path: '/studies',
      permission: 'studies:read',
      tag,
      summary: 'Studies by the time of their first instance, the latest first',
      query: z.strictObject(search),
      answer: z.array(studySummarySchema),
      handle: ({ query }) => listStudies(database, query),
    }),
    operation({
      method: 'post',
      path: '/studies/search',
      permission: 'studies:read',
      tag,
      summary:
        'Searches studies; by patient, and with patient data in the answer, for those with images:read. In a body, since names of patients do not belong into URLs',
      body: z.strictObject({
        ...search,
        text: z
          .string()
          .max(64)
          .optional()
          .describe('beginning of a name, Patient ID, Accession Number or Study Instance UID'),
      }),
      answer: z.array(studySummarySchema),
      async handle({ body, caller, done }) {
        const withPatient = caller.permissions.has('images:read')
        if (withPatient && body.text) audit.note(done({ event: 'query', detail: { by: 'console' } }))
        return listStudies(database, body, withPatient)
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}',
      permission: 'studies:read',
      tag,
      summary: 'State, timeline, analyses, results and deliveries of a study',
      params: studyParams,
      query: z.strictObject({
        patient: flag.describe('with patient data in the answer, for those with images:read'),
      }),
      answer: studyDetailSchema,
      problems: notFound,
      async handle({ params, query, caller, done }) {
        const withPatient = query.patient && caller.permissions.has('images:read')
        const study = await findStudy(database, params.uid, withPatient)
        if (!study) throw noSuchStudy()
        if (withPatient) audit.tally(done({ event: 'instances-accessed', study: params.uid }))
        return study
      },
    }),
    operation({
      method: 'delete',
      path: '/studies/{uid}',
      permission: 'studies:delete',
      tag,
      summary: 'Deletes a study with its images and results; what destinations have stays there',
      params: studyParams,
      status: 204,
      problems: notNow,
      async handle({ params: { uid }, done }) {
        const outcome = await deleteStudy(uid, done({ event: 'study-deleted', study: uid }), context)
        if (outcome === 'not-found') throw noSuchStudy()
        if (outcome === 'not-now') throw new ApiProblem(409, 'work on the study is under way: cancel it first')
        return ''
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}/events',
      permission: 'studies:read',
      tag,
      summary: 'The timeline as server-sent events, until the study has reached its end',
      params: studyParams,
      answer: { mediaType: 'text/event-stream' },
      problems: notFound,
      async handle({ params, req, res }) {
        if (!(await findStudy(database, params.uid))) throw noSuchStudy()
        await streamEvents(database, params.uid, req, res)
        return undefined
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}/route',
      permission: 'studies:read',
      tag,
      summary: 'Which route the study would take now, and why; nothing of the study changes',
      params: studyParams,
      answer: z.object({ route: z.string().nullable(), explanation: z.array(routeExplanation) }),
      problems: notFound,
      async handle({ params: { uid } }) {
        if (!(await findStudy(database, uid))) throw noSuchStudy()
        const { explanation, ...choice } = chooseRoute(context.endpoints.routes, await readTraits(database, uid))
        return { route: 'route' in choice ? choice.route.name : null, explanation }
      },
    }),
    operate('retry', 'Takes a failed study up where it failed', 'study retried', async uid =>
      asOutcome(await retryStudy(database, uid)),
    ),
    operate('analyze', 'Analyses the study again, as a new revision', 'study analysed again', (uid, by) =>
      analyzeAgain(uid, by, context),
    ),
    operate('deliver', 'Delivers the results of the newest revision once more', 'results delivered again', (uid, by) =>
      deliverAgain(uid, by, context),
    ),
    operate('cancel', 'Ends what is under way with the study', 'study cancelled', (uid, by) =>
      cancelStudy(uid, by, context),
    ),
    operation({
      method: 'post',
      path: '/studies/{uid}/verdicts',
      permission: 'findings:judge',
      tag,
      summary: 'What a radiologist says of a finding, or that something was missed',
      params: studyParams,
      body: verdictSchema,
      status: 201,
      answer: z.object({ trackingUid: z.string() }),
      problems: { 404: 'no such finding' },
      async handle({ params: { uid }, body, done }) {
        const trackingUid = await giveVerdict(database, uid, body)
        if (!trackingUid)
          throw new ApiProblem(404, 'no finding of this tracking UID was reported for a study of this UID')
        await audit.record(done({ event: 'operated', study: uid, detail: { what: `verdict ${body.verdict}` } }))
        return { trackingUid }
      },
    }),
    operation({
      method: 'get',
      path: '/refusals',
      permission: 'studies:read',
      tag,
      summary: 'Instances that were refused, and why; the latest first',
      query: z.strictObject({ study: studyParams.shape.uid.optional(), limit }),
      answer: refusalsSchema,
      handle: ({ query }) => listRefusals(database, query),
    }),
    operation({
      method: 'get',
      path: '/deliveries',
      permission: 'studies:read',
      tag,
      summary: 'Deliveries, the latest first; `dead` ones are given up until they are retried',
      query: z.strictObject({
        state: z.enum(deliveryStates, 'expected pending, stored, delivered or dead').optional(),
      }),
      answer: deliveriesSchema,
      handle: ({ query }) => listDeliveries(database, query.state),
    }),
    operation({
      method: 'post',
      path: '/deliveries/{id}/retry',
      permission: 'studies:operate',
      tag,
      summary: 'Takes a dead delivery up again',
      params: z.object({ id: z.coerce.number('the delivery is named by a number').int().min(0) }),
      status: 202,
      answer: state,
      problems: { 404: 'no such delivery', 409: 'it has not failed' },
      async handle({ params: { id }, done }) {
        const outcome = asOutcome(await retryDelivery(database, id))
        if (outcome === 'not-found') throw new ApiProblem(404, 'there is nothing of this name')
        if (outcome === 'not-now') throw new ApiProblem(409, 'it has not failed, so there is nothing to take up again')
        await audit.record(done({ event: 'operated', detail: { what: 'delivery retried', delivery: id } }))
        return { state: 'queued' }
      },
    }),
  ]
}

const asOutcome = (outcome: RetryOutcome): OperationOutcome =>
  outcome === 'queued' ? 'done' : outcome === 'not-failed' ? 'not-now' : 'not-found'

const eventPollMilliseconds = 100
const finalStates = ['completed', 'failed', 'ignored']

/** Server-sent events: each entry of the timeline as it is written, until the study has reached its end. */
async function streamEvents(database: Database, uid: string, req: Request, res: Response): Promise<void> {
  const stream = openStream(res)
  let last = Number(req.headers['last-event-id'] ?? 0) || 0
  let shown = 'null'
  while (stream.isOpen()) {
    const { rows } = await database.query<{ id: number; revision: number; kind: string; detail: object; at: Date }>(
      'select id, revision, kind, detail, at from study_event where study_instance_uid = $1 and id > $2 order by id',
      [uid, last],
    )
    for (const { id, ...event } of rows) {
      stream.say(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`)
      last = id
    }
    const now = await howFar(database, uid)
    const progress = JSON.stringify(now?.progress ?? null)
    if (progress !== shown && progress !== 'null') stream.say(`event: progress\ndata: ${progress}\n\n`)
    shown = progress
    if (!now || finalStates.includes(now.state)) break
    await new Promise(resolve => setTimeout(resolve, eventPollMilliseconds))
  }
  stream.end()
}
