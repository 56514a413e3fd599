import { createHash } from 'node:crypto'
import { type Database, type Transaction, transaction } from './database.js'
import { type Difference, differences } from './differences.js'
import type { Endpoints } from './endpoints.js'
import { errorContext, type Log } from './log.js'
import { endpointsOf, type ReadEndpoints, readEndpointsFile } from './readEndpoints.js'

export interface ConfigurationVersion {
  /** 0: nothing was configured yet, and the defaults are in force. */
  version: number
  author: string
  comment: string
  /** The earlier version that it brings back. */
  restores: number | null
  createdAt: Date | null
}

export interface ConfigurationDocument extends ConfigurationVersion {
  document: Record<string, unknown>
}

/** Somebody else has changed the configuration since it was read. */
export class ConfigurationConflict extends Error {
  constructor(readonly current: number) {
    super(`the configuration has been changed since it was read: it is version ${current} now`)
  }
}

/** What works with the endpoints in force: it takes new ones, or throws and goes on with those it has. */
type Use = (endpoints: Endpoints) => void

const pollMilliseconds = 1000
const columns = 'version, author, comment, restores, created_at "createdAt"'
const none: ConfigurationDocument = {
  version: 0,
  author: 'default',
  comment: '',
  restores: null,
  createdAt: null,
  document: {},
}

/**
 * The endpoints of this installation: versions in the database, of which the newest is in force on all nodes within a second. A file of endpoints becomes a version
 * at start when it has changed since it was read last, so that what was changed by other ways holds until then.
 */
export class Configuration {
  private readonly users: Use[] = []
  private timer: NodeJS.Timeout | undefined
  private polling: Promise<void> = Promise.resolve()
  private lastProblem: string | undefined

  private constructor(
    private readonly database: Database,
    private readonly log: Log,
    private inForce: { version: number } & ReadEndpoints,
  ) {}

  /** @throws SettingsError if the file, or the newest version, cannot be used */
  static async open(database: Database, file: string | undefined, log: Log): Promise<Configuration> {
    if (file) await takeFile(database, file, log)
    const newest = await readVersion(database)
    return new Configuration(database, log, { version: newest.version, ...endpointsOf(newest.document) })
  }

  get version(): number {
    return this.inForce.version
  }

  get endpoints(): Endpoints {
    return this.inForce.endpoints
  }

  /** Has `use` work with the endpoints in force, now and whenever they change. @throws what `use` throws now */
  follow(use: Use): void {
    use(this.endpoints)
    this.users.push(use)
  }

  /** Looks for changes by other nodes until the returned function is called. */
  watch(): () => Promise<void> {
    const look = () => {
      this.polling = this.takeNewest().catch(error => this.told(error))
      this.timer = setTimeout(() => void this.polling.then(look), pollMilliseconds).unref()
    }
    this.timer = setTimeout(look, pollMilliseconds).unref()
    return async () => {
      clearTimeout(this.timer)
      await this.polling
      clearTimeout(this.timer)
    }
  }

  /** @param version absent: the newest */
  read(version?: number): Promise<ConfigurationDocument> {
    return readVersion(this.database, version)
  }

  async history(limit: number): Promise<ConfigurationVersion[]> {
    const { rows } = await this.database.query<ConfigurationVersion>(
      `select ${columns} from configuration order by version desc limit $1`,
      [limit],
    )
    return rows
  }

  /** What a document would change. */
  async compare(document: Record<string, unknown>): Promise<Difference[]> {
    return differences((await this.read()).document, document)
  }

  /**
   * Makes a document the newest version and puts it in force.
   * @param change.basedOn the version it was made from
   * @param inTransaction what is kept exactly if the version is
   * @throws ConfigurationConflict if another version is the newest, or what a user of the endpoints says of them (a secret cannot be read); then nothing changes
   */
  async apply(
    { document, endpoints }: ReadEndpoints,
    change: { basedOn: number; author: string; comment?: string; restores?: number },
    inTransaction: (tx: Transaction, version: number, changes: Difference[]) => Promise<void>,
  ): Promise<number> {
    const before = this.inForce
    try {
      const version = await transaction(this.database, async tx => {
        await tx.query(`select pg_advisory_xact_lock(hashtext('radbridge.configuration'))`)
        const current = await readVersion(tx)
        if (current.version !== change.basedOn) throw new ConfigurationConflict(current.version)
        const next = await insertVersion(tx, { ...change, document })
        await inTransaction(tx, next, differences(current.document, document))
        this.use({ version: next, document, endpoints })
        return next
      })
      this.log.info('the configuration was changed', { version })
      return version
    } catch (error) {
      // What was put in force is not kept.
      if (this.inForce !== before) this.use(before)
      throw error
    }
  }

  private use(next: { version: number } & ReadEndpoints): void {
    const before = this.inForce
    try {
      for (const user of this.users) user(next.endpoints)
      this.inForce = next
    } catch (error) {
      for (const user of this.users) user(before.endpoints)
      throw error
    }
  }

  /** Once for each reason: it is looked once a second. */
  private told(error: unknown): void {
    const context = errorContext(error)
    if (context.error === this.lastProblem) return
    this.lastProblem = context.error
    this.log.warn('the newest configuration is not in force on this node', context)
  }

  private async takeNewest(): Promise<void> {
    const { rows } = await this.database.query<{ version: number | null }>(
      'select max(version) as version from configuration',
    )
    const version = rows[0]!.version ?? 0
    if (version <= this.version) {
      this.lastProblem = undefined
      return
    }
    const newest = await this.read(version)
    this.use({ version, ...endpointsOf(newest.document) })
    this.log.info('the configuration was changed by another node', { version })
  }
}

async function readVersion(db: Pick<Database, 'query'>, version?: number): Promise<ConfigurationDocument> {
  const { rows } = await db.query<ConfigurationDocument>(
    `select ${columns}, document from configuration where $1::int is null or version = $1 order by version desc limit 1`,
    [version ?? null],
  )
  return rows[0] ?? none
}

async function insertVersion(
  tx: Transaction,
  {
    document,
    author,
    comment = '',
    restores,
  }: { document: object; author: string; comment?: string; restores?: number },
): Promise<number> {
  const { rows } = await tx.query<{ version: number }>(
    `insert into configuration (version, document, author, comment, restores)
     select coalesce(max(version), 0) + 1, $1, $2, $3, $4 from configuration returning version`,
    [JSON.stringify(document), author, comment, restores ?? null],
  )
  return rows[0]!.version
}

async function takeFile(database: Database, file: string, log: Log): Promise<void> {
  const { document } = readEndpointsFile(file)
  const digest = createHash('sha256').update(JSON.stringify(document)).digest('hex')
  await transaction(database, async tx => {
    await tx.query(`select pg_advisory_xact_lock(hashtext('radbridge.configuration'))`)
    const { rows } = await tx.query<{ value: string }>(`select value from setting where name = 'endpoints file digest'`)
    const current = await readVersion(tx)
    const changed = differences(current.document, document)
    if (rows[0]?.value === digest) {
      if (changed.length > 0)
        log.warn('the configuration is another than the endpoints file, which has not changed since it was read', {
          version: current.version,
          differences: changed.map(({ path }) => path),
        })
      return
    }
    await tx.query(
      `insert into setting (name, value) values ('endpoints file digest', $1)
       on conflict (name) do update set value = excluded.value`,
      [digest],
    )
    if (changed.length > 0 || current.version === 0)
      await insertVersion(tx, { document, author: 'endpoints file', comment: 'read at start' })
  })
}
