import type { DicomJson, DicomJsonElement } from '../dicom/dicomJson.js'
import { deriveUid } from '../dicom/uid.js'
import type { Queryable } from '../platform/database.js'
import { toJsonb } from '../platform/jsonText.js'
import type { StudyState } from './studyState.js'

export type WorkitemState = 'SCHEDULED' | 'IN PROGRESS' | 'COMPLETED' | 'CANCELED'

/** A Unified Procedure Step (PS3.3 B.26.2). */
export interface Workitem {
  uid: string
  state: WorkitemState
  transactionUid: string | null
  dataset: DicomJson
  /** An analysis of ours, which nobody else may claim. */
  isOurs: boolean
}

const columns = `uid, state, transaction_uid "transactionUid", dataset, study_instance_uid is not null "isOurs"`

/** Unified Procedure Step - Push SOP Class (PS3.4 CC.3). */
export const workitemSopClass = '1.2.840.10008.5.1.4.34.6.1'
/** Event types of PS3.4 table CC.2.4-1. */
export const workitemEvent = { stateReport: 1, cancelRequested: 2, progressReport: 3, assigned: 5 } as const
/** Channel on which events are told to all nodes. */
export const workitemChannel = 'radbridge_workitem'

const ofVr = (vr: string, ...Value: string[]): DicomJsonElement => ({ vr, Value })
const sequence = (...Value: DicomJson[]): DicomJsonElement => ({ vr: 'SQ', Value })
const code = (value: string, scheme: string, meaning: string): DicomJson => ({
  '00080100': ofVr('SH', value),
  '00080102': ofVr('SH', scheme),
  '00080104': ofVr('LO', meaning),
})

/** Now, as DT in UTC. */
export function dateTime(moment = new Date()): string {
  return `${moment
    .toISOString()
    .replace(/[-:TZ]/g, '')
    .slice(0, 18)}+0000`
}

/** @param lock true: held against changes until the transaction ends */
export async function findWorkitem(db: Queryable, uid: string, lock = false): Promise<Workitem | undefined> {
  const { rows } = await db.query<Workitem>(
    `select ${columns} from workitem where uid = $1 ${lock ? 'for update' : ''}`,
    [uid],
  )
  return rows[0]
}

/** @returns false if there is one of this UID */
export async function insertWorkitem(db: Queryable, uid: string, dataset: DicomJson): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into workitem (uid, state, dataset) values ($1, 'SCHEDULED', $2) on conflict do nothing`,
    [uid, toJsonb(dataset)],
  )
  if (rowCount === 0) return false
  await announce(db, uid, dataset)
  return true
}

/** Changes the content of a workitem, and its state, and tells those who watch it. */
export async function updateWorkitem(
  db: Queryable,
  { uid, dataset, state }: Workitem,
  changes: DicomJson,
  next: { state?: WorkitemState; transactionUid?: string } = {},
): Promise<void> {
  const changed: DicomJson = { ...dataset, ...changes, '00741000': ofVr('CS', next.state ?? state) }
  const progress = changes['00741002']
  const events = [
    ...(next.state && next.state !== state ? [eventOf(uid, workitemEvent.stateReport, stateOf(changed))] : []),
    ...(progress ? [eventOf(uid, workitemEvent.progressReport, { '00741002': progress })] : []),
  ]
  await db.query(
    `with changed as (
       update workitem set dataset = $4, state = $5, transaction_uid = coalesce($6, transaction_uid), changed_at = clock_timestamp() where uid = $2)
     ${notifySubscribers}`,
    [workitemChannel, uid, events, toJsonb(changed), next.state ?? state, next.transactionUid ?? null],
  )
}

const stateOf = (dataset: DicomJson): DicomJson => ({
  '00404041': dataset['00404041'] ?? ofVr('CS', 'READY'),
  '00741000': dataset['00741000'] ?? ofVr('CS', 'SCHEDULED'),
})

/** PostgreSQL takes notifications of up to 8,000 bytes. */
const maxEventBytes = 7000

/**
 * An event for all who subscribe to the workitem: an N-EVENT-REPORT as DICOM JSON (PS3.18 11.13). Sent when the transaction commits. Of an event that is too long only the kind is told: the
 * workitem has the rest.
 */
export async function tell(db: Queryable, uid: string, type: number, content: DicomJson): Promise<void> {
  await db.query(notifySubscribers, [workitemChannel, uid, [eventOf(uid, type, content)]])
}

function eventOf(uid: string, type: number, content: DicomJson): string {
  const kind = {
    '00000002': ofVr('UI', workitemSopClass),
    '00001000': ofVr('UI', uid),
    '00001002': { vr: 'US', Value: [type] },
  }
  const full = JSON.stringify({ ...kind, ...content })
  return Buffer.byteLength(full) > maxEventBytes ? JSON.stringify(kind) : full
}

/** $1 is the channel, $2 the UID of the workitem, $3 the events, in their order. */
const notifySubscribers = `
  select pg_notify($1, json_build_object('to', ae_title, 'event', event)::text)
    from (select distinct ae_title from workitem_subscription where uid in ($2, '')) subscriber,
         unnest($3::json[]) with ordinality o(event, n) order by n`

/** What a subscription is for besides a workitem, where its UID stands in the table. */
export const watched = { all: '', filtered: '?' } as const
type Watched = (typeof watched)[keyof typeof watched]

/** A new workitem is told to those who watch all of them, and to those whose filter it matches: they watch it from now on. */
async function announce(db: Queryable, uid: string, dataset: DicomJson): Promise<void> {
  const { rows } = await db.query<{ aeTitle: string; lock: boolean; filter: WorkitemMatch[] | null }>(
    `select ae_title "aeTitle", deletion_lock lock, filter from workitem_subscription where uid in ('${watched.all}', '${watched.filtered}')`,
  )
  for (const { aeTitle, lock, filter } of rows) await subscribeMatching(db, aeTitle, lock, filter ?? [], uid)
  if (rows.length > 0) await tell(db, uid, workitemEvent.stateReport, stateOf(dataset))
}

/** @param uid of a workitem; absent: of all that there are */
async function subscribeMatching(
  db: Queryable,
  aeTitle: string,
  lock: boolean,
  filter: readonly WorkitemMatch[],
  uid?: string,
): Promise<void> {
  const values: unknown[] = [aeTitle, lock]
  const bind = (value: unknown) => `$${values.push(value)}`
  const conditions = [...conditionsOf(filter, bind), ...(uid === undefined ? [] : [`uid = ${bind(uid)}`])]
  await db.query(
    `insert into workitem_subscription (ae_title, uid, deletion_lock)
     select $1, uid, $2 from workitem where ${conditions.join(' and ')} on conflict do nothing`,
    values,
  )
}

/** @param uid of a workitem, or `watched.all`, those to come too */
export async function subscribe(db: Queryable, aeTitle: string, uid: string, lock: boolean): Promise<void> {
  await db.query(
    `insert into workitem_subscription (ae_title, uid, deletion_lock) values ($1, $2, $3)
     on conflict (ae_title, uid) do update set deletion_lock = excluded.deletion_lock`,
    [aeTitle, uid, lock],
  )
}

/** Watches the workitems that match, and those to come that will (PS3.18 11.11, filtered worklist). */
export async function subscribeFiltered(
  db: Queryable,
  aeTitle: string,
  filter: readonly WorkitemMatch[],
  lock: boolean,
): Promise<void> {
  await db.query(
    `insert into workitem_subscription (ae_title, uid, deletion_lock, filter) values ($1, '${watched.filtered}', $2, $3)
     on conflict (ae_title, uid) do update set deletion_lock = excluded.deletion_lock, filter = excluded.filter`,
    [aeTitle, lock, JSON.stringify(filter)],
  )
  await subscribeMatching(db, aeTitle, lock, filter)
}

/** Of a workitem; of all or of filtered ones, and then of each. */
export async function unsubscribe(db: Queryable, aeTitle: string, uid: string): Promise<void> {
  if (isWatched(uid)) await db.query('delete from workitem_subscription where ae_title = $1', [aeTitle])
  else await db.query('delete from workitem_subscription where ae_title = $1 and uid = $2', [aeTitle, uid])
}

/** Only of what is to come: workitems that exist stay subscribed to. */
export async function suspend(db: Queryable, aeTitle: string, uid: Watched): Promise<void> {
  await db.query('delete from workitem_subscription where ae_title = $1 and uid = $2', [aeTitle, uid])
}

export const isWatched = (uid: string): uid is Watched => uid === watched.all || uid === watched.filtered

/** A condition of a search: the first value of an attribute is this one, or like it. */
export interface WorkitemMatch {
  tag: string
  /** With `*` and `?`; `from-to` of dates. */
  value: string
}

function conditionsOf(matches: readonly WorkitemMatch[], bind: (value: unknown) => string): string[] {
  return matches.map(({ tag, value }) => {
    const path = `dataset #>> array[${bind(tag)}, 'Value', '0']`
    const sql = `coalesce(dataset #>> array[${bind(tag)}, 'Value', '0', 'Alphabetic'], ${path})`
    const range = /^(\d{4,}[\d.+]*)?-(\d{4,}[\d.+]*)?$/.exec(value)
    if (range) {
      const bounds = [range[1] && `${sql} >= ${bind(range[1])}`, range[2] && `${sql} <= ${bind(`${range[2]}~`)}`]
      return `(${bounds.filter(Boolean).join(' and ') || 'true'})`
    }
    if (!/[*?]/.test(value)) return `${sql} = ${bind(value)}`
    const pattern = value
      .replace(/[\\%_]/g, '\\$&')
      .replaceAll('*', '%')
      .replaceAll('?', '_')
    return `${sql} ilike ${bind(pattern)}`
  })
}

export async function searchWorkitems(
  db: Queryable,
  matches: readonly WorkitemMatch[],
  limit: number,
  offset: number,
): Promise<DicomJson[]> {
  const values: unknown[] = []
  const bind = (value: unknown) => `$${values.push(value)}`
  const conditions = conditionsOf(matches, bind)
  const { rows } = await db.query<{ dataset: DicomJson }>(
    `select dataset from workitem ${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''}
      order by created_at desc, uid limit ${bind(limit)} offset ${bind(offset)}`,
    values,
  )
  return rows.map(row => row.dataset)
}

/** Those of a revision ($2) of a study ($1): one for each time that it was analysed. */
export const selectWorkitemsOfRevision = `select ${columns} from workitem where study_instance_uid = $1 and revision = $2 order by created_at`

/** The workitem of an analysis follows the state of its study. @param workitems of the revision */
export async function followStudyState(
  tx: Queryable,
  study: string,
  revision: number,
  state: StudyState,
  reason: string | undefined,
  workitems: readonly Workitem[],
): Promise<void> {
  const open = workitems.find(workitem => workitem.state === 'SCHEDULED' || workitem.state === 'IN PROGRESS')
  if (state === 'settled') {
    if (!open) await schedule(tx, study, revision, workitems.length + 1)
    return
  }
  if (!open) return
  if (state === 'analyzing' || state === 'reporting' || state === 'delivering') {
    if (open.state === 'SCHEDULED')
      await updateWorkitem(tx, open, performing(), {
        state: 'IN PROGRESS',
        transactionUid: deriveUid('claim', open.uid),
      })
  } else if (state === 'completed')
    await updateWorkitem(tx, open, await performed(tx, study, revision), { state: 'COMPLETED' })
  else if (state !== 'receiving') await updateWorkitem(tx, open, discontinued(reason ?? state), { state: 'CANCELED' })
}

async function schedule(tx: Queryable, study: string, revision: number, attempt: number): Promise<void> {
  const uid = deriveUid('workitem', study, revision, attempt)
  const { rows } = await tx.query<{ attributes: DicomJson; route: string | null }>(
    `select s.attributes, (select detail ->> 'route' from study_event v where v.study_instance_uid = $1 and kind = 'settled' order by id desc limit 1) route
       from study s where study_instance_uid = $1`,
    [study],
  )
  const { attributes, route } = rows[0]!
  const patient = ['00080005', '00080050', '00100010', '00100020', '00100021', '00100030', '00100040', '0020000D']
  const dataset: DicomJson = {
    ...Object.fromEntries(patient.flatMap(tag => (attributes[tag] ? [[tag, attributes[tag]]] : []))),
    '00080016': ofVr('UI', workitemSopClass),
    '00080018': ofVr('UI', uid),
    '0020000D': ofVr('UI', study),
    '00404005': ofVr('DT', dateTime()),
    '00404018': sequence(code('110004', 'DCM', 'Computer Aided Detection')),
    '00404021': sequence({ '0020000D': ofVr('UI', study) }),
    '00404041': ofVr('CS', 'READY'),
    '00741000': ofVr('CS', 'SCHEDULED'),
    '00741200': ofVr('CS', 'MEDIUM'),
    '00741202': ofVr('LO', 'Radbridge'),
    '00741204': ofVr('LO', `AI analysis${route ? `, route ${route}` : ''}`.slice(0, 64)),
  }
  await tx.query(
    `insert into workitem (uid, state, dataset, study_instance_uid, revision) values ($1, 'SCHEDULED', $2, $3, $4) on conflict do nothing`,
    [uid, toJsonb(dataset), study, revision],
  )
  await announce(tx, uid, dataset)
}

const performing = (): DicomJson => ({
  '00741216': sequence({ '00404050': ofVr('DT', dateTime()) }),
})

/** What has come of it: Output Information Sequence (PS3.3 C.30.3). */
async function performed(tx: Queryable, study: string, revision: number): Promise<DicomJson> {
  const { rows } = await tx.query<{ series: string; sopClass: string; instance: string; started: Date }>(
    `select series_instance_uid series, sop_class_uid "sopClass", sop_instance_uid instance,
            (select min(started_at) from analysis a where a.study_instance_uid = $1 and a.revision = $2) started
       from instance where study_instance_uid = $1 and revision = $2 and origin = 'result' order by series_instance_uid`,
    [study, revision],
  )
  const series = [...new Set(rows.map(row => row.series))]
  const output = series.map(uid => ({
    '00081199': sequence(
      ...rows
        .filter(row => row.series === uid)
        .map(row => ({ '00081150': ofVr('UI', row.sopClass), '00081155': ofVr('UI', row.instance) })),
    ),
    '0020000D': ofVr('UI', study),
    '0020000E': ofVr('UI', uid),
  }))
  return {
    '00741002': sequence({ '00741004': ofVr('DS', '100') }),
    '00741216': sequence({
      '00404019': sequence(code('110004', 'DCM', 'Computer Aided Detection')),
      '00404033': output.length > 0 ? sequence(...output) : { vr: 'SQ' },
      '00404050': ofVr('DT', dateTime(rows[0]?.started ?? new Date())),
      '00404051': ofVr('DT', dateTime()),
    }),
  }
}

/** Why it ended without a result: PS3.16 CID 9300. */
const discontinued = (reason: string): DicomJson => ({
  '00741002': sequence({
    '00404052': ofVr('DT', dateTime()),
    '0074100E': sequence(code('110513', 'DCM', 'Discontinued for unspecified reason')),
    '00741238': ofVr('LT', reason),
  }),
})

/** How far an analysis is, percent. */
export async function noteProgress(db: Queryable, study: string, revision: number, percent: number): Promise<void> {
  const { rows } = await db.query<Workitem>(
    `select ${columns} from workitem where study_instance_uid = $1 and revision = $2 and state = 'IN PROGRESS'`,
    [study, revision],
  )
  const progress = sequence({ '00741004': ofVr('DS', String(percent)) })
  const [open] = rows
  if (!open) return
  // The state is not touched: another one may be written at this moment.
  await db.query(
    `update workitem set dataset = jsonb_set(dataset, '{00741002}', $2) where uid = $1 and state = 'IN PROGRESS'`,
    [open.uid, JSON.stringify(progress)],
  )
  await tell(db, open.uid, workitemEvent.progressReport, { '00741002': progress })
}
