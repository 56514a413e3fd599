import { type DicomJson, itemsOf, textOf } from './dicomJson.js'

/** Private elements have an odd group (PS3.5 7.8). Tags are eight upper case hexadecimal digits. */
export function isPrivate(tag: string): boolean {
  return (Number.parseInt(tag[3]!, 16) & 1) === 1
}

/** True for an element that reserves a block: (gggg,0010) to (gggg,00FF). */
export function isPrivateCreator(tag: string): boolean {
  return isPrivate(tag) && /^00[1-9A-F][0-9A-F]$/.test(tag.slice(4))
}

/** Group and block of a private element, or of the creator that reserves it: `0009.10` (PS3.5 7.8.1). */
export function privateBlockOf(tag: string): string {
  return `${tag.slice(0, 4)}.${tag.startsWith('00', 4) ? tag.slice(6) : tag.slice(4, 6)}`
}

/**
 * A data set without its private elements, in all its sequences, for those who must not see what they may hold.
 * @param creators whose elements stay; the blocks that they reserved go with them
 */
export function withoutPrivateElements(dataset: DicomJson, creators: readonly string[] = []): DicomJson {
  const kept = new Set(
    Object.keys(dataset)
      .filter(tag => isPrivateCreator(tag) && creators.includes(textOf(dataset, tag)?.trim() ?? ''))
      .map(privateBlockOf),
  )
  const result: DicomJson = {}
  for (const [tag, element] of Object.entries(dataset)) {
    if (isPrivate(tag) && !kept.has(privateBlockOf(tag))) continue
    result[tag] =
      element.vr === 'SQ' && element.Value
        ? { ...element, Value: itemsOf(dataset, tag).map(item => withoutPrivateElements(item, creators)) }
        : element
  }
  return result
}
