import dcmjs from 'dcmjs'

interface DictionaryEntry {
  vr: string
  name: string
}

// dcmjs holds the data dictionary of PS3.6 chapter 6, keyed "(0008,0005)".
const byTag = new Map<string, DictionaryEntry>()
const byKeyword = new Map<string, string>()
for (const entry of Object.values(dcmjs.data.DicomMetaDictionary.dictionary) as { tag: string; vr: string; name: string }[]) {
  const tag = entry.tag.replace(/[(),]/g, '').toUpperCase()
  if (!/^[0-9A-F]{8}$/.test(tag)) continue
  byTag.set(tag, { vr: entry.vr, name: entry.name })
  byKeyword.set(entry.name, tag)
}

/**
 * Value Representation of a standard attribute.
 * @param tag eight upper case hexadecimal digits, as in DICOM JSON
 * @returns undefined for private and unknown attributes
 */
export function vrOf(tag: string): string | undefined {
  if (tag.endsWith('0000')) return 'UL'
  if (isPrivateTag(tag)) return tag.slice(4, 6) === '00' ? 'LO' : undefined
  // Repeating groups 50xx and 60xx stand under their first group.
  const key = /^(50|60)[0-9A-F]{2}/.test(tag) ? `${tag.slice(0, 2)}00${tag.slice(4)}` : tag
  const vr = byTag.get(key)?.vr
  if (vr === 'ox' || vr === 'px') return 'OW'
  if (vr === 'xs' || vr === 'lt') return 'US'
  return vr
}

/** @returns eight hexadecimal digits, or undefined for a word that is no DICOM keyword */
export function tagOf(keyword: string): string | undefined {
  return byKeyword.get(keyword)
}

export function keywordOf(tag: string): string | undefined {
  return byTag.get(tag)?.name
}

export function isPrivateTag(tag: string): boolean {
  return (Number.parseInt(tag.slice(3, 4), 16) & 1) === 1
}
