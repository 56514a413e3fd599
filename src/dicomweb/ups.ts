import type { Request, Response } from 'express'
import {
  dateTime,
  findWorkitem,
  insertWorkitem,
  isWatched,
  searchWorkitems,
  subscribe,
  subscribeFiltered,
  suspend,
  tell,
  unsubscribe,
  updateWorkitem,
  type Workitem,
  type WorkitemMatch,
  type WorkitemState,
  watched,
  workitemEvent,
  workitemSopClass,
} from '../archive/index.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { tagOf } from '../dicom/dictionary.js'
import { fromNativeXml, XmlProblem } from '../dicom/nativeXml.js'
import { isValidUid, randomUid } from '../dicom/uid.js'
import { type Database, transaction } from '../platform/database.js'
import { formOfDatasets, sendDatasets } from './datasets.js'
import { parseMediaType } from './mediaType.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'

/** Why a request about a workitem is not carried out: the status, and words for whoever sent it. */
class WorkitemProblem extends Error {
  constructor(
    readonly status: 400 | 404 | 409 | 415,
    message: string,
    /** Value of a Warning header (PS3.18 11). */
    readonly warning?: string,
  ) {
    super(message)
  }
}

const titles = { 400: 'Bad Request', 404: 'Not Found', 409: 'Conflict', 415: 'Unsupported Media Type' } as const
const maxBodyBytes = 4 * 1024 * 1024
const maxResults = 1000
/** UIDs that stand for all workitems, and for those that a filter chooses (PS3.4 CC.2.3). */
const globalSubscriptions: Readonly<Record<string, string>> = {
  '1.2.840.10008.5.1.4.34.5': watched.all,
  '1.2.840.10008.5.1.4.34.5.1': watched.filtered,
}

type Handler = (req: Request, res: Response) => Promise<void>

/** The Worklist Service (PS3.18 chapter 11, UPS-RS) on the workitems of the database. */
export function workitemHandlers(
  database: Database,
): Record<
  | 'create'
  | 'search'
  | 'retrieve'
  | 'update'
  | 'changeState'
  | 'requestCancel'
  | 'subscribe'
  | 'unsubscribe'
  | 'suspend',
  Handler
> {
  return {
    create: answering(async (req, res) => {
      const dataset = await readDataset(req)
      const asked = uidInQuery(req) ?? textOf(dataset, '00080018')
      if (asked !== undefined && !isValidUid(asked)) throw new WorkitemProblem(400, 'the UID of the workitem is no UID')
      const uid = asked ?? randomUid()
      if (textOf(dataset, '00741000') !== 'SCHEDULED')
        throw new WorkitemProblem(400, 'Procedure Step State (0074,1000) of a new workitem has to be SCHEDULED')
      if (dataset['00081195']?.Value?.length) throw new WorkitemProblem(400, 'a new workitem has no Transaction UID')
      const created = await insertWorkitem(database, uid, withDefaults(dataset, uid))
      if (!created) throw new WorkitemProblem(409, 'there is a workitem of this UID')
      res
        .status(201)
        .location(`${baseUrl(req)}/workitems/${uid}`)
        .end()
    }),
    search: answering(async (req, res) => {
      const form = formOfDatasets(req, res)
      if (!form) return
      const { matches, limit, offset } = readQuery(req)
      const found = await searchWorkitems(database, matches, limit, offset)
      sendDatasets(res, found.map(withoutTransaction), form)
    }),
    retrieve: answering(async (req, res) => {
      const form = formOfDatasets(req, res)
      if (form) sendDatasets(res, [withoutTransaction((await mustFind(database, req)).dataset)], form)
    }),
    update: answering(async (req, res) => {
      const changes = await readDataset(req)
      await transaction(database, async tx => {
        const workitem = await mustFind(tx, req, true)
        if (workitem.state === 'COMPLETED' || workitem.state === 'CANCELED')
          throw new WorkitemProblem(409, `the workitem is ${workitem.state}, and no longer changed`, 'C300')
        const given = textOf(changes, '00081195') ?? uidInQuery(req)
        if (workitem.state === 'IN PROGRESS') mustOwn(workitem, given)
        else if (workitem.isOurs) throw new WorkitemProblem(409, 'the workitem is performed by Radbridge itself')
        // UIDs and the state are not content: they have transactions of their own.
        const { '00080016': _1, '00080018': _2, '00081195': _3, '00741000': _4, ...content } = changes
        await updateWorkitem(tx, workitem, content)
      })
      res.status(200).end()
    }),
    changeState: answering(async (req, res) => {
      const asked = await readDataset(req)
      const next = textOf(asked, '00741000') as WorkitemState | undefined
      const given = textOf(asked, '00081195')
      if (!next || !['IN PROGRESS', 'COMPLETED', 'CANCELED'].includes(next))
        throw new WorkitemProblem(400, 'Procedure Step State (0074,1000) has to be IN PROGRESS, COMPLETED or CANCELED')
      if (!given || !isValidUid(given)) throw new WorkitemProblem(400, 'a Transaction UID (0008,1195) is needed')
      await transaction(database, async tx => {
        const workitem = await mustFind(tx, req, true)
        const changes = changesFor(workitem, next, given)
        if (changes === 'already') {
          res.set('Warning', `299 radbridge "The UPS is already in the requested state of ${next}."`)
          return
        }
        await updateWorkitem(tx, workitem, changes, { state: next, transactionUid: given })
      })
      res.status(200).end()
    }),
    requestCancel: answering(async (req, res) => {
      const reason = req.headers['content-length'] === '0' || !req.headers['content-type'] ? {} : await readDataset(req)
      await transaction(database, async tx => {
        const workitem = await mustFind(tx, req, true)
        if (workitem.state === 'COMPLETED') throw new WorkitemProblem(409, 'the workitem is COMPLETED', 'C311')
        if (workitem.state === 'CANCELED')
          throw new WorkitemProblem(
            409,
            'the workitem is CANCELED already',
            'The UPS is already in the requested state of CANCELED.',
          )
        if (workitem.isOurs) throw new WorkitemProblem(409, 'Radbridge finishes the analyses that it has begun', 'C313')
        if (workitem.state === 'SCHEDULED') {
          await updateWorkitem(tx, workitem, canceled(reason), { state: 'CANCELED' })
          return
        }
        const content = { ...(reason['00741238'] ? { '00741238': reason['00741238'] } : {}) }
        await tell(tx, workitem.uid, workitemEvent.cancelRequested, content)
      })
      res.status(202).end()
    }),
    subscribe: answering(async (req, res) => {
      const { aeTitle, uid } = await subscriberOf(database, req)
      const lock = /^(true|1|)$/i.test(String(req.query.deletionlock ?? 'false'))
      if (uid === watched.filtered) {
        const filter = filterOf(req)
        await transaction(database, tx => subscribeFiltered(tx, aeTitle, filter, lock))
      } else await subscribe(database, aeTitle, uid, lock)
      const socket = `${baseUrl(req).replace(/^http/, 'ws')}/subscribers/${encodeURIComponent(aeTitle)}`
      res.status(201).set('Content-Location', socket).end()
    }),
    unsubscribe: answering(async (req, res) => {
      const { aeTitle, uid } = await subscriberOf(database, req)
      await unsubscribe(database, aeTitle, uid)
      res.status(200).end()
    }),
    suspend: answering(async (req, res) => {
      const { aeTitle, uid } = await subscriberOf(database, req)
      if (!isWatched(uid))
        throw new WorkitemProblem(400, 'only a subscription to all or filtered workitems is suspended')
      await suspend(database, aeTitle, uid)
      res.status(200).end()
    }),
  }
}

/** Turns what went wrong into an answer, in one place. */
function answering(work: Handler): Handler {
  return async (req, res) => {
    try {
      await work(req, res)
    } catch (error) {
      if (!(error instanceof WorkitemProblem)) throw error
      const { status, message, warning } = error
      sendProblem(res, {
        status,
        title: titles[status],
        detail: message,
        ...(warning ? { headers: { Warning: `299 radbridge "${warning}"` } } : {}),
      })
    }
  }
}

async function mustFind(db: Parameters<typeof findWorkitem>[0], req: Request, lock = false): Promise<Workitem> {
  const workitem = await findWorkitem(db, String(req.params.workitem), lock)
  if (!workitem) throw new WorkitemProblem(404, 'there is no workitem of this UID', 'C307')
  return workitem
}

/** PS3.4 table CC.1.1-2. @returns what changes with the state, or that there is nothing to be done */
function changesFor(workitem: Workitem, next: WorkitemState, given: string): DicomJson | 'already' {
  const { state, isOurs, transactionUid, dataset } = workitem
  if (isOurs) throw new WorkitemProblem(409, 'the workitem is performed by Radbridge itself', 'C302')
  if (state === 'COMPLETED' || state === 'CANCELED') {
    if (next === state && transactionUid === given) return 'already'
    throw new WorkitemProblem(409, `the workitem is ${state}, and no longer changed`, 'C300')
  }
  if (next === 'IN PROGRESS') {
    if (state === 'IN PROGRESS') throw new WorkitemProblem(409, 'the workitem has been claimed', 'C302')
    return { '00081195': { vr: 'UI', Value: [given] } }
  }
  if (state === 'SCHEDULED')
    throw new WorkitemProblem(409, 'the workitem has not been claimed: it is not yet IN PROGRESS', 'C310')
  mustOwn(workitem, given)
  if (next === 'CANCELED') return canceled(dataset)
  const [procedure] = (dataset['00741216']?.Value ?? []) as DicomJson[]
  if (!procedure?.['00404050'] || !procedure['00404051'])
    throw new WorkitemProblem(
      409,
      'before it is COMPLETED it needs a UPS Performed Procedure Sequence (0074,1216) with start and end',
      'C304',
    )
  return {}
}

function mustOwn({ isOurs, transactionUid }: Workitem, given: string | undefined): void {
  if (isOurs) throw new WorkitemProblem(409, 'the workitem is performed by Radbridge itself')
  if (given !== transactionUid)
    throw new WorkitemProblem(409, 'the Transaction UID is not that of the one who has claimed the workitem', 'C301')
}

function canceled(reason: DicomJson): DicomJson {
  const [known] = (reason['00741002']?.Value ?? []) as DicomJson[]
  const item: DicomJson = {
    ...known,
    '00404052': known?.['00404052'] ?? { vr: 'DT', Value: [dateTime()] },
    ...(reason['00741238'] ? { '00741238': reason['00741238'] } : {}),
  }
  return { '00741002': { vr: 'SQ', Value: [item] } }
}

function withDefaults(dataset: DicomJson, uid: string): DicomJson {
  return {
    '00404005': { vr: 'DT', Value: [dateTime()] },
    '00404041': { vr: 'CS', Value: ['READY'] },
    '00741200': { vr: 'CS', Value: ['MEDIUM'] },
    ...dataset,
    '00080016': { vr: 'UI', Value: [workitemSopClass] },
    '00080018': { vr: 'UI', Value: [uid] },
  }
}

/** The Transaction UID is a secret between the performer and us (PS3.4 CC.2.1.2). */
function withoutTransaction({ '00081195': _, ...dataset }: DicomJson): DicomJson {
  return dataset
}

/** `/workitems?1.2.3`, as the standard writes it, or `?workitem=1.2.3`. */
function uidInQuery(req: Request): string | undefined {
  const query = req.url.split('?')[1]
  if (!query) return undefined
  const parameters = new URLSearchParams(query)
  const named = parameters.get('workitem') ?? parameters.get('transaction-uid') ?? parameters.get('transaction')
  return named ?? (/^[0-9.]+$/.test(query) ? query : undefined)
}

/** @throws WorkitemProblem */
async function readDataset(req: Request): Promise<DicomJson> {
  const type = parseMediaType(req.headers['content-type'] ?? '')?.type
  const isXml = type === 'application/dicom+xml'
  if (!isXml && type !== 'application/dicom+json' && type !== 'application/json')
    throw new WorkitemProblem(415, 'expected application/dicom+json or application/dicom+xml')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of req) {
    length += (chunk as Buffer).length
    if (length > maxBodyBytes) throw new WorkitemProblem(400, `the data set is longer than ${maxBodyBytes} bytes`)
    chunks.push(chunk as Buffer)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  try {
    const parsed: unknown = isXml ? fromNativeXml(text) : JSON.parse(text)
    const dataset = Array.isArray(parsed) ? parsed[0] : parsed
    if (typeof dataset === 'object' && dataset !== null) return dataset as DicomJson
  } catch (error) {
    if (error instanceof XmlProblem) throw new WorkitemProblem(400, error.message)
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new WorkitemProblem(400, 'the body is no data set in the DICOM JSON Model')
}

function readQuery(req: Request) {
  const query = { matches: [] as { tag: string; value: string }[], limit: maxResults, offset: 0 }
  for (const [name, value] of new URLSearchParams(req.url.split('?')[1] ?? '')) {
    if (name === 'limit' || name === 'offset') {
      if (!/^\d{1,9}$/.test(value)) throw new WorkitemProblem(400, `${name}: expected a whole number from 0 on`)
      query[name] = name === 'limit' ? Math.min(Number(value), maxResults) : Number(value)
    } else if (name !== 'includefield' && name !== 'fuzzymatching' && value !== '') {
      const tag = /^[0-9A-Fa-f]{8}$/.test(name) ? name.toUpperCase() : tagOf(name)
      if (tag) query.matches.push({ tag, value })
    }
  }
  return query
}

async function subscriberOf(database: Database, req: Request): Promise<{ aeTitle: string; uid: string }> {
  const aeTitle = String(req.params.subscriber)
  if (!/^[\x20-\x5b\x5d-\x7e]{1,16}$/.test(aeTitle)) throw new WorkitemProblem(400, 'the subscriber is no AE title')
  const uid = String(req.params.workitem)
  const watches = globalSubscriptions[uid]
  if (watches !== undefined) return { aeTitle, uid: watches }
  await mustFind(database, req)
  return { aeTitle, uid }
}

/** `?filter=00741204=Read again,PatientID=4711`: top-level attributes, by tag or keyword. @throws WorkitemProblem */
function filterOf(req: Request): WorkitemMatch[] {
  const text = new URLSearchParams(req.url.split('?')[1] ?? '').get('filter')
  if (!text) throw new WorkitemProblem(400, 'a filtered subscription needs a filter: ?filter=ATTRIBUTE=VALUE,…')
  return text.split(',').map(part => {
    const [name, value] = [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]
    const tag = /^[0-9A-Fa-f]{8}$/.test(name) ? name.toUpperCase() : tagOf(name)
    if (!part.includes('=') || !tag || value === '')
      throw new WorkitemProblem(
        400,
        'filter: expected ATTRIBUTE=VALUE, with a tag (00741204) or a keyword of the standard',
      )
    return { tag, value }
  })
}
