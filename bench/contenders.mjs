// The servers that bench/ingest.mjs compares, each a process of its own on a scratch folder.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const scratch = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'radbridge-bench-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const here = path => fileURLToPath(new URL(path, import.meta.url))

export async function startRadbridge(extra = {}, endpoints = 'routes: []\n') {
  const port = await freePort()
  const folder = mkdtempSync(join(scratch, 'radbridge-'))
  writeFileSync(join(folder, 'endpoints.yaml'), endpoints)
  const env = {
    ...process.env,
    RADBRIDGE_DATA_DIR: join(folder, 'data'),
    RADBRIDGE_HTTP_PORT: String(port),
    RADBRIDGE_DIMSE_PORT: '0',
    RADBRIDGE_ENDPOINTS: join(folder, 'endpoints.yaml'),
    RADBRIDGE_QUIET_SECONDS: '3600',
    RADBRIDGE_LOG_LEVEL: 'warn',
    ...extra,
  }
  const child = spawn(process.execPath, [here('../dist/cli/index.js'), 'serve'], {
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return ready(
    {
      name: 'Radbridge',
      data: join(folder, 'data'),
      child,
      stow: `http://127.0.0.1:${port}/dicom-web/studies`,
      probe: `http://127.0.0.1:${port}/readyz`,
    },
    'SIGTERM',
  )
}

const plugin = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so'
export const hasOrthanc = existsSync(plugin)

export async function startOrthanc(more = {}) {
  const port = await freePort()
  const folder = mkdtempSync(join(scratch, 'orthanc-'))
  const configuration = {
    StorageDirectory: folder,
    IndexDirectory: folder,
    HttpPort: port,
    DicomServerEnabled: false,
    AuthenticationEnabled: false,
    RemoteAccessAllowed: false,
    Plugins: [plugin],
    DicomWeb: { Enable: true, Root: '/dicom-web/' },
    ...more,
  }
  writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(configuration))
  const child = spawn('Orthanc', [join(folder, 'orthanc.json')], { stdio: 'ignore' })
  return ready(
    {
      name: 'Orthanc',
      child,
      stow: `http://127.0.0.1:${port}/dicom-web/studies`,
      probe: `http://127.0.0.1:${port}/system`,
    },
    'SIGKILL',
  )
}

/** What the disk and Node can do at best: each body into a file, fdatasync, answer. */
export async function startFloor() {
  const port = await freePort()
  const folder = mkdtempSync(join(scratch, 'floor-'))
  mkdirSync(folder, { recursive: true })
  const child = spawn(process.execPath, [here('./floor.mjs'), String(port), folder], { stdio: 'inherit' })
  return ready(
    { name: 'floor', child, stow: `http://127.0.0.1:${port}/`, probe: `http://127.0.0.1:${port}/` },
    'SIGKILL',
  )
}

/** What Node can send at best: `count` times the same bytes of memory, to whoever asks. */
export async function startMemory(length, count) {
  const port = await freePort()
  const child = spawn(process.execPath, [here('./memory.mjs'), port, length, count].map(String), { stdio: 'inherit' })
  const url = `http://127.0.0.1:${port}/`
  return ready({ name: 'floor', child, url, probe: `${url}ready` }, 'SIGKILL')
}

async function ready(server, signal) {
  for (let i = 0; i < 400; i++) {
    if (await answers(server.probe)) {
      return {
        ...server,
        stop: () =>
          new Promise(resolve => {
            server.child.once('exit', resolve)
            server.child.kill(signal)
          }),
      }
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`${server.name} did not start`)
}

function answers(url) {
  return new Promise(resolve => {
    http.get(url, res => resolve(res.resume().statusCode === 200)).on('error', () => resolve(false))
  })
}

/** Resident memory of a process in bytes (Linux). */
export function residentBytes(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

export function freePort() {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
