// One node with all that a study meets on its way: a provider, a destination, a database of its own.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { makeProvider, Node, startPostgres } from '../test/torture/cluster.mjs'

/** @param latency of the provider, ms: [median, spread] */
export async function startChain(folder, { latency, environment = {} }) {
  const postgres = await startPostgres(join(folder, 'database'))
  const provider = await (await makeProvider()).start()
  await provider.behave({ latency })
  const endpoints = join(folder, 'endpoints.yaml')
  writeFileSync(
    endpoints,
    `providers: [{ name: remote, kind: imaging-rest, baseUrl: '${provider.url}', concurrency: 20 }]
destinations: [{ name: files, folder: '${join(folder, 'results')}' }]
routes: [{ name: all, analysis: { primary: remote }, deliverTo: [files] }]\n`,
  )
  const node = await Node.make('node', {
    folder: join(folder, 'node'),
    store: `file:${join(folder, 'store')}`,
    databaseUrl: postgres.url,
    endpoints,
    environment: { LD_PRELOAD: '', RADBRIDGE_QUIET_SECONDS: '1', RADBRIDGE_LOG_LEVEL: 'warn', ...environment },
  })
  await node.start()
  const pool = new pg.Pool({ connectionString: postgres.url, options: '-c search_path=radbridge' })
  return {
    node,
    pool,
    async stop() {
      await pool.end()
      await node.stop()
      await provider.stop('SIGKILL')
      await postgres.stop()
    },
  }
}
