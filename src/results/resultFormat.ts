import { type CodedConcept, concepts as c } from '../dicom/concepts.js'
import { type Language, translated } from '../dicom/translations.js'

/** How results are written for a destination. */
export interface ResultFormat {
  /** Of code meanings; those that have no translation stay English. */
  language: Language
  /** SOP Class of the report: Comprehensive 3D SR, or Comprehensive SR for archives that do not know it. The content is the same. */
  report: 'comprehensive-3d' | 'comprehensive'
  /** Measurement Groups of a finding that has outlines and a segment: one with its outlines and one with its segment, or only one of them. */
  groups: 'both' | 'planar' | 'volumetric'
  /** Segmentation Type of masks that are not fractional. Masks that overlap are binary in any case: a label map cannot hold them. */
  segmentation: 'binary' | 'labelmap'
  /** Frames of segmentations. RLE and JPEG 2000 have no one-bit frames: binary segmentations stay native with them. */
  compression: 'none' | 'deflated' | 'rle' | 'jpeg2000'
  /** Codes of the site in the place of others, by scheme and value. */
  codes: readonly { replace: { scheme: string; value: string }; by: CodedConcept }[]
}

export const defaultFormat: ResultFormat = {
  language: 'en',
  report: 'comprehensive-3d',
  groups: 'both',
  segmentation: 'binary',
  compression: 'none',
  codes: [],
}

/**
 * Parts of a UID that tell objects of one format from those of another; none for the default format.
 * @param matters the settings that change the object
 */
export function variantOf(format: ResultFormat, matters: readonly (keyof ResultFormat)[]): string[] {
  return matters.flatMap(key => {
    const value = JSON.stringify(format[key])
    return value === JSON.stringify(defaultFormat[key]) ? [] : [`${key}=${value}`]
  })
}

export const languageConcepts: Readonly<Record<Language, CodedConcept>> = {
  en: c.englishUs,
  de: c.german,
  fr: c.french,
  es: c.spanish,
  ja: c.japanese,
  zh: c.chinese,
}

/** How the format writes a concept: the site's code if it has one, else the same code with its meaning in the format's language. */
export function writer({ language, codes }: ResultFormat): (concept: CodedConcept) => CodedConcept {
  if (language === 'en' && codes.length === 0) return asTheyAre
  const own = new Map(codes.map(({ replace, by }) => [`${replace.scheme} ${replace.value}`, by]))
  return concept => own.get(`${concept.scheme} ${concept.value}`) ?? translated(concept, language)
}

/** Of a format that changes no concept. */
export const asTheyAre = (concept: CodedConcept): CodedConcept => concept
