import dcmjs from 'dcmjs'

// dcmjs holds the data dictionary of PS3.6 chapter 6, packed: it is asked entry by entry, and what was asked is kept.
const { dictionary, nameMap } = dcmjs.data.DicomMetaDictionary
const knownVrs = new Map<string, string | undefined>()

/**
 * Value Representation of a standard attribute.
 * @param tag eight upper case hexadecimal digits, as in DICOM JSON
 * @returns undefined for private and unknown attributes
 */
export function vrOf(tag: string): string | undefined {
  if (knownVrs.has(tag)) return knownVrs.get(tag)
  const vr = lookUpVr(tag)
  if (knownVrs.size < 20_000) knownVrs.set(tag, vr) // a hostile sender must not fill the memory with tags
  return vr
}

function lookUpVr(tag: string): string | undefined {
  if (tag.endsWith('0000')) return 'UL'
  if (isPrivateTag(tag)) return tag.slice(4, 6) === '00' ? 'LO' : undefined
  const vr = dictionary[`(${tag.slice(0, 4)},${tag.slice(4)})`]?.vr
  if (vr === 'ox' || vr === 'px') return 'OW'
  if (vr === 'xs' || vr === 'lt') return 'US'
  return vr
}

/** @returns eight hexadecimal digits, or undefined for a word that is no DICOM keyword */
export function tagOf(keyword: string): string | undefined {
  const tag = nameMap[keyword]?.tag.replace(/[(),]/g, '').toUpperCase()
  return tag && /^[0-9A-F]{8}$/.test(tag) ? tag : undefined
}

/** @returns undefined for private and unknown attributes */
export function keywordOf(tag: string): string | undefined {
  return isPrivateTag(tag) ? undefined : dictionary[`(${tag.slice(0, 4)},${tag.slice(4)})`]?.name
}

function isPrivateTag(tag: string): boolean {
  return (Number.parseInt(tag.slice(3, 4), 16) & 1) === 1
}
