import type { NextFunction, Request, Response } from 'express'
import type { Audit } from '../platform/audit.js'
import { allowed, type Caller, type Guard } from './access/guard.js'

/** Who may use DICOMweb: readers need `images:read`, writers `instances:write`. The source's name is left in `res.locals.source`, and who has asked is kept. */
export function requireDicomwebAccess(guard: Guard, audit: Audit) {
  return (req: Request, res: Response, next: NextFunction): void => {
    const caller = res.locals.caller as Caller | undefined
    const reads = ['GET', 'HEAD', 'OPTIONS'].includes(req.method)
    if (!allowed(guard, req, res, reads ? 'images:read' : 'instances:write')) return
    if (caller?.source) res.locals.source = caller.source
    if (req.method === 'GET') noteReading(audit, caller!, req.path)
    next()
  }
}

function noteReading(audit: Audit, { name, role, address }: Caller, path: string): void {
  const study = /^\/studies\/([0-9.]{1,64})(\/|$)/.exec(path)?.[1]
  const isQuery = !study || /\/(series|instances)\/?$/.test(path)
  const actor = { name, role, address }
  audit.tally(
    isQuery
      ? { event: 'query', actor, study, detail: { by: 'QIDO-RS' } }
      : { event: 'instances-accessed', actor, study, detail: { by: 'WADO-RS' } },
  )
}
