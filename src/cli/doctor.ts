import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { request } from 'undici'
import { type TestStep, testDestination, testProvider } from '../admin/endpointTest.js'
import { echo } from '../dimse/echo.js'
import { peerOf } from '../dimse/openAssociation.js'
import type { Destination, Endpoints } from '../platform/endpoints.js'
import type { DimsePeer, ProviderSettings, RemoteProviderSettings } from '../platform/providerSettings.js'
import { endpointsOf, loadEndpoints } from '../platform/readEndpoints.js'
import { resolveSecret } from '../platform/secret.js'
import { loadSettings, type Settings } from '../platform/settings.js'

interface Finding {
  name: string
  /** undefined: all is well. */
  problem?: string
  fix?: string
}

/** Checks the environment and every endpoint, in plain words with a fix for each failure. Exit code 1 if something is wrong. */
export async function doctor(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { config: { type: 'string' } } })
  const settings = loadSettings(process.env, values.config)
  const endpoints = (await endpointsInForce(settings)) ?? loadEndpoints(settings.endpointsFile)
  const findings = await Promise.all([
    checkNode(),
    checkDataFolder(settings),
    checkDatabase(settings),
    checkPort(settings),
    checkDimsePort(settings),
    ...checkSecrets(endpoints),
    ...endpoints.providers.map(provider => checkProvider(provider, settings)),
    ...endpoints.destinations.map(destination => checkDestination(destination, settings)),
  ])
  for (const { name, problem, fix } of findings) {
    console.log(problem ? `✗ ${name}: ${problem}` : `✓ ${name}`)
    if (fix) console.log(`    ${fix}`)
  }
  const failures = findings.filter(finding => finding.problem).length
  console.log(failures === 0 ? '\nAll is well.' : `\n${failures} to be mended.`)
  return failures === 0 ? 0 : 1
}

/** Those of the service, if it runs and lets us see them. */
async function endpointsInForce({ http, auth }: Settings): Promise<Endpoints | undefined> {
  if (http.port === 0) return undefined
  try {
    const { statusCode, body } = await request(`http://127.0.0.1:${http.port}/api/configuration`, {
      headers: auth.adminToken ? { Authorization: `Bearer ${auth.adminToken}` } : {},
      headersTimeout: 2000,
    })
    const { document } = (await body.json()) as { document: Record<string, unknown> }
    return statusCode === 200 ? endpointsOf(document).endpoints : undefined
  } catch {
    return undefined
  }
}

async function checkNode(): Promise<Finding> {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]
  const name = `Node.js ${process.versions.node}`
  if (major > 20 || (major === 20 && minor >= 19)) return { name }
  return { name, problem: 'too old', fix: 'Install Node.js 20.19 or newer.' }
}

async function checkDataFolder({ dataDirectory, storage }: Settings): Promise<Finding> {
  const name = `data folder ${dataDirectory}`
  try {
    await mkdir(dataDirectory, { recursive: true })
    await access(dataDirectory, constants.W_OK)
    const { bavail, bsize } = await statfs(dataDirectory)
    const free = bavail * bsize
    if (free >= storage.minimumFreeBytes) return { name: `${name}, ${(free / 1e9).toFixed(1)} GB free` }
    const problem = `${(free / 1e9).toFixed(1)} GB free, less than storage.minimumFreeBytes: STOW-RS would answer 503`
    return { name, problem, fix: 'Free some space, or put the data folder on another disk (RADBRIDGE_DATA_DIR).' }
  } catch (error) {
    const problem = `cannot be written (${(error as NodeJS.ErrnoException).code})`
    return {
      name,
      problem,
      fix: `Give this user the right to write into ${dirname(dataDirectory)}, or set RADBRIDGE_DATA_DIR.`,
    }
  }
}

async function checkDatabase({ database }: Settings): Promise<Finding> {
  if (!database.url) return { name: 'database: embedded PostgreSQL in the data folder' }
  const name = 'database of DATABASE_URL'
  const client = new pg.Client({ connectionString: database.url, connectionTimeoutMillis: 5000 })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ server_version_num: string }>('show server_version_num')
    const version = Math.floor(Number(rows[0]!.server_version_num) / 10000)
    return version >= 14
      ? { name }
      : { name, problem: `PostgreSQL ${version} is too old`, fix: 'Use PostgreSQL 14 or newer.' }
  } catch (error) {
    const problem = `cannot be reached (${(error as NodeJS.ErrnoException).code ?? 'no code'})`
    return {
      name,
      problem,
      fix: 'Check host, port, user and password in DATABASE_URL, and that the server lets this machine in.',
    }
  } finally {
    await client.end().catch(() => {})
  }
}

async function checkPort({ http }: Settings): Promise<Finding> {
  const name = `HTTP port ${http.port} of ${http.host}`
  const problem = await whyPortCannotBeUsed(http.host, http.port)
  if (!problem) return { name: `${name} is free` }
  if (await isRadbridge(`http://${http.host}:${http.port}`))
    return { name: `${name}: Radbridge is running and ready there` }
  return { name, problem, fix: 'Stop the other program, or set RADBRIDGE_HTTP_PORT to a free port.' }
}

/** The port of C-STORE: free, or answering C-ECHO by our own name. */
async function checkDimsePort({ dimse, http }: Settings): Promise<Finding> {
  if (dimse.port === 0) return { name: 'C-STORE is turned off (dimse.port 0)' }
  const host = dimse.host ?? http.host
  const name = `DIMSE port ${dimse.port} of ${host}`
  const problem = await whyPortCannotBeUsed(host, dimse.port)
  if (!problem) return { name: `${name} is free` }
  const { aeTitle, port, tls } = dimse
  // By TLS ours may ask for a certificate that we have not: that the service is there has to do.
  if (tls && (await isRadbridge(`http://${http.host}:${http.port}`)))
    return { name: `${name}: Radbridge is running, and takes associations by TLS` }
  try {
    await echo({ aeTitle, host, port, callingAeTitle: 'DOCTOR', timeoutSeconds: 3 })
    return { name: `${name}: ${aeTitle} answers C-ECHO there` }
  } catch (error) {
    // With sources configured ours does not know the doctor either, and says so by its own name.
    if (String((error as Error).message).includes('does not know our AE title'))
      return { name: `${name}: ${aeTitle} is there, and takes associations of its sources only` }
    return {
      name,
      problem,
      fix: 'Stop the other program, or set RADBRIDGE_DIMSE_PORT to a free port, 0 to do without C-STORE.',
    }
  }
}

async function whyPortCannotBeUsed(host: string, port: number): Promise<string | undefined> {
  try {
    await new Promise<void>((resolve, reject) => {
      const server = createServer()
      server.once('error', reject)
      server.listen(port, host, () => server.close(() => resolve()))
    })
    return undefined
  } catch (error) {
    return `cannot be used (${(error as NodeJS.ErrnoException).code})`
  }
}

async function isRadbridge(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${url}/readyz`, { headersTimeout: 3000 })
    await body.dump()
    return statusCode === 200
  } catch {
    return false
  }
}

function checkSecrets(endpoints: Endpoints): Finding[] {
  const references = [
    ...endpoints.sources.flatMap(({ name, stow }) =>
      [stow?.token, stow?.password]
        .filter(reference => reference !== undefined)
        .map(reference => ({ owner: `source ${name}`, reference })),
    ),
    ...endpoints.destinations.flatMap(destination =>
      'stow' in destination
        ? [destination.stow.token, destination.stow.password]
            .filter(reference => reference !== undefined)
            .map(reference => ({ owner: `destination ${destination.name}`, reference }))
        : [],
    ),
  ]
  for (const provider of endpoints.providers)
    if (provider.kind !== 'reference')
      for (const reference of secretsOf(provider))
        if (reference) references.push({ owner: `provider ${provider.name}`, reference })
  return references.map(({ owner, reference }) => {
    const name = `secret ${reference} of ${owner}`
    try {
      resolveSecret(reference)
      return { name }
    } catch (error) {
      return {
        name,
        problem: (error as Error).message,
        fix: 'Set the variable, or write the file, for the user that runs Radbridge.',
      }
    }
  })
}

function secretsOf(provider: RemoteProviderSettings): (string | undefined)[] {
  return provider.kind === 'dicom'
    ? [provider.stow?.token, provider.stow?.password, provider.dimse?.tls?.key]
    : [provider.apiKey, provider.tls?.key]
}

const echoAs = ({ dimse }: Settings, peer: DimsePeer) => echo({ ...peerOf(peer, dimse.aeTitle), timeoutSeconds: 10 })

async function checkProvider(provider: ProviderSettings, settings: Settings): Promise<Finding> {
  return told(`provider ${provider.name}`, await testProvider(provider, peer => echoAs(settings, peer)))
}

async function checkDestination(destination: Destination, settings: Settings): Promise<Finding> {
  return told(`destination ${destination.name}`, await testDestination(destination, peer => echoAs(settings, peer)))
}

/** The step that failed, else the last one. */
function told(name: string, steps: readonly TestStep[]): Finding {
  const { step, ok, detail, fix } = steps.find(entry => !entry.ok) ?? steps.at(-1)!
  return ok ? { name: `${name}: ${detail}` } : { name, problem: `${step}: ${detail}`, ...(fix ? { fix } : {}) }
}
