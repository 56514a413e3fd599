import { z } from 'zod'
import { endpointsJsonSchema } from '../platform/endpoints.js'
import { packageVersion } from '../platform/packageVersion.js'
import { permissions } from './access/permissions.js'
import type { Operation } from './operation.js'

const problem = {
  description: 'RFC 9457',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

const general: Readonly<Record<number, string>> = {
  400: 'something of the request is not as described',
  401: 'who asks is not known',
  403: 'who asks may not do this',
}

/** The admin API as OpenAPI 3.1, of the same schemas that requests are checked by. */
export function openApi(operations: readonly Operation[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const one of operations) {
    const path = `/api${one.path}`
    paths[path] ??= {}
    paths[path][one.method] = describe(one)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Radbridge admin API',
      version: packageVersion,
      description:
        'Studies, deliveries, configuration, access and audit of a Radbridge installation. No answer holds patient data unless it says so.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ bearer: [] }, { session: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: `the administrator token, or an API token with scopes: ${Object.entries(permissions)
            .map(([name, what]) => `\`${name}\` (${what})`)
            .join(', ')}`,
        },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'radbridge_session',
          description: 'with X-CSRF-Token where something is changed',
        },
      },
      schemas: {
        Problem: {
          type: 'object',
          required: ['title', 'status', 'detail'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
          },
        },
        Endpoints: endpointsJsonSchema(),
      },
    },
  }
}

function describe(one: Operation): object {
  const own = one.permission === 'open' ? { 400: general[400]! } : general
  const errors = { ...own, ...one.problems }
  return {
    operationId:
      one.method +
      one.path.replace(/[{}]/g, '').replace(/(^|\/|-|\.)(\w)/g, (_, _sign, letter: string) => letter.toUpperCase()),
    summary: one.summary,
    tags: [one.tag],
    ...(one.permission === 'open' ? { security: [] } : { 'x-permission': one.permission }),
    parameters: [...parameters(one.params, 'path'), ...parameters(one.query, 'query')],
    ...(one.body ? { requestBody: { required: true, content: bodyOf(one.body) } } : {}),
    responses: {
      [one.status ?? 200]: { description: 'done', ...answerOf(one.answer) },
      ...Object.fromEntries(
        Object.entries(errors).map(([status, description]) => [status, { ...problem, description }]),
      ),
    },
  }
}

interface ObjectSchema {
  properties?: Record<string, { description?: string }>
  required?: string[]
}

function parameters(schema: z.ZodType | undefined, place: 'path' | 'query'): object[] {
  if (!schema) return []
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as ObjectSchema
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description ? { description } : {}),
    schema: rest,
  }))
}

function bodyOf(body: z.ZodType | 'text'): object {
  if (body !== 'text') return { 'application/json': { schema: schemaOf(body, 'input') } }
  const schema = { $ref: '#/components/schemas/Endpoints' }
  return { 'application/json': { schema }, 'application/yaml': { schema } }
}

function answerOf(answer: Operation['answer']): object {
  if (!answer) return {}
  if ('mediaType' in answer) return { content: { [answer.mediaType]: { schema: {} } } }
  return { content: { 'application/json': { schema: schemaOf(answer, 'output') } } }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
