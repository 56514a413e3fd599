import { z } from 'zod'
import { addresseeOf } from '../../notifications/send.js'
import { type Operation, operation, time } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { type AdminContext, count } from './common.js'

const tag = 'notifications'

export function notificationOperations(context: AdminContext): Operation[] {
  const { database, notifier } = context
  return [
    operation({
      method: 'get',
      path: '/notifications',
      permission: 'configuration:read',
      tag,
      summary: 'Rules, and what came of them',
      answer: z.array(
        z.object({
          name: z.string(),
          on: z.array(z.string()),
          by: z.string(),
          lastSent: time.nullable(),
          waiting: count,
          lastError: z.string().nullable(),
        }),
      ),
      async handle() {
        const { rows } = await database.query<{
          rule: string
          lastSent: Date | null
          waiting: number
          lastError: string | null
        }>(
          `select rule, max(sent_at) "lastSent", count(*) filter (where state = 'pending')::int waiting,
                  (array_agg(last_error order by id desc) filter (where state in ('pending', 'dead') and last_error is not null))[1] "lastError"
             from notification group by rule`,
        )
        const known = new Map(rows.map(({ rule, ...row }) => [rule, row]))
        return context.endpoints.notifications.map(rule => ({
          name: rule.name,
          on: rule.on,
          by: addresseeOf(rule),
          ...(known.get(rule.name) ?? { lastSent: null, waiting: 0, lastError: null }),
        }))
      },
    }),
    operation({
      method: 'post',
      path: '/notifications/{rule}/test',
      permission: 'endpoints:test',
      tag,
      summary: 'Sends a message by a rule that says it is a test',
      params: z.object({ rule: z.string() }),
      answer: z.object({ detail: z.string() }),
      problems: { 404: 'no such rule', 502: 'it could not be sent' },
      async handle({ params }) {
        const rule = context.endpoints.notifications.find(entry => entry.name === params.rule)
        if (!rule) throw new ApiProblem(404, 'no rule bears this name')
        try {
          return { detail: await notifier.test(rule) }
        } catch (error) {
          throw new ApiProblem(502, `it could not be sent: ${(error as Error).message}`)
        }
      },
    }),
  ]
}
