import { call, useApi } from './api'

/** The parts of the endpoints document that forms work on; all else is kept as it is. */
export interface EndpointsDocument {
  sources?: { name: string; stow?: object; dimse?: { aeTitle: string } & Record<string, unknown> }[]
  providers?: ({ name: string; kind: string; baseUrl?: string } & Record<string, unknown>)[]
  destinations?: {
    name: string
    stow?: { url: string }
    dimse?: { aeTitle: string; host: string; port: number }
    folder?: string
  }[]
  routes?: RouteEntry[]
  [other: string]: unknown
}

export interface RouteEntry {
  name: string
  match?: { modality?: string[]; bodyPart?: string[]; source?: string[] } & Record<string, unknown>
  priority?: string
  analysis: { primary: string; canary?: { provider: string } & Record<string, unknown>; shadow?: string[] } & Record<
    string,
    unknown
  >
  results?: string[]
  deliverTo?: string[]
  [other: string]: unknown
}

export interface Configuration {
  version: number
  author: string
  document: EndpointsDocument
}

export const useConfiguration = () => useApi<Configuration>('/configuration')

/** @throws Refusal: 412 if somebody else was faster, 422 if the document cannot be used */
export function applyDocument(
  document: EndpointsDocument,
  version: number,
  comment = '',
): Promise<{ version: number }> {
  const query = comment ? `?comment=${encodeURIComponent(comment)}` : ''
  return call('PUT', `/configuration${query}`, { body: document, headers: { 'If-Match': `"${version}"` } })
}
