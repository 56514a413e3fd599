import { type CodedConcept, concepts as c } from '../../dicom/concepts.js'
import { textOf } from '../../dicom/dicomJson.js'
import { type ContentItem, code, container, date, image, uidref } from '../contentItem.js'
import type { SourceInstance } from '../resultContext.js'

const modalities: Readonly<Record<string, CodedConcept>> = {
  CT: c.ct,
  CR: c.cr,
  DX: c.dx,
  MR: c.mr,
  MG: c.mg,
  US: c.us,
  PT: c.pt,
  NM: c.nm,
  XA: c.xa,
  RF: c.rf,
}
/** Body Part Examined (0018,0015) as a region of CID 4031. */
const regions: Readonly<Record<string, CodedConcept>> = {
  CHEST: c.chest,
  THORAX: c.chest,
  LUNG: c.chest,
  ABDOMEN: c.abdomen,
  PELVIS: c.pelvis,
  HEAD: c.head,
  SKULL: c.head,
  NECK: c.neck,
  BRAIN: c.head, // the region; the brain itself is not in CID 4031
  BREAST: c.breast,
  HEART: c.heart,
  SPINE: c.spine,
}

/** Procedure Reported (CID 100): what can be said by the modalities alone. */
export function procedureOf(sources: readonly SourceInstance[]): CodedConcept {
  const present = new Set(sources.map(source => textOf(source.header, '00080060')))
  const only = (...wanted: string[]) => [...present].every(modality => modality && wanted.includes(modality))
  if (only('CT')) return c.ctUnspecified
  if (only('MR')) return c.mriUnspecified
  if (present.has('PT') && only('PT', 'CT')) return c.petUnspecified
  return c.imagingProcedure
}

/** TID 1600 Image Library, with one Image Library Group (TID 1602 attributes) a series. */
export function imageLibrary(sources: readonly SourceInstance[]): ContentItem {
  const bySeries = new Map<string, SourceInstance[]>()
  for (const source of sources) {
    const images = bySeries.get(source.seriesInstanceUid)
    if (images) images.push(source)
    else bySeries.set(source.seriesInstanceUid, [source])
  }
  return container('CONTAINS', c.imageLibrary)(...[...bySeries.values()].map(imageLibraryGroup))
}

function imageLibraryGroup(images: readonly SourceInstance[]): ContentItem {
  const { header } = images[0]!
  const modality = modalities[textOf(header, '00080060') ?? '']
  const region = regions[textOf(header, '00180015') ?? '']
  const studyDate = textOf(header, '00080020')
  const frameOfReference = textOf(header, '00200052')
  return container('CONTAINS', c.imageLibraryGroup)(
    ...(modality ? [code('HAS ACQ CONTEXT', c.modality, modality)()] : []),
    ...(region ? [code('HAS ACQ CONTEXT', c.targetRegion, region)()] : []),
    ...(studyDate && /^\d{8}$/.test(studyDate) ? [date('HAS ACQ CONTEXT', c.studyDate, studyDate)()] : []),
    ...(frameOfReference ? [uidref('HAS ACQ CONTEXT', c.frameOfReferenceUid, frameOfReference)()] : []),
    ...images.map(({ sopClassUid, sopInstanceUid }) => image('CONTAINS', undefined, { sopClassUid, sopInstanceUid })()),
  )
}
