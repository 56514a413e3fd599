/** A media type with its parameters, names in lower case, values without quotes (RFC 9110 8.3.1). */
export interface MediaType {
  type: string
  parameters: Readonly<Record<string, string>>
}

/**
 * Reads a Content-Type or one element of Accept. Tolerates an unquoted `type=application/dicom`, which is widely sent.
 * @returns undefined for what is no media type
 */
export function parseMediaType(text: string): MediaType | undefined {
  const pieces = splitOutsideQuotes(text, ';')
  const type = pieces[0]!.trim().toLowerCase()
  if (!/^[^\s/;,"]+\/[^\s/;,"]+$/.test(type)) return undefined
  const parameters: Record<string, string> = {}
  for (const piece of pieces.slice(1)) {
    const at = piece.indexOf('=')
    if (at < 0) continue
    const name = piece.slice(0, at).trim().toLowerCase()
    const value = piece.slice(at + 1).trim()
    parameters[name] = value.startsWith('"')
      ? value.slice(1, value.endsWith('"') ? -1 : undefined).replace(/\\(.)/g, '$1')
      : value
  }
  return { type, parameters }
}

/** The media types of an Accept header, best first by their q-values; absent means that everything is accepted. */
export function parseAccept(header: string | undefined): MediaType[] {
  if (!header?.trim()) return [{ type: '*/*', parameters: {} }]
  return splitOutsideQuotes(header, ',')
    .map(parseMediaType)
    .filter(type => type !== undefined)
    .map(type => ({ type, q: Number(type.parameters.q ?? 1) }))
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q)
    .map(({ type }) => type)
}

export function accepts(accepted: readonly MediaType[], type: string): boolean {
  return accepted.some(a => a.type === type || a.type === '*/*' || a.type === `${type.slice(0, type.indexOf('/'))}/*`)
}

/** The one of these media types that is accepted best; of those alike the first. */
export function chooseType<T extends string>(accepted: readonly MediaType[], offered: readonly T[]): T | undefined {
  for (const type of accepted) {
    const found = offered.find(candidate => accepts([type], candidate))
    if (found) return found
  }
  return undefined
}

/** How data sets go out: an array in JSON, or a multipart of XML; undefined if the client accepts neither. */
export function datasetForm(accepted: readonly MediaType[]): 'json' | 'xml' | undefined {
  for (const type of accepted) {
    if (accepts([type], 'application/dicom+json') || accepts([type], 'application/json')) return 'json'
    const rootType = type.parameters.type?.toLowerCase() ?? 'application/dicom+xml'
    if (type.type === 'multipart/related' && rootType === 'application/dicom+xml') return 'xml'
  }
  return undefined
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const pieces: string[] = []
  let quoted = false
  let start = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && quoted) i++
    else if (text[i] === '"') quoted = !quoted
    else if (text[i] === separator && !quoted) {
      pieces.push(text.slice(start, i))
      start = i + 1
    }
  }
  return [...pieces, text.slice(start)]
}
