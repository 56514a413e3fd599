import type { Findings } from '../../analysis/findings.js'
import { type CodedConcept, concepts as c, sameConcept } from '../../dicom/concepts.js'
import { deriveUid } from '../../dicom/uid.js'
import { type ContentItem, code, text, uidref } from '../contentItem.js'

/** TID 1204 Language of Content Item and Descendants. */
export function languageOfContent(language: CodedConcept): ContentItem {
  return code('HAS CONCEPT MOD', c.language, language)()
}

/** Identifies the algorithm: a new version is another device (IHE AIR). */
export function algorithmDeviceUid({ algorithm }: Findings): string {
  return deriveUid('algorithm', algorithm.manufacturer, algorithm.name, algorithm.version)
}

/** TID 1001 Observation Context, by TID 1002 and TID 1004 Device Observer Identifying Attributes. */
export function deviceObserver(findings: Findings, serialNumber: string): ContentItem[] {
  return [
    code('HAS OBS CONTEXT', c.observerType, c.device)(),
    uidref('HAS OBS CONTEXT', c.deviceObserverUid, algorithmDeviceUid(findings))(),
    text('HAS OBS CONTEXT', c.deviceObserverName, 'Radbridge')(),
    text('HAS OBS CONTEXT', c.deviceObserverManufacturer, findings.algorithm.manufacturer)(),
    text('HAS OBS CONTEXT', c.deviceObserverModel, findings.algorithm.name)(),
    text('HAS OBS CONTEXT', c.deviceObserverSerial, serialNumber)(),
  ]
}

/** TID 4019 Algorithm Identification. */
export function algorithmIdentification({ algorithm }: Findings): ContentItem[] {
  return [
    text('HAS CONCEPT MOD', c.algorithmName, algorithm.name)(),
    text('HAS CONCEPT MOD', c.algorithmVersion, algorithm.version)(),
    ...(algorithm.parameters ? [text('HAS CONCEPT MOD', c.algorithmParameters, algorithm.parameters)()] : []),
  ]
}

/**
 * The algorithm that a report names: by TID 4019 at the root or in one of its containers; the manufacturer is the Device Observer's.
 * Where a report names none, its device observer is the best that is known.
 */
export function readAlgorithm(root: ContentItem, maker: { manufacturer: string; model: string; version: string }) {
  const places = [root, ...root.children.filter(child => child.value.type === 'CONTAINER')]
  const textOf = (name: CodedConcept) =>
    places.map(place => textNamed(place, name)).find(value => value !== undefined && value !== '')
  const parameters = textOf(c.algorithmParameters)
  return {
    name: textOf(c.algorithmName) ?? textNamed(root, c.deviceObserverModel) ?? maker.model,
    version: textOf(c.algorithmVersion) ?? maker.version,
    manufacturer: textNamed(root, c.deviceObserverManufacturer) ?? maker.manufacturer,
    ...(parameters ? { parameters } : {}),
  }
}

/** Text of the child with this name. */
export function textNamed(parent: ContentItem, name: CodedConcept): string | undefined {
  const found = parent.children.find(child => child.name && sameConcept(child.name, name))
  return found?.value.type === 'TEXT' ? found.value.text : undefined
}
