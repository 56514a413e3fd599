import { type Request, type Response, Router } from 'express'
import { sendProblem } from './problem.js'
import { qido } from './qido.js'
import { type StowOptions, stow } from './stow.js'
import { type WadoOptions, wado, wadoMetadata } from './wado.js'
import { wadoFrames, wadoPixelData } from './wadoFrames.js'
import { wadoRendered, wadoThumbnail } from './wadoRendered.js'

/** The DICOMweb service (PS3.18): STOW-RS, QIDO-RS, WADO-RS. */
export function dicomwebRouter(options: StowOptions & WadoOptions): Router {
  const router = Router()
  const { database } = options
  resource(router, '/studies', { GET: qido(database, 'studies'), POST: stow(options) })
  resource(router, '/studies/:study', { GET: wado(options), POST: stow(options) })
  resource(router, '/series', { GET: qido(database, 'series') })
  resource(router, '/instances', { GET: qido(database, 'instances') })
  resource(router, '/studies/:study/metadata', { GET: wadoMetadata(options) })
  resource(router, '/studies/:study/series', { GET: qido(database, 'series') })
  resource(router, '/studies/:study/instances', { GET: qido(database, 'instances') })
  resource(router, '/studies/:study/series/:series', { GET: wado(options) })
  resource(router, '/studies/:study/series/:series/metadata', { GET: wadoMetadata(options) })
  resource(router, '/studies/:study/series/:series/instances', { GET: qido(database, 'instances') })
  const instance = '/studies/:study/series/:series/instances/:instance'
  resource(router, instance, { GET: wado(options) })
  resource(router, `${instance}/metadata`, { GET: wadoMetadata(options) })
  resource(router, `${instance}/frames/:frames`, { GET: wadoFrames(options) })
  resource(router, `${instance}/frames/:frame/rendered`, { GET: wadoRendered(options) })
  resource(router, `${instance}/frames/:frame/thumbnail`, { GET: wadoThumbnail(options) })
  resource(router, `${instance}/rendered`, { GET: wadoRendered(options) })
  for (const level of ['/studies/:study', '/studies/:study/series/:series', instance])
    resource(router, `${level}/thumbnail`, { GET: wadoThumbnail(options) })
  resource(router, `${instance}/bulkdata/7FE00010`, { GET: wadoPixelData(options) })
  return router
}

type Handler = (req: Request, res: Response) => Promise<void>

/** A resource with its methods; OPTIONS tells them, any other method gets 405 (RFC 9110 15.5.6). */
function resource(router: Router, path: string, methods: { GET?: Handler; POST?: Handler }): void {
  const allow = ['OPTIONS', ...(methods.GET ? ['GET', 'HEAD'] : []), ...(methods.POST ? ['POST'] : [])].join(', ')
  const route = router.route(path)
  if (methods.GET) route.get(methods.GET)
  if (methods.POST) route.post(methods.POST)
  route.options((_req, res) => void res.set('Allow', allow).status(204).end())
  route.all((_req, res) =>
    sendProblem(res, {
      status: 405,
      title: 'Method Not Allowed',
      detail: `allowed here: ${allow}`,
      headers: { Allow: allow },
    }),
  )
}
