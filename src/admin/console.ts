import { existsSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import express, { Router } from 'express'

/** Where the build puts the pages. Run from its sources, as tests do, the service takes those of the last build. */
const built = [new URL('../console/', import.meta.url), new URL('../../dist/console/', import.meta.url)]
  .map(url => fileURLToPath(url))
  .find(folder => existsSync(join(folder, 'assets')))

const contentTypes: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
}

/** The web console: files that hold no data, and are therefore open to all. */
export function consolePages(): Router {
  const router = Router()
  if (!built) return router
  router.get(/^\/assets\/[\w-]+\.(?:js|css)$/, (req, res, next) => {
    res.vary('Accept-Encoding')
    if (!req.acceptsEncodings('gzip')) return next()
    // Of a file that is not there no header is set.
    const headers = { 'Content-Encoding': 'gzip', 'Content-Type': contentTypes[extname(req.path)] }
    const options = { root: built, immutable: true, maxAge: '1y', acceptRanges: false, headers }
    res.sendFile(`${req.path}.gz`, options, error => error && !res.headersSent && next())
  })
  router.use(
    express.static(built, {
      index: 'index.html',
      // Names of assets hold a digest of their content.
      setHeaders: (res, path) =>
        res.set('Cache-Control', path.includes('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache'),
    }),
  )
  return router
}
