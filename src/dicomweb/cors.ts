import type { NextFunction, Request, Response } from 'express'

/** Headers of answers that pages may read. */
const exposed = 'Content-Type, Content-Location, ETag, Retry-After, Warning, WWW-Authenticate, Content-Range'
const allowedMethods = 'GET, HEAD, POST, PUT, DELETE, OPTIONS'

/** Cross-origin resource sharing (Fetch 3.2) for viewers of other origins; before access is checked, as browsers ask without credentials first. */
export function cors(origins: readonly string[]) {
  const allowed = new Set(origins.map(origin => (origin === '*' ? origin : new URL(origin).origin)))
  return (req: Request, res: Response, next: NextFunction): void => {
    const { origin } = req.headers
    if (origin && allowed.size > 0) res.vary('Origin')
    if (!origin || !(allowed.has('*') || allowed.has(origin))) {
      next()
      return
    }
    res.set({ 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': exposed })
    if (req.method !== 'OPTIONS' || !req.headers['access-control-request-method']) {
      next()
      return
    }
    const wanted = req.headers['access-control-request-headers']
    res.set({ 'Access-Control-Allow-Methods': allowedMethods, 'Access-Control-Max-Age': '600' })
    if (wanted) res.set('Access-Control-Allow-Headers', wanted)
    res.status(204).end()
  }
}
