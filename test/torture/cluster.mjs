// Several nodes on one PostgreSQL and one store, a balancer before them, a PACS and a provider: each a process that can be killed.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres } from '../../dist/platform/embeddedPostgres.js'
import { silentLog } from '../../dist/platform/log.js'

const here = path => fileURLToPath(new URL(path, import.meta.url))
const orthancPlugin = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so'
const fakeTime = ['x86_64', 'aarch64']
  .map(cpu => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find(existsSync)

export const canJump = fakeTime !== undefined

export async function freePort() {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

export async function isReady(url) {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2000) })).status === 200
  } catch {
    return false
  }
}

export async function until(what, probe, seconds = 60) {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`)
    await sleep(50)
  }
}

/** A program that is killed and started again as the same. */
export class Program {
  child
  /** Exit codes of when it ended by itself after it was ready. */
  ended = []
  constructor(command, args, options, probe) {
    Object.assign(this, { command, args, options, probe })
  }

  get runs() {
    return this.child !== undefined
  }

  async start() {
    const child = spawn(this.command, this.args, this.options)
    this.child = child
    let ready = false
    child.once('exit', code => {
      if (this.child === child) this.child = undefined
      if (ready && !this.stopping) this.ended.push(code)
    })
    if (this.probe) await until(`${this.command} ${this.args[0]}`, async () => !this.runs || (await this.probe()))
    ready = this.runs
    return this
  }

  async stop(signal = 'SIGTERM') {
    const { child } = this
    if (!child) return
    this.stopping = true
    const exited = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await exited
    this.stopping = false
  }
}

/** The embedded PostgreSQL, without a node that owns it; it comes up again by itself. */
export async function startPostgres(folder) {
  mkdirSync(folder, { recursive: true })
  const postgres = await startEmbeddedPostgres(folder, silentLog)
  const { host, user, database } = postgres.connection
  return {
    ...postgres,
    url: `postgresql://${user}@localhost/${database}?host=${encodeURIComponent(host)}`,
    /** @param signal SIGINT: a fast shutdown. SIGKILL: a crash */
    kill(signal) {
      const pid = Number(readFileSync(join(folder, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0])
      process.kill(pid, signal)
    },
  }
}

export class Node extends Program {
  /** `folder` is the node's own; `store` and `databaseUrl` are those of all. */
  static async make(name, { folder, store, databaseUrl, endpoints, environment = {} }) {
    const [port, dimsePort] = [await freePort(), await freePort()]
    mkdirSync(folder, { recursive: true })
    const clock = join(folder, 'clock')
    writeFileSync(clock, '+0')
    const env = {
      ...process.env,
      NODE_OPTIONS: '',
      DATABASE_URL: databaseUrl,
      RADBRIDGE_STORAGE: store,
      RADBRIDGE_DATA_DIR: join(folder, 'data'),
      RADBRIDGE_HTTP_PORT: String(port),
      RADBRIDGE_DIMSE_PORT: String(dimsePort),
      RADBRIDGE_ENDPOINTS: endpoints,
      RADBRIDGE_WORKERS: '1',
      RADBRIDGE_LOG_FORMAT: 'json',
      ...(fakeTime
        ? {
            LD_PRELOAD: fakeTime,
            FAKETIME_TIMESTAMP_FILE: clock,
            FAKETIME_CACHE_DURATION: '1',
            FAKETIME_DONT_FAKE_MONOTONIC: '1',
          }
        : {}),
      ...environment,
    }
    const { openSync } = await import('node:fs')
    const log = openSync(join(folder, 'log.json'), 'a')
    const url = `http://127.0.0.1:${port}`
    const node = new Node(
      process.execPath,
      [here('../../dist/cli/index.js'), 'serve'],
      { env, stdio: ['ignore', log, log] },
      () => isReady(`${url}/readyz`),
    )
    return Object.assign(node, { name, url, port, dimsePort, folder, clock, env })
  }

  /** Moves the clock of the node alone. */
  jump(seconds) {
    writeFileSync(this.clock, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}s`)
  }
}

/** What a load balancer does: connections go to nodes that say they are ready, in turn; one that does not take it is passed over. */
export async function startBalancer(nodes, portOf) {
  let ready = new Set(nodes)
  let turn = 0
  const look = setInterval(async () => {
    const answers = await Promise.all(nodes.map(node => isReady(`${node.url}/readyz`)))
    ready = new Set(nodes.filter((_, i) => answers[i]))
  }, 250)
  const open = new Set()
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, client => {
    open.add(client)
    client.on('error', () => {})
    client.once('close', () => open.delete(client))
    const candidates = nodes.filter(node => ready.has(node))
    const first = turn++
    const attempt = left => {
      if (left === 0) return client.destroy()
      const node = candidates[(first + left) % candidates.length]
      const upstream = net.connect({ port: portOf(node), host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
      upstream.once('connect', () => {
        upstream.removeAllListeners('error')
        upstream.on('error', () => client.destroy())
        client.once('close', () => upstream.destroy())
        client.pipe(upstream)
        upstream.pipe(client)
      })
      upstream.once('error', () => attempt(left - 1))
    }
    attempt(candidates.length)
  })
  const port = await new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server.address().port)))
  return {
    port,
    stop() {
      clearInterval(look)
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

/** Orthanc where it is installed, else a Radbridge that only archives. */
export async function makePacs(folder) {
  mkdirSync(folder, { recursive: true })
  const [port, dicomPort] = [await freePort(), await freePort()]
  const url = `http://127.0.0.1:${port}/dicom-web`
  if (!existsSync(orthancPlugin)) {
    writeFileSync(join(folder, 'endpoints.yaml'), 'routes: []\n')
    const env = {
      ...process.env,
      NODE_OPTIONS: '',
      RADBRIDGE_DATA_DIR: join(folder, 'data'),
      RADBRIDGE_HTTP_PORT: String(port),
      RADBRIDGE_DIMSE_PORT: '0',
      RADBRIDGE_ENDPOINTS: join(folder, 'endpoints.yaml'),
    }
    const program = new Program(
      process.execPath,
      [here('../../dist/cli/index.js'), 'serve'],
      { env, stdio: 'ignore' },
      () => isReady(`http://127.0.0.1:${port}/readyz`),
    )
    return Object.assign(program, { name: 'Radbridge', url })
  }
  const configuration = {
    Name: 'PACS',
    StorageDirectory: folder,
    IndexDirectory: folder,
    HttpPort: port,
    DicomPort: dicomPort,
    DicomAet: 'PACS',
    DicomCheckCalledAet: false,
    AuthenticationEnabled: false,
    RemoteAccessAllowed: false,
    Plugins: [orthancPlugin],
    DicomWeb: { Enable: true, Root: '/dicom-web/' },
  }
  writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(configuration))
  const program = new Program('Orthanc', [join(folder, 'orthanc.json')], { stdio: 'ignore' }, () =>
    isReady(`http://127.0.0.1:${port}/system`),
  )
  return Object.assign(program, { name: 'Orthanc', url, dicomPort })
}

/** The fake provider. */
export async function makeProvider() {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const program = new Program(
    process.execPath,
    [here('../fakes/imagingProvider.mjs'), String(port)],
    { stdio: 'ignore' },
    () => isReady(`${url}/health`),
  )
  return Object.assign(program, {
    url,
    behave: behaviour => fetch(`${url}/behaviour`, { method: 'PUT', body: JSON.stringify(behaviour) }),
  })
}

/** A file system of its own of so many MiB that can be filled; undefined where none may be mounted. */
export function mountSmallDisk(folder, mebibytes) {
  mkdirSync(folder, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'radbridge-torture', folder], {
      stdio: 'ignore',
    })
    return { unmount: () => execFileSync('umount', ['-l', folder], { stdio: 'ignore' }) }
  } catch {
    return undefined
  }
}

export const hasHaproxy = existsSync('/usr/sbin/haproxy')

/** deploy/haproxy.cfg for other addresses. `nodes`: `{ port, dimsePort }` each */
export function haproxyConfiguration(nodes, port, dimsePort) {
  let text = readFileSync(here('../../deploy/haproxy.cfg'), 'utf8')
    .replace('bind :8080', `bind 127.0.0.1:${port}`)
    .replace('bind :11112', `bind 127.0.0.1:${dimsePort}`)
    .replace('check port 8080', 'check')
  for (const [i, node] of nodes.entries())
    text = text
      .replace(`node${i + 1}:8080`, `127.0.0.1:${node.port}`)
      .replace(`node${i + 1}:11112`, `127.0.0.1:${node.dimsePort} port ${node.port}`)
  return text
}

/** HAProxy with the configuration of deploy/ before three nodes. */
export async function startHaproxy(nodes, folder) {
  const [port, dimsePort] = [await freePort(), await freePort()]
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(file, haproxyConfiguration(nodes, port, dimsePort))
  const url = `http://127.0.0.1:${port}`
  const haproxy = new Program('/usr/sbin/haproxy', ['-f', file], { stdio: 'ignore' }, () => isReady(`${url}/healthz`))
  await haproxy.start()
  return { port, dimsePort, stop: () => haproxy.stop('SIGKILL') }
}
