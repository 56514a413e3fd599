import type { Router } from 'express'
import { openApi } from './openApi.js'
import { type Operation, operation, serveOperations } from './operation.js'
import { accountOperations } from './operations/accounts.js'
import { auditOperations } from './operations/auditTrail.js'
import type { AdminContext } from './operations/common.js'
import { configurationOperations } from './operations/configuration.js'
import { notificationOperations } from './operations/notifications.js'
import { reportOperations } from './operations/reports.js'
import { sessionOperations } from './operations/session.js'
import { studyOperations } from './operations/studies.js'
import { tokenOperations } from './operations/tokens.js'
import { viewingOperations } from './operations/viewing.js'
import { sendProblem } from './problem.js'

/** The admin REST API. Answers hold study UIDs and states, and no patient data but where that is asked for and allowed. */
export function adminRouter(context: AdminContext): Router {
  const operations: Operation[] = [
    ...studyOperations(context),
    ...viewingOperations(context),
    ...reportOperations(context),
    ...configurationOperations(context),
    ...sessionOperations(context),
    ...accountOperations(context),
    ...tokenOperations(context),
    ...notificationOperations(context),
    ...auditOperations(context),
  ]
  const description = operation({
    method: 'get',
    path: '/openapi.json',
    permission: 'open',
    tag: 'description',
    summary: 'This description',
    answer: { mediaType: 'application/json' },
    handle: () => document,
  })
  const document = openApi([...operations, description])
  const router = serveOperations([...operations, description], context.guard)
  router.use((_req, res) => sendProblem(res, 404, 'there is no such resource'))
  return router
}
