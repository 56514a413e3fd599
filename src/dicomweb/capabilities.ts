import type { Request, Response } from 'express'
import { chooseType, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'

/** A resource of the service: its path with `:name` for what is filled in, and what can be done with it. */
export interface Resource {
  path: string
  methods: readonly string[]
}

const wadlType = 'application/vnd.sun.wadl+xml'
const offered = [wadlType, 'application/json'] as const

/** The Capabilities Description (PS3.18 8.9.2, annex H) of these resources. */
export function sendCapabilities(req: Request, res: Response, resources: readonly Resource[]): void {
  const type = chooseType(parseAccept(req.headers.accept), offered)
  if (!type) {
    const detail = `capabilities are available as ${offered.join(' and ')}`
    sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    return
  }
  const base = baseUrl(req)
  res
    .type(type)
    .send(type === wadlType ? wadl(base, resources) : JSON.stringify({ base, resources: resources.map(named) }))
}

/** `/studies/:study` is `/studies/{study}` in a URI template. */
const templateOf = (path: string) => path.replace(/[:*]([A-Za-z]+)/g, '{$1}')
const named = ({ path, methods }: Resource) => ({ path: templateOf(path), methods })

function wadl(base: string, resources: readonly Resource[]): string {
  const entries = resources.map(({ path, methods }) => {
    const template = templateOf(path)
    const parameters = [...template.matchAll(/\{([A-Za-z]+)\}/g)].map(
      ([, name]) => `<param name="${name}" style="template" required="true"/>`,
    )
    const id = (method: string) => `${method.toLowerCase()}${template.replace(/[^A-Za-z]+/g, '-')}`
    const operations = methods.map(method => `<method name="${method}" id="${id(method)}"/>`)
    return `<resource path="${template.slice(1)}">${parameters.join('')}${operations.join('')}</resource>`
  })
  const content = `<resources base="${base.replace(/[&<"]/g, '')}/">${entries.join('')}</resources>`
  return `<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">${content}</application>`
}
