import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { auditEntries, verifyAudit } from '../../platform/audit.js'
import { auditMessage } from '../../platform/auditMessage.js'
import { type Operation, operation, time } from '../operation.js'
import { type AdminContext, count, limit } from './common.js'

const tag = 'audit'
const permission = 'audit:read'

export function auditOperations({ database, audit, aeTitle }: AdminContext): Operation[] {
  return [
    operation({
      method: 'get',
      path: '/audit',
      permission,
      tag,
      summary: 'The audit trail, the latest first',
      query: z.strictObject({
        event: z.string().max(64).optional(),
        actor: z.string().max(200).optional(),
        before: z.coerce.number().int().optional().describe('number of an entry'),
        limit,
      }),
      answer: z.array(
        z.object({
          id: count,
          at: time,
          event: z.string(),
          outcome: z.enum(['success', 'failure']),
          actor: z.string(),
          data: z.looseObject({}),
        }),
      ),
      async handle({ query }) {
        const { rows } = await database.query(
          `select id, at, event, outcome, actor, event_data data from audit
            where ($1::text is null or event = $1) and ($2::text is null or actor = $2) and ($3::bigint is null or id < $3)
            order by id desc limit $4`,
          [query.event ?? null, query.actor ?? null, query.before ?? null, query.limit],
        )
        return rows
      },
    }),
    operation({
      method: 'get',
      path: '/audit/verify',
      permission,
      tag,
      summary: 'Checks that no entry was changed, taken out or put in between',
      answer: z.object({ entries: count, intact: z.boolean(), brokenAt: count.optional(), head: z.string() }),
      handle: () => verifyAudit(database),
    }),
    operation({
      method: 'get',
      path: '/audit/export',
      permission,
      tag,
      summary: 'The whole trail: JSON lines with the hashes, or DICOM audit messages (PS3.15 A.5)',
      query: z.strictObject({ format: z.enum(['jsonl', 'dicom']).default('jsonl') }),
      answer: { mediaType: 'application/x-ndjson' },
      async handle({ query, res, done }) {
        await audit.record(done({ event: 'audit-log-used', detail: { what: 'export' } }))
        const asXml = query.format === 'dicom'
        res.set('Content-Type', asXml ? 'application/xml' : 'application/x-ndjson')
        async function* lines() {
          if (asXml) yield '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n'
          for await (const { previous, hash, ...entry } of auditEntries(database))
            yield asXml
              ? `${auditMessage(entry, aeTitle)}\n`
              : `${JSON.stringify({ ...entry, previous: previous.toString('hex'), hash: hash.toString('hex') })}\n`
          if (asXml) yield '</AuditMessages>\n'
        }
        await pipeline(Readable.from(lines()), res).catch(() => res.destroy())
        return undefined
      },
    }),
  ]
}
