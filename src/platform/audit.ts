import { createHash } from 'node:crypto'
import { type Database, type Transaction, transaction } from './database.js'
import { errorContext, type Log } from './log.js'

/** Kinds of events, of DICOM PS3.15 A.5.3 and CID 400 and 401; codes are in auditMessage.ts. */
export type AuditKind =
  | 'application-start'
  | 'application-stop'
  | 'audit-log-used'
  | 'instances-accessed'
  | 'instances-received'
  | 'instances-sent'
  | 'study-deleted'
  | 'export'
  | 'query'
  | 'login'
  | 'logout'
  | 'access-refused'
  | 'sender-refused'
  | 'configuration-changed'
  | 'accounts-changed'
  | 'operated'

export interface AuditEvent {
  event: AuditKind
  outcome?: 'success' | 'failure'
  actor: {
    /** Of an account, a token, a source; `radbridge` for what the service does of itself. */
    name: string
    role?: string | undefined
    address?: string | undefined
  }
  study?: string | undefined
  /** How many instances, and of which SOP classes. */
  instances?: number
  /** A destination, provider or peer at the other end. */
  peer?: string | undefined
  /** What else there is to say: names of entries, versions. No patient data and no secrets. */
  detail?: Record<string, unknown>
}

export interface AuditEntry {
  id: number
  at: string
  event: AuditKind
  outcome: 'success' | 'failure'
  actor: string
  data: Omit<AuditEvent, 'event' | 'outcome'>
}

/** Where entries go besides the table. */
export interface AuditSink {
  send(entries: readonly AuditEntry[]): void
  close(): void
}

export interface AuditProof {
  entries: number
  intact: boolean
  /** The first entry that is not what was written, or does not follow the one before it. */
  brokenAt?: number
  /** Hash of the last entry, hexadecimal: kept elsewhere, it proves later that nothing was cut off. */
  head: string
}

const flushMilliseconds = 200
const tallyMilliseconds = 10_000
const maxWaiting = 100_000
const genesis = Buffer.alloc(32)

/**
 * The audit trail. Of what somebody does by the admin API a row is there before it is answered; of transfers and queries within a fifth of a second. Each row holds
 * SHA-256 of itself and of the hash before it, so that a row which is changed, taken out or put in between is found.
 */
export class Audit {
  private waiting: (AuditEvent & { at: string })[] = []
  private timer: NodeJS.Timeout | undefined
  private flushing: Promise<void> = Promise.resolve()
  private lost = 0
  private readonly tallies = new Map<string, AuditEvent & { instances: number }>()
  private tallyTimer: NodeJS.Timeout | undefined

  constructor(
    private readonly database: Database,
    private readonly log: Log,
    private readonly sinks: readonly AuditSink[] = [],
  ) {}

  /** Keeps an event soon. */
  note(event: AuditEvent): void {
    if (this.waiting.length >= maxWaiting) {
      if (this.lost++ % 1000 === 0)
        this.log.error('the audit trail cannot be kept, events are lost', { lost: this.lost })
      return
    }
    this.waiting.push({ ...event, at: new Date().toISOString() })
    this.timer ??= setTimeout(() => void this.flush(), flushMilliseconds)
  }

  /** Keeps transfers and accesses as one event for each kind, actor, study, peer and detail within ten seconds, with the sum of their instances. */
  tally(event: AuditEvent): void {
    const { instances = 0, ...rest } = event
    const key = JSON.stringify([rest.event, rest.actor.name, rest.study, rest.peer, rest.outcome, rest.detail])
    const known = this.tallies.get(key)
    if (known) {
      known.instances += instances
      return
    }
    const first = { ...rest, instances }
    this.tallies.set(key, first)
    this.tallyTimer ??= setTimeout(() => this.endTallies(), tallyMilliseconds).unref()
  }

  private endTallies(): void {
    clearTimeout(this.tallyTimer)
    this.tallyTimer = undefined
    for (const event of this.tallies.values()) this.note(event)
    this.tallies.clear()
  }

  /** Keeps an event now. @throws if it cannot be kept: then what it tells of should not be done */
  async record(event: AuditEvent): Promise<void> {
    const entries = await transaction(this.database, tx => append(tx, [{ ...event, at: new Date().toISOString() }]))
    this.tell(entries)
  }

  /** Keeps an event exactly if a transaction commits. The returned function is called when it has. */
  async recordIn(tx: Transaction, event: AuditEvent): Promise<() => void> {
    const entries = await append(tx, [{ ...event, at: new Date().toISOString() }])
    return () => this.tell(entries)
  }

  flush(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    this.flushing = this.flushing.then(async () => {
      const events = this.waiting.splice(0, 1000)
      if (events.length === 0) return
      try {
        this.tell(await transaction(this.database, tx => append(tx, events)))
      } catch (error) {
        this.waiting.unshift(...events)
        this.log.warn('audit events wait for the database', { waiting: this.waiting.length, ...errorContext(error) })
        this.timer ??= setTimeout(() => void this.flush(), 10 * flushMilliseconds).unref()
        return
      }
      if (this.waiting.length > 0) this.timer ??= setTimeout(() => void this.flush(), 0)
    })
    return this.flushing
  }

  async close(): Promise<void> {
    this.endTallies()
    await this.flush()
    clearTimeout(this.timer)
    for (const sink of this.sinks) sink.close()
  }

  private tell(entries: readonly AuditEntry[]): void {
    for (const sink of this.sinks) sink.send(entries)
  }
}

async function append(tx: Transaction, events: readonly (AuditEvent & { at: string })[]): Promise<AuditEntry[]> {
  await tx.query(`select pg_advisory_xact_lock(hashtext('radbridge.audit'))`)
  const { rows } = await tx.query<{ id: number; hash: Buffer }>('select id, hash from audit order by id desc limit 1')
  let id = rows[0]?.id ?? 0
  let previous: Buffer = rows[0]?.hash ?? genesis
  const made = events.map(({ event, outcome = 'success', at, ...data }) => {
    const entry: AuditEntry = { id: ++id, at, event, outcome, actor: data.actor.name, data }
    const hash = hashOf(entry, previous)
    const row = { ...entry, previous: previous.toString('hex'), hash: hash.toString('hex') }
    previous = hash
    return { entry, row }
  })
  await tx.query(
    `insert into audit (id, at, event, outcome, actor, event_data, previous, hash)
     select r.id, r.at, r.event, r.outcome, r.actor, r.data, decode(r.previous, 'hex'), decode(r.hash, 'hex')
       from jsonb_to_recordset($1::jsonb) r (id bigint, at timestamptz, event text, outcome text, actor text, data jsonb, previous text, hash text)`,
    [JSON.stringify(made.map(({ row }) => row))],
  )
  return made.map(({ entry }) => entry)
}

function hashOf(entry: AuditEntry, previous: Buffer): Buffer {
  const { id, at, event, outcome, actor, data } = entry
  return createHash('sha256')
    .update(previous)
    .update(canonical([id, at, event, outcome, actor, data]))
    .digest()
}

/** JSON with sorted names, as jsonb does not keep their order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

const page = 5000

/** Reads entries from the oldest on, a page at a time. */
export async function* auditEntries(
  database: Database,
  after = 0,
): AsyncGenerator<AuditEntry & { previous: Buffer; hash: Buffer }> {
  let last = after
  for (;;) {
    const { rows } = await database.query<Omit<AuditEntry, 'at'> & { at: Date; previous: Buffer; hash: Buffer }>(
      `select id, at, event, outcome, actor, event_data data, previous, hash from audit where id > $1 order by id limit ${page}`,
      [last],
    )
    for (const row of rows) yield { ...row, at: row.at.toISOString() }
    if (rows.length < page) return
    last = rows.at(-1)!.id
  }
}

/** Checks every entry, and that each follows the one before it. */
export async function verifyAudit(database: Database): Promise<AuditProof> {
  let entries = 0
  let previous: Buffer = genesis
  for await (const entry of auditEntries(database)) {
    const follows = entry.id === entries + 1 && entry.previous.equals(previous)
    if (!follows || !entry.hash.equals(hashOf(entry, previous)))
      return { entries, intact: false, brokenAt: entry.id, head: previous.toString('hex') }
    previous = entry.hash
    entries++
  }
  return { entries, intact: true, head: previous.toString('hex') }
}
