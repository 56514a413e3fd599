import { type DicomJson, itemsOf, textOf } from './dicomJson.js'

/**
 * A data set without its private elements, in all its sequences (PS3.5 7.8), for those who must not see what they may hold.
 * @param creators whose elements stay; the blocks that they reserved go with them
 */
export function withoutPrivateElements(dataset: DicomJson, creators: readonly string[] = []): DicomJson {
  const kept = new Set(
    Object.keys(dataset)
      .filter(tag => isPrivate(tag) && /^00[1-9A-F][0-9A-F]$/.test(tag.slice(4)))
      .filter(tag => creators.includes(textOf(dataset, tag)?.trim() ?? ''))
      .map(tag => `${tag.slice(0, 4)}.${tag.slice(6)}`),
  )
  const result: DicomJson = {}
  for (const [tag, element] of Object.entries(dataset)) {
    const block = tag.startsWith('00', 4) ? tag.slice(6) : tag.slice(4, 6)
    if (isPrivate(tag) && !kept.has(`${tag.slice(0, 4)}.${block}`)) continue
    result[tag] =
      element.vr === 'SQ' && element.Value
        ? { ...element, Value: itemsOf(dataset, tag).map(item => withoutPrivateElements(item, creators)) }
        : element
  }
  return result
}

function isPrivate(tag: string): boolean {
  return (Number.parseInt(tag[3]!, 16) & 1) === 1
}
