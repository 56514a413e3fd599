import type { CodedConcept } from '../dicom/concepts.js'
import { type DicomJson, itemsOf, numbersOf, textOf } from '../dicom/dicomJson.js'

/** The content tree of an SR document as indented lines for people. */
export function reportTree(dataset: DicomJson): string[] {
  const lines: string[] = []
  const visit = (item: DicomJson, depth: number) => {
    const name = concept(itemsOf(item, '0040A043')[0])?.meaning
    const images = itemsOf(item, '0040A730').filter(
      child => textOf(child, '0040A040') === 'IMAGE' && !child['0040A043'],
    )
    const value = describeValue(item)
    lines.push(`${'  '.repeat(depth)}${[name, value].filter(Boolean).join(': ')}`)
    for (const child of itemsOf(item, '0040A730')) if (!images.includes(child)) visit(child, depth + 1)
    if (images.length > 0 && textOf(item, '0040A040') === 'CONTAINER')
      lines.push(`${'  '.repeat(depth + 1)}${images.length} images`)
  }
  visit(dataset, 0)
  return lines
}

function concept(item: DicomJson | undefined): CodedConcept | undefined {
  if (!item) return undefined
  const value = textOf(item, '00080100') ?? textOf(item, '00080119') ?? ''
  return { value, scheme: textOf(item, '00080102') ?? '', meaning: textOf(item, '00080104') ?? value }
}

function describeValue(item: DicomJson): string {
  switch (textOf(item, '0040A040')) {
    case 'CODE':
      return concept(itemsOf(item, '0040A168')[0])?.meaning ?? ''
    case 'TEXT':
      return textOf(item, '0040A160') ?? ''
    case 'UIDREF':
      return textOf(item, '0040A124') ?? ''
    case 'DATE':
      return textOf(item, '0040A121') ?? ''
    case 'NUM': {
      const measured = itemsOf(item, '0040A300')[0]
      if (!measured) return 'no value'
      return `${textOf(measured, '0040A30A') ?? ''} ${concept(itemsOf(measured, '004008EA')[0])?.value ?? ''}`.trim()
    }
    case 'IMAGE':
      return 'image'
    case 'SCOORD':
      return `${textOf(item, '00700023') ?? ''} of ${numbersOf(item, '00700022').length / 2} points`
    default:
      return ''
  }
}
