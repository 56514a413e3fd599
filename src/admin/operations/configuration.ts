import { stringify } from 'yaml'
import { z } from 'zod'
import { readPart10Header } from '../../dicom/part10.js'
import { chooseRoute, readTraits, type StudyTraits, traitsOf } from '../../pipeline/index.js'
import { type Configuration, ConfigurationConflict, type ConfigurationDocument } from '../../platform/configuration.js'
import { type Difference, differences } from '../../platform/differences.js'
import { type Endpoints, endpointsJsonSchema, type Route } from '../../platform/endpoints.js'
import { EndpointsProblem, endpointsOf, type ReadEndpoints, readEndpoints } from '../../platform/readEndpoints.js'
import { SettingsError } from '../../platform/settings.js'
import { type EndpointTest, testEndpoint } from '../endpointTest.js'
import { type Call, type Operation, operation, Reply, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { type AdminContext, count, flag, limit, noSuchStudy, routeExplanation } from './common.js'

const tag = 'configuration'
const versionSchema = z.object({
  version: count,
  author: z.string(),
  comment: z.string(),
  restores: count.nullable(),
  createdAt: time.nullable(),
})
const documentSchema = versionSchema.extend({ document: z.looseObject({}) })
const difference = z.object({
  path: z.string(),
  kind: z.enum(['added', 'removed', 'changed']),
  from: z.unknown().optional(),
  to: z.unknown().optional(),
})
const endpointTest = z.looseObject({ name: z.string(), kind: z.string(), ok: z.boolean() })
const changeSchema = z.object({
  version: count.describe('the newest version; of a dry run: the one it was compared with'),
  changes: z.array(difference),
  tests: z.array(endpointTest).optional().describe('of what is new or another, if asked for'),
})
const problems = {
  412: 'the configuration has been changed since it was read',
  422: 'the document cannot be used; errors says where and why',
  428: 'If-Match is missing',
}

export function configurationOperations(context: AdminContext): Operation[] {
  const { configuration, audit, database } = context
  return [
    operation({
      method: 'get',
      path: '/configuration',
      permission: 'configuration:read',
      tag,
      summary: 'The endpoints in force, as they were written; its version is the ETag that a change has to name',
      query: z.strictObject({ format: z.enum(['json', 'yaml']).default('json') }),
      answer: documentSchema,
      handle: async ({ query }) => send(await configuration.read(), query.format),
    }),
    operation({
      method: 'put',
      path: '/configuration',
      permission: 'configuration:write',
      tag,
      summary:
        'Changes the endpoints: with If-Match, the version that the document was made from. Takes effect at once on all nodes',
      query: z.strictObject({
        dryRun: flag.describe('only tells what would change'),
        test: flag.describe('with dryRun: tests what is new or another'),
        comment: z.string().max(500).optional(),
      }),
      body: 'text',
      answer: changeSchema,
      problems,
      async handle(call) {
        const { query, body } = call
        const read = readDocument(body as string)
        if (!query.dryRun) return apply(read, call, context, query.comment ? { comment: query.comment } : {})
        const changes = await configuration.compare(read.document)
        const tests = query.test ? await testChanged(changes, read.endpoints, context) : undefined
        return { version: configuration.version, changes, ...(tests ? { tests } : {}) }
      },
    }),
    operation({
      method: 'get',
      path: '/configuration/schema',
      permission: 'configuration:read',
      tag,
      summary: 'JSON Schema of the document',
      answer: z.looseObject({}),
      handle: () => endpointsJsonSchema(),
    }),
    operation({
      method: 'get',
      path: '/configuration/versions',
      permission: 'configuration:read',
      tag,
      summary: 'Who changed the configuration when, the latest first',
      query: z.strictObject({ limit }),
      answer: z.array(versionSchema),
      handle: ({ query }) => configuration.history(query.limit),
    }),
    operation({
      method: 'get',
      path: '/configuration/versions/{version}',
      permission: 'configuration:read',
      tag,
      summary: 'An earlier version, and what it changed',
      params: z.object({ version: z.coerce.number().int().min(1) }),
      query: z.strictObject({ format: z.enum(['json', 'yaml']).default('json') }),
      answer: documentSchema.extend({ changes: z.array(difference) }),
      problems: { 404: 'no such version' },
      async handle({ params: { version }, query }) {
        const found = await versionOf(configuration, version)
        const before = version > 1 ? (await configuration.read(version - 1)).document : {}
        return send({ ...found, changes: differences(before, found.document) }, query.format)
      },
    }),
    operation({
      method: 'post',
      path: '/configuration/rollback',
      permission: 'configuration:write',
      tag,
      summary: 'Brings an earlier version back, as a new one',
      body: z.strictObject({ version: z.number().int().min(1), comment: z.string().max(500).optional() }),
      answer: changeSchema,
      problems: { ...problems, 404: 'no such version' },
      async handle(call) {
        const { version, comment } = call.body
        const earlier = await versionOf(configuration, version)
        return apply(
          checked(() => endpointsOf(earlier.document)),
          call,
          context,
          {
            restores: version,
            comment: comment ?? `version ${version} again`,
          },
        )
      },
    }),
    operation({
      method: 'post',
      path: '/endpoints/{name}/test',
      permission: 'endpoints:test',
      tag,
      summary: 'Really tests a provider or destination: name, connection, TLS, and whether it understands us',
      params: z.object({ name: z.string() }),
      answer: endpointTest,
      problems: { 404: 'no destination or provider bears this name' },
      async handle({ params: { name } }) {
        const test = await testEndpoint(name, context.endpoints, context.echo)
        if (!test) throw new ApiProblem(404, 'no destination or provider bears this name')
        return test
      },
    }),
    operation({
      method: 'post',
      path: '/routes/try',
      permission: 'configuration:read',
      tag,
      summary:
        'Which route takes a stored study, a file, or each of the studies of the last days, and why; of the routes in force, or of a document that is not',
      body: z.strictObject({
        document: z.looseObject({}).optional().describe('endpoints that are tried instead of those in force'),
        study: z.string().max(64).optional(),
        file: z
          .base64()
          .max(3_900_000)
          .optional()
          .describe('the beginning of a DICOM file, up to its pixels; nothing of it is kept'),
        days: z.number().int().min(1).max(366).default(30),
        limit: z.number().int().min(1).max(2000).default(500),
      }),
      answer: z.object({
        counts: z.array(z.object({ route: z.string().nullable(), studies: count })),
        studies: z.array(
          z.object({
            studyInstanceUid: z.string().nullable(),
            route: z.string().nullable(),
            explanation: z.array(routeExplanation),
          }),
        ),
      }),
      problems: { 404: 'no such study', 422: problems[422] },
      async handle({ body }) {
        const document = body.document
        const { routes } = document ? checked(() => endpointsOf(document)).endpoints : context.endpoints
        if (body.file) {
          const judged = judge(routes, traitsOfFile(Buffer.from(body.file, 'base64')))
          return { counts: [{ route: judged.route, studies: 1 }], studies: [{ studyInstanceUid: null, ...judged }] }
        }
        const { rows } = body.study
          ? await database.query<{ uid: string }>(
              'select study_instance_uid uid from study where study_instance_uid = $1',
              [body.study],
            )
          : await database.query<{ uid: string }>(
              `select study_instance_uid uid from study where received_at > now() - make_interval(days => $1) order by received_at desc limit $2`,
              [body.days, body.limit],
            )
        if (body.study && rows.length === 0) throw noSuchStudy()
        const studies: ({ studyInstanceUid: string } & Judged)[] = []
        for (let start = 0; start < rows.length; start += 8)
          studies.push(
            ...(await Promise.all(
              rows.slice(start, start + 8).map(async ({ uid }) => ({
                studyInstanceUid: uid,
                ...judge(routes, await readTraits(database, uid)),
              })),
            )),
          )
        const counts = new Map<string | null, number>()
        for (const { route } of studies) counts.set(route, (counts.get(route) ?? 0) + 1)
        return { counts: [...counts].map(([route, n]) => ({ route, studies: n })), studies }
      },
    }),
  ]

  async function apply(
    read: ReadEndpoints,
    { req, caller, done }: Pick<Call<unknown, unknown, unknown>, 'req' | 'caller' | 'done'>,
    { configuration }: AdminContext,
    change: { comment?: string; restores?: number },
  ): Promise<Reply> {
    const basedOn = versionNamed(req.headers['if-match'])
    let told = () => {}
    let changes: Difference[] = []
    try {
      const version = await configuration.apply(read, { basedOn, author: caller.name, ...change }, async (tx, v, c) => {
        changes = c
        told = await audit.recordIn(
          tx,
          done({
            event: 'configuration-changed',
            detail: { version: v, changed: c.map(({ kind, path }) => `${kind} ${path}`), ...change },
          }),
        )
      })
      told()
      return new Reply(200, { version, changes }, { ETag: `"${version}"` })
    } catch (error) {
      if (error instanceof ConfigurationConflict) throw new ApiProblem(412, error.message, { version: error.current })
      // What a part says of the document, mostly that a secret cannot be read.
      if (error instanceof SettingsError || (error instanceof Error && /^(secret|TLS)\b/.test(error.message)))
        throw new ApiProblem(422, error.message)
      throw error
    }
  }
}

/** @throws ApiProblem if it is none */
function traitsOfFile(bytes: Buffer): StudyTraits {
  const outcome = readPart10Header(bytes, false)
  if (outcome.outcome === 'header') return traitsOf(outcome.header.json)
  throw new ApiProblem(422, outcome.outcome === 'refused' ? outcome.detail : 'its header is not within what was sent')
}

interface Judged {
  route: string | null
  explanation: object[]
}

function judge(routes: readonly Route[], traits: StudyTraits): Judged {
  const { explanation, ...choice } = chooseRoute(routes, traits)
  return { route: 'route' in choice ? choice.route.name : null, explanation }
}

async function versionOf(configuration: Configuration, version: number) {
  const found = await configuration.read(version)
  if (found.version !== version) throw new ApiProblem(404, 'there is no version of this number')
  return found
}

function send(version: ConfigurationDocument & { changes?: Difference[] }, format: 'json' | 'yaml'): Reply {
  const headers = { ETag: `"${version.version}"` }
  if (format === 'json') return new Reply(200, version, headers)
  const head = `# version ${version.version}, by ${version.author}${version.createdAt ? ` at ${version.createdAt.toISOString()}` : ''}\n`
  return new Reply(200, head + stringify(version.document), { ...headers, 'Content-Type': 'application/yaml' })
}

function versionNamed(header: string | undefined): number {
  const match = /^(?:W\/)?"?(\d+)"?$/.exec(header ?? '')
  if (!match)
    throw new ApiProblem(428, 'send If-Match with the version that the document was made from, as GET tells it in ETag')
  return Number(match[1])
}

const readDocument = (text: string): ReadEndpoints => checked(() => readEndpoints(text, 'the document'))

function checked<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof EndpointsProblem) throw new ApiProblem(422, error.message, { errors: error.issues })
    throw error
  }
}

/** Tests providers and destinations that are new or another. */
async function testChanged(
  changes: Difference[],
  endpoints: Endpoints,
  { echo }: AdminContext,
): Promise<EndpointTest[]> {
  const entries = [...endpoints.providers, ...endpoints.destinations].map(({ name }) => name)
  const changed = entries.filter(name =>
    changes.some(
      ({ path, kind }) => kind !== 'removed' && /^(providers|destinations)\./.test(path) && path.split('.')[1] === name,
    ),
  )
  const whole = changes.some(({ path, kind }) => kind === 'added' && (path === 'providers' || path === 'destinations'))
  const tests = await Promise.all((whole ? entries : changed).map(name => testEndpoint(name, endpoints, echo)))
  return tests.filter(test => test !== undefined)
}
