import { z } from 'zod'
import type { PipelineContext } from '../../pipeline/index.js'
import type { Audit } from '../../platform/audit.js'
import type { Configuration } from '../../platform/configuration.js'
import type { Guard } from '../access/guard.js'
import type { Oidc } from '../access/oidc.js'
import { ApiProblem } from '../problem.js'

/** What operations work with. */
export interface AdminContext extends PipelineContext {
  configuration: Configuration
  audit: Audit
  guard: Guard
  oidc: Oidc | undefined
  /** Of a session. */
  sessionHours: number
  /** The address that users know, if a proxy stands before the service. */
  publicUrl: string | undefined
  /** 0: no associations are taken. */
  dimsePort: number
  /** Requests come encrypted. */
  secure: boolean
  /** Folder of the viewer OHIF; undefined: there is none. */
  viewer: string | undefined
}

const uid = z.string().regex(/^[0-9.]{1,64}$/, 'expected a UID')
export const studyParams = z.object({ uid: uid.describe('Study Instance UID') })

export const days = z.coerce
  .number('days: expected a whole number from 1')
  .int('expected a whole number from 1')
  .min(1, 'expected a whole number from 1')
  .max(36_600)

export const limit = z.coerce
  .number('expected a whole number up to 1000')
  .int('expected a whole number up to 1000')
  .min(0, 'expected a whole number up to 1000')
  .max(1000, 'expected a whole number up to 1000')
  .default(100)

/** Of a query: `true`, or nothing. */
export const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform(text => text === 'true')

export const noSuchStudy = () => new ApiProblem(404, 'no study of this UID was received')

export const count = z.number().int()
export const state = z.object({ state: z.string() })

/** Why a route is chosen, or is not. */
export const routeExplanation = z.object({ route: z.string(), matches: z.boolean(), reason: z.string() })
