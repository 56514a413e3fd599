import { type Request, type Response, Router } from 'express'
import { type Resource, sendCapabilities } from './capabilities.js'
import { sendProblem } from './problem.js'
import { qido } from './qido.js'
import { type StowOptions, stow } from './stow.js'
import { workitemHandlers } from './ups.js'
import { type WadoOptions, wado } from './wado.js'
import { wadoFrames, wadoPixelData } from './wadoFrames.js'
import { wadoBulkData, wadoMetadata } from './wadoMetadata.js'
import { wadoRendered, wadoRenderedImages, wadoThumbnail } from './wadoRendered.js'

export { cors } from './cors.js'
export { openEventChannels } from './upsEvents.js'

/** The DICOMweb service (PS3.18): STOW-RS, QIDO-RS, WADO-RS, UPS-RS. */
export function dicomwebRouter(options: StowOptions & WadoOptions): Router {
  const router = Router()
  const { database } = options
  const resources: Resource[] = []
  const resource = (path: string, methods: Methods) => {
    resources.push({ path, methods: Object.keys(methods) })
    addResource(router, path, methods, () => resources)
  }
  resource('/studies', { GET: qido(database, 'studies'), POST: stow(options) })
  resource('/studies/:study', { GET: wado(options), POST: stow(options) })
  resource('/series', { GET: qido(database, 'series') })
  resource('/instances', { GET: qido(database, 'instances') })
  resource('/studies/:study/metadata', { GET: wadoMetadata(options) })
  resource('/studies/:study/series', { GET: qido(database, 'series') })
  resource('/studies/:study/instances', { GET: qido(database, 'instances') })
  resource('/studies/:study/series/:series', { GET: wado(options) })
  resource('/studies/:study/series/:series/metadata', { GET: wadoMetadata(options) })
  resource('/studies/:study/series/:series/instances', { GET: qido(database, 'instances') })
  const instance = '/studies/:study/series/:series/instances/:instance'
  resource(instance, { GET: wado(options) })
  resource(`${instance}/metadata`, { GET: wadoMetadata(options) })
  resource(`${instance}/frames/:frames`, { GET: wadoFrames(options) })
  resource(`${instance}/frames/:frame/rendered`, { GET: wadoRendered(options) })
  resource(`${instance}/frames/:frame/thumbnail`, { GET: wadoThumbnail(options) })
  for (const level of ['/studies/:study', '/studies/:study/series/:series'])
    resource(`${level}/rendered`, { GET: wadoRenderedImages(options) })
  resource(`${instance}/rendered`, { GET: wadoRendered(options) })
  for (const level of ['/studies/:study', '/studies/:study/series/:series', instance])
    resource(`${level}/thumbnail`, { GET: wadoThumbnail(options) })
  resource(`${instance}/bulkdata/7FE00010`, { GET: wadoPixelData(options) })
  resource(`${instance}/bulkdata/*path`, { GET: wadoBulkData(options) })
  const workitems = workitemHandlers(database)
  resource('/workitems', { GET: workitems.search, POST: workitems.create })
  resource('/workitems/:workitem', { GET: workitems.retrieve, POST: workitems.update })
  resource('/workitems/:workitem/state', { PUT: workitems.changeState })
  resource('/workitems/:workitem/cancelrequest', { POST: workitems.requestCancel })
  resource('/workitems/:workitem/subscribers/:subscriber', { POST: workitems.subscribe, DELETE: workitems.unsubscribe })
  resource('/workitems/:workitem/subscribers/:subscriber/suspend', { POST: workitems.suspend })
  router.options('/', (req, res) => sendCapabilities(req, res.set('Allow', 'OPTIONS'), resources))
  return router
}

type Handler = (req: Request, res: Response) => Promise<void>
interface Methods {
  GET?: Handler
  POST?: Handler
  PUT?: Handler
  DELETE?: Handler
}

/** A resource with its methods; OPTIONS tells them (PS3.18 8.9), any other method gets 405 (RFC 9110 15.5.6). */
function addResource(router: Router, path: string, methods: Methods, all: () => readonly Resource[]): void {
  const { GET, ...others } = methods
  const allow = ['OPTIONS', ...(GET ? ['GET', 'HEAD'] : []), ...Object.keys(others)].join(', ')
  const route = router.route(path)
  if (GET) route.get(GET)
  if (methods.POST) route.post(methods.POST)
  if (methods.PUT) route.put(methods.PUT)
  if (methods.DELETE) route.delete(methods.DELETE)
  route.options((req, res) => {
    res.set('Allow', allow)
    sendCapabilities(req, res, path === '/studies' ? all() : all().filter(resource => resource.path === path))
  })
  route.all((_req, res) =>
    sendProblem(res, {
      status: 405,
      title: 'Method Not Allowed',
      detail: `allowed here: ${allow}`,
      headers: { Allow: allow },
    }),
  )
}
