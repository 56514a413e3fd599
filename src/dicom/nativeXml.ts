import { SaxesParser, type SaxesTagPlain } from 'saxes'
import type { DicomJson, DicomJsonElement, DicomJsonValue, PersonName } from './dicomJson.js'
import { keywordOf } from './dictionary.js'

/** Text that is no data set of the Native DICOM Model. */
export class XmlProblem extends Error {}

const maxDepth = 200
const maxValues = 100_000
const namespace = 'http://dicom.nema.org/PS3.19/models/NativeDICOM'

/** A data set in the Native DICOM Model (PS3.19 A.1). */
export function toNativeXml(dataset: DicomJson): string {
  const content = attributes(dataset)
  return `<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="${namespace}" xml:space="preserve">${content}</NativeDicomModel>`
}

function attributes(dataset: DicomJson): string {
  return Object.keys(dataset)
    .sort()
    .map(tag => attribute(tag, dataset[tag]!))
    .join('')
}

function attribute(tag: string, { vr, Value, InlineBinary, BulkDataURI }: DicomJsonElement): string {
  const keyword = keywordOf(tag)
  const open = `<DicomAttribute tag="${tag}" vr="${vr}"${keyword ? ` keyword="${keyword}"` : ''}>`
  const close = '</DicomAttribute>'
  if (BulkDataURI !== undefined) return `${open}<BulkData uri="${escaped(BulkDataURI)}"/>${close}`
  if (InlineBinary !== undefined) return `${open}<InlineBinary>${InlineBinary}</InlineBinary>${close}`
  return open + (Value ?? []).map((value, i) => numbered(value, i + 1, vr)).join('') + close
}

function numbered(value: DicomJsonValue, number: number, vr: string): string {
  if (value === null) return ''
  if (vr === 'SQ') return `<Item number="${number}">${attributes(value as DicomJson)}</Item>`
  if (typeof value === 'object') return personName(value as PersonName, number)
  return `<Value number="${number}">${escaped(String(value))}</Value>`
}

const components = ['FamilyName', 'GivenName', 'MiddleName', 'NamePrefix', 'NameSuffix'] as const

function personName(name: PersonName, number: number): string {
  const groups = (['Alphabetic', 'Ideographic', 'Phonetic'] as const).flatMap(group => {
    const text = name[group]
    if (text === undefined) return []
    const parts = text.split('^').map((part, i) => (part === '' ? '' : element(components[i] ?? 'NameSuffix', part)))
    return [`<${group}>${parts.join('')}</${group}>`]
  })
  return `<PersonName number="${number}">${groups.join('')}</PersonName>`
}

const element = (name: string, text: string) => `<${name}>${escaped(text)}</${name}>`

/** XML 1.0 has no control characters but these three. */
function escaped(text: string): string {
  return text
    .replace(/[&<>"]/g, character => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character]!)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
}

const numericVrs = new Set(['DS', 'FD', 'FL', 'IS', 'SL', 'SS', 'SV', 'UL', 'US', 'UV'])

/**
 * Reads a document of the Native DICOM Model. Entities other than the five of XML are not expanded.
 * @throws XmlProblem
 */
export function fromNativeXml(xml: string): DicomJson {
  const root: DicomJson = {}
  const datasets: DicomJson[] = [root]
  const current: { element: DicomJsonElement; tag: string }[] = []
  let name: { value: PersonName; parts: string[]; group?: keyof PersonName } | undefined
  /** Where the value that is being read goes. */
  let slot: { values: DicomJsonValue[]; index: number } | undefined
  let text = ''
  let seen = false
  const parser = new SaxesParser({ xmlns: false })
  parser.on('error', error => {
    throw new XmlProblem(`the XML is not well formed: ${error.message}`)
  })
  parser.on('doctype', () => {
    throw new XmlProblem('a document type declaration is not allowed')
  })
  parser.on('text', part => {
    text += part
  })
  parser.on('opentag', ({ name: full, attributes: given }: SaxesTagPlain) => {
    text = ''
    const local = full.replace(/^.*:/, '')
    const top = current.at(-1)
    switch (local) {
      case 'NativeDicomModel':
        seen = true
        break
      case 'DicomAttribute': {
        const tag = String(given.tag ?? '').toUpperCase()
        if (!/^[0-9A-F]{8}$/.test(tag)) throw new XmlProblem('a DicomAttribute without a tag of eight digits')
        if (current.length > maxDepth) throw new XmlProblem('sequences are nested too deeply')
        const opened: DicomJsonElement = { vr: String(given.vr ?? 'UN') }
        datasets.at(-1)![tag] = opened
        current.push({ element: opened, tag })
        break
      }
      case 'Item': {
        const item: DicomJson = {}
        place(top, given, item)
        datasets.push(item)
        break
      }
      case 'PersonName':
        name = { value: {}, parts: [] }
        place(top, given, name.value)
        break
      case 'Alphabetic':
      case 'Ideographic':
      case 'Phonetic':
        if (name) Object.assign(name, { group: local, parts: [] })
        break
      case 'BulkData':
        if (top) top.element.BulkDataURI = String(given.uri ?? '')
        break
      case 'Value':
        slot = place(top, given, null)
    }
  })
  parser.on('closetag', ({ name: full }) => {
    const local = full.replace(/^.*:/, '')
    const top = current.at(-1)
    if (local === 'DicomAttribute') current.pop()
    else if (local === 'Item') datasets.pop()
    else if (local === 'InlineBinary' && top) top.element.InlineBinary = text.replace(/\s+/g, '')
    else if (local === 'Value' && top && slot) slot.values[slot.index] = parsedValue(text, top.element.vr)
    else if (local === 'PersonName') name = undefined
    else if (name?.group && local === name.group) {
      name.value[name.group] = name.parts.join('^').replace(/\^+$/, '')
    } else if (name?.group) {
      const position = (components as readonly string[]).indexOf(local)
      if (position >= 0) {
        for (let i = name.parts.length; i < position; i++) name.parts[i] = ''
        name.parts[position] = text
      }
    }
    text = ''
  })
  parser.write(xml).close()
  if (!seen) throw new XmlProblem('the document is no NativeDicomModel')
  return root
}

/** Puts a value into its place in an attribute; those before it that are not there are empty. */
function place(
  top: { element: DicomJsonElement } | undefined,
  given: Readonly<Record<string, string>>,
  value: DicomJsonValue,
): { values: DicomJsonValue[]; index: number } {
  if (!top) throw new XmlProblem('a value outside of a DicomAttribute')
  top.element.Value ??= []
  const values = top.element.Value
  const number = Number(given.number ?? values.length + 1)
  if (!(Number.isInteger(number) && number >= 1 && number <= maxValues))
    throw new XmlProblem('a value has a number that is none')
  while (values.length < number) values.push(null)
  values[number - 1] = value
  return { values, index: number - 1 }
}

function parsedValue(text: string, vr: string): DicomJsonValue {
  const number = Number(text)
  return numericVrs.has(vr) && String(number) === text.trim() ? number : text
}
