import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import express, { type Request, type Response, Router } from 'express'
import type { Caller, Guard } from './access/guard.js'
import { identify } from './access/guard.js'

const base = '/viewer/'

/** Where the viewer OHIF stands: in the folder of the setting, or as the npm package `@ohif/app`; undefined: nowhere. */
export function viewerFolder(setting: string | undefined): string | undefined {
  const folder = setting ?? installedViewer()
  return folder && existsSync(join(folder, 'index.html')) ? folder : undefined
}

function installedViewer(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('@ohif/app/package.json')), 'dist')
  } catch {
    return undefined
  }
}

/** OHIF on this archive. It was built to stand at the root of a server: its page, scripts and styles are told where it stands. */
export function viewerPages(folder: string, guard: Guard): Router {
  const page = readFileSync(join(folder, 'index.html'), 'utf8')
    .replace(/(href|src|content)="\/(?!\/)/g, `$1="${base}`)
    .replaceAll(`window.PUBLIC_URL = '/'`, `window.PUBLIC_URL = '${base}'`)
    // It only takes an old service worker away, and asks a host on the internet for its code.
    .replace(/<script[^>]*init-service-worker\.js"><\/script>/, '')
  const headers = {
    'Content-Security-Policy': policyFor(page),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'X-Content-Type-Options': 'nosniff',
  }
  const moved = movedFiles(folder)
  const sendPage = (_req: Request, res: Response) => void res.set(headers).type('html').send(page)
  const router = Router()
  router.use((_req, res, next) => {
    res.set(headers)
    next()
  })
  router.get('/app-config.js', (_req, res) => void res.type('js').send(`window.config = ${JSON.stringify(settings)}`))
  router.get(/^\/[\w.-]+\.(js|css)$/, async (req, res, next) => {
    const bytes = await moved(req.path.slice(1))
    if (!bytes) return next()
    res.set({ 'Content-Encoding': 'gzip', 'Cache-Control': 'public, max-age=86400' })
    res.type(req.path.endsWith('.css') ? 'css' : 'js').send(bytes)
  })
  router.use(express.static(folder, { index: false, maxAge: '1d' }))
  // Its pages are addresses of their own; whoever may not see images signs in first.
  router.get('/{*page}', identify(guard), (req, res) => {
    const caller = res.locals.caller as Caller | undefined
    if (caller?.permissions.has('images:read')) sendPage(req, res)
    else res.redirect('/')
  })
  return router
}

/** What a page with these scripts in it may do: ask nobody but this server. */
function policyFor(page: string): string {
  const inline = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, text]) => `'sha256-${createHash('sha256').update(text!).digest('base64')}'`,
  )
  return [
    `default-src 'self'`,
    // Its codecs are WebAssembly, and one of its libraries compiles what it draws with.
    `script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval' ${inline.join(' ')}`,
    `style-src 'self' 'unsafe-inline'`,
    `img-src 'self' data: blob:`,
    `font-src 'self' data:`,
    `connect-src 'self' data: blob:`,
    `worker-src 'self' blob:`,
    `object-src 'none'`,
    `base-uri 'none'`,
    `frame-ancestors 'none'`,
  ].join('; ')
}

/** Scripts and styles that say where they stand, with our place in it, compressed; undefined for those that do not. Each is looked at once. */
function movedFiles(folder: string): (name: string) => Promise<Buffer | undefined> {
  const known = new Map<string, Promise<Buffer | undefined>>()
  const look = async (name: string) => {
    const text = await readFile(join(folder, name), 'utf8')
    const moved = text
      .replace('__webpack_require__.p = "/"', `__webpack_require__.p = "${base}"`)
      .replace(/url\(\/(?=[\w.-]+\))/g, `url(${base}`)
    return moved === text ? undefined : promisify(gzip)(moved)
  }
  const names = new Set(readdirSync(folder))
  return async name => {
    if (!names.has(name)) return undefined
    if (!known.has(name)) known.set(name, look(name))
    return known.get(name)
  }
}

const source = {
  namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
  sourceName: 'dicomweb',
  configuration: {
    friendlyName: 'Radbridge',
    name: 'radbridge',
    wadoUriRoot: '/dicom-web',
    qidoRoot: '/dicom-web',
    wadoRoot: '/dicom-web',
    qidoSupportsIncludeField: false,
    imageRendering: 'wadors',
    thumbnailRendering: 'wadors',
    enableStudyLazyLoad: true,
    supportsFuzzyMatching: false,
    supportsWildcard: true,
    omitQuotationForMultipartRequest: true,
    bulkDataURI: { enabled: true },
  },
}

const settings = {
  routerBasename: '/viewer',
  showStudyList: true,
  extensions: [],
  modes: [],
  customizationService: {},
  maxNumberOfWebWorkers: 2,
  showCPUFallbackMessage: false,
  defaultDataSourceName: 'dicomweb',
  dataSources: [source],
}
