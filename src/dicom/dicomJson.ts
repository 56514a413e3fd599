/** A data set in the DICOM JSON Model (PS3.18 annex F): tags of eight upper case hexadecimal digits. */
export interface DicomJson {
  [tag: string]: DicomJsonElement
}
export interface DicomJsonElement {
  vr: string
  Value?: DicomJsonValue[]
  InlineBinary?: string
  BulkDataURI?: string
}
export interface PersonName {
  Alphabetic?: string
  Ideographic?: string
  Phonetic?: string
}
export type DicomJsonValue = string | number | null | PersonName | DicomJson

/** First value of an attribute as text; undefined if it is absent or empty. Person names give their alphabetic group, else any. */
export function textOf(dataset: DicomJson, tag: string): string | undefined {
  const value = dataset[tag]?.Value?.[0]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'object') {
    const name = value as PersonName
    return name.Alphabetic ?? name.Ideographic ?? name.Phonetic
  }
  return String(value)
}

/** All values of an attribute as text. */
export function textsOf(dataset: DicomJson, tag: string): string[] {
  return (dataset[tag]?.Value ?? []).filter(value => value !== null && typeof value !== 'object').map(String)
}

/** First value as a number; undefined if it is absent, empty or no finite number. */
export function numberOf(dataset: DicomJson, tag: string): number | undefined {
  return numbersOf(dataset, tag)[0]
}

/** All values as numbers; empty if one of them is no finite number. */
export function numbersOf(dataset: DicomJson, tag: string): number[] {
  const texts = textsOf(dataset, tag)
  const values = texts.map(text => (text.trim() === '' ? Number.NaN : Number(text)))
  return values.every(Number.isFinite) ? values : []
}

/** Words of an attribute whose VR is US, SS or OW, as tables have it; undefined if it is absent or empty. */
export function wordsOf(dataset: DicomJson, tag: string): Uint16Array | undefined {
  const element = dataset[tag]
  if (element?.InlineBinary !== undefined) {
    const bytes = Buffer.from(element.InlineBinary, 'base64')
    return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readUInt16LE(i * 2))
  }
  const values = numbersOf(dataset, tag)
  return values.length > 0 ? Uint16Array.from(values, value => value & 0xffff) : undefined
}

/** Items of a sequence. */
export function itemsOf(dataset: DicomJson, tag: string): DicomJson[] {
  return (dataset[tag]?.Value ?? []).filter((item): item is DicomJson => typeof item === 'object' && item !== null)
}

/** The tags that `tags` names, as they are in the data set. */
export function pick(dataset: DicomJson, tags: readonly string[]): DicomJson {
  const picked: DicomJson = {}
  for (const tag of tags) {
    const element = dataset[tag]
    if (element) picked[tag] = element
  }
  return picked
}
