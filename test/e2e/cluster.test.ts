import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { testWhere } from '../fixtures/peers.js'
import { followStudy, http, until } from '../fixtures/service.js'
import { hasHaproxy, Node, type Postgres, startBalancer, startHaproxy, startPostgres } from '../torture/cluster.mjs'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-cluster-'))
const endpoints = join(scratch, 'endpoints.yaml')
let postgres: Postgres
let fake: FakeProvider
let pool: pg.Pool
let nodes: Node[] = []

beforeAll(async () => {
  postgres = await startPostgres(join(scratch, 'database'))
  fake = await startFakeProvider()
  writeFileSync(
    endpoints,
    `providers: [{ name: remote, kind: imaging-rest, baseUrl: '${fake.url}' }]\nroutes: [{ name: all, analysis: { primary: remote } }]\n`,
  )
  pool = new pg.Pool({ connectionString: postgres.url, options: '-c search_path=radbridge' })
  pool.on('error', () => {})
})
afterEach(async () => {
  await Promise.all(nodes.map(node => node.stop()))
  nodes = []
  await fake.behave({})
})
afterAll(async () => {
  await pool?.end()
  await postgres?.stop()
  fake?.stop()
  rmSync(scratch, { recursive: true, force: true })
})

async function startNodes(...environments: Record<string, string>[]): Promise<Node[]> {
  nodes = await Promise.all(
    environments.map((environment, i) =>
      Node.make(`node ${i}`, {
        folder: join(scratch, `node-${i}`),
        store: `file:${join(scratch, 'store')}`,
        databaseUrl: postgres.url,
        endpoints,
        environment: {
          RADBRIDGE_QUIET_SECONDS: '1',
          RADBRIDGE_MINIMUM_FREE_BYTES: '0',
          RADBRIDGE_LOG_LEVEL: 'warn',
          ...environment,
        },
      }),
    ),
  )
  for (const node of nodes) await node.start()
  return nodes
}

// What a proxy passes on is not of this machine: its senders show who they are.
const token = 'the-token-of-an-administrator'
const signed = { Authorization: `Bearer ${token}` }
const push = (url: string, uids: ReturnType<typeof freshUids>, headers = {}) =>
  http('POST', `${url}/dicom-web/studies`, { 'Content-Type': multipartType, ...headers }, multipart([instance(uids)]))

test('the work of a node that is killed goes on at another within five seconds', async () => {
  await fake.behave({ latency: 4000 })
  const [first, second] = await startNodes({ RADBRIDGE_ROLES: 'receive,admin' }, { RADBRIDGE_ROLES: 'work' })
  const uids = freshUids()
  expect((await push(first!.url, uids)).status).toBe(200)
  const workerOf = async () =>
    (
      await pool.query<{ locked_by: string }>(
        `select locked_by from graphile_worker.jobs where task_identifier = 'analyze' and locked_by is not null`,
      )
    ).rows[0]?.locked_by
  const before = await until('the analysis', workerOf)
  await until('its call', async () => ((await pool.query('select 1 from provider_call')).rowCount ? true : undefined))
  const third = await Node.make('node 2', {
    folder: join(scratch, 'node-2'),
    store: `file:${join(scratch, 'store')}`,
    databaseUrl: postgres.url,
    endpoints,
    environment: { RADBRIDGE_ROLES: 'work' },
  })
  nodes.push(await third.start())
  expect(await workerOf()).toBe(before)
  await second!.stop('SIGKILL')
  const died = performance.now()
  await until('another worker', async () => {
    const now = await workerOf()
    return now && now !== before ? now : undefined
  })
  expect(performance.now() - died).toBeLessThan(5000)
  await fake.behave({})
  expect(await followStudy(first!.url, uids.study)).toMatchObject({ state: 'completed' })
}, 180_000)

test('each node does what its roles say, and no more', async () => {
  const [receiver, worker, administrator] = await startNodes(
    { RADBRIDGE_ROLES: 'receive' },
    { RADBRIDGE_ROLES: 'work' },
    { RADBRIDGE_ROLES: 'admin' },
  )
  const uids = freshUids()
  expect((await push(worker!.url, uids)).status).toBe(404)
  expect((await http('GET', `${worker!.url}/api/studies`)).status).toBe(404)
  expect((await http('GET', `${receiver!.url}/api/studies`)).status).toBe(404)
  expect((await http('GET', `${worker!.url}/metrics`)).status).toBe(200)
  expect((await push(receiver!.url, uids)).status).toBe(200)
  expect(await followStudy(administrator!.url, uids.study)).toMatchObject({ state: 'completed' })
}, 180_000)

test('instances of one study that come by different nodes are one study with one report', async () => {
  const started = await startNodes({}, {})
  const uids = freshUids()
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, i) => push(started[i % 2]!.url, { ...freshUids(), study: uids.study })),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200))
  expect(await followStudy(started[1]!.url, uids.study)).toMatchObject({ state: 'completed', revision: 1 })
  const { json } = await http('GET', `${started[0]!.url}/dicom-web/studies/${uids.study}/instances`)
  expect(json).toHaveLength(13)
}, 180_000)

const balancers: [string, typeof test, (nodes: Node[]) => Promise<{ port: number; stop(): unknown }>][] = [
  ['a balancer that knows connections only', test, nodes => startBalancer(nodes, node => node.port)],
  ['HAProxy', testWhere(hasHaproxy, 'HAProxy is not installed'), nodes => startHaproxy(nodes, scratch)],
]
describe.each(balancers)('behind %s', (_name, check, balance) => {
  check(
    'three nodes are restarted one after another under load, and no request fails',
    async () => {
      const started = await startNodes(
        ...Array(3).fill({ RADBRIDGE_DRAIN_SECONDS: '1.5', RADBRIDGE_ADMIN_TOKEN: token }),
      )
      const balancer = await balance(started)
      const url = `http://127.0.0.1:${balancer.port}`
      let going = true
      const outcomes = new Map<string, number>()
      const note = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1)
      const clients = Array.from({ length: 4 }, async (_, client) => {
        while (going) {
          const answer = await (client % 2 === 0
            ? push(url, freshUids(), signed)
            : http('GET', `${url}/dicom-web/studies?limit=5`, signed)
          ).catch(error => ({ status: String(error.code ?? error.message) }))
          note(String(answer.status))
          await sleep(5)
        }
      })
      for (const node of started) {
        await node.stop('SIGTERM')
        await node.start()
        await sleep(600) // the balancer sees it again
      }
      going = false
      await Promise.all(clients)
      await balancer.stop()
      expect(outcomes.get('200')).toBeGreaterThan(100)
      expect(Object.fromEntries(outcomes)).toEqual({ 200: outcomes.get('200') })
    },
    180_000,
  )
})
