import type { DicomJson } from '../dicom/dicomJson.js'
import { type ContentItem, readContentItem } from './contentItem.js'

/** The content tree of an SR document as indented lines for people. */
export function reportTree(dataset: DicomJson): string[] {
  const lines: string[] = []
  const visit = (item: ContentItem, depth: number) => {
    lines.push(`${'  '.repeat(depth)}${[item.name?.meaning, describeValue(item)].filter(Boolean).join(': ')}`)
    const images = item.children.filter(child => child.value.type === 'IMAGE' && !child.name)
    for (const child of item.children) if (!images.includes(child)) visit(child, depth + 1)
    if (images.length > 0 && item.value.type === 'CONTAINER')
      lines.push(`${'  '.repeat(depth + 1)}${images.length} images`)
  }
  visit(readContentItem(dataset), 0)
  return lines
}

function describeValue({ value }: ContentItem): string {
  switch (value.type) {
    case 'CONTAINER':
      return ''
    case 'CODE':
      return value.code.meaning
    case 'TEXT':
      return value.text
    case 'UIDREF':
      return value.uid
    case 'DATE':
      return value.date
    case 'NUM':
      return value.value === undefined ? 'no value' : `${value.value} ${value.unit?.value ?? ''}`.trim()
    case 'IMAGE':
      return 'image'
    case 'SCOORD':
      return `${value.graphicType} of ${value.points.length} points`
    case 'OTHER':
      return [value.valueType, value.text].filter(Boolean).join(' ')
  }
}
