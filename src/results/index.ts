import type { Findings } from '../analysis/findings.js'
import type { Draw } from './drawing.js'
import { encapsulatedPdf } from './encapsulatedPdf.js'
import { longitudinalReport } from './longitudinalReport.js'
import { parametricMaps } from './parametricMap.js'
import { presentationStates } from './presentationState.js'
import type { ResultContext } from './resultContext.js'
import type { ResultObject } from './resultObject.js'
import { type ImageOf, secondaryCaptures } from './secondaryCapture.js'
import { segmentations } from './segmentation.js'
import { structuredReport } from './structuredReport.js'

/**
 * Kinds of result objects: Structured Report; Segmentations; Secondary Captures; Grayscale Softcopy Presentation States; Parametric Maps;
 * Encapsulated PDF; the longitudinal report.
 */
export const resultKinds = ['sr', 'seg', 'sc', 'gsps', 'map', 'pdf', 'longitudinal'] as const
export type ResultKind = (typeof resultKinds)[number]

export interface Pictures {
  imageOf: ImageOf
  draw: Draw
  /** Told why there are no pictures, when an image cannot be decoded any more: that costs the pictures, not the report. */
  onProblem?: (error: unknown) => void
}

/**
 * The objects of these kinds, in the order in which an archive should get them: what the report refers to comes before it.
 * @throws Error when a finding refers to an image that is not among the sources
 */
export async function resultObjects(
  findings: Findings,
  context: ResultContext,
  kinds: readonly ResultKind[],
  pictures: Pictures,
): Promise<ResultObject[]> {
  const wants = (kind: ResultKind) => kinds.includes(kind)
  const segmented = wants('seg') ? await segmentations(findings, context) : []
  const longitudinal = wants('longitudinal') ? longitudinalReport(findings, context) : undefined
  return [
    ...segmented,
    ...(wants('map') ? parametricMaps(findings, context) : []),
    ...(wants('sr') ? [structuredReport(findings, context, segmented)] : []),
    ...(longitudinal ? [longitudinal] : []),
    ...(wants('gsps') ? presentationStates(findings, context) : []),
    ...(wants('sc') ? await picturesOf(findings, context, pictures) : []),
    ...(wants('pdf') ? [await encapsulatedPdf(findings, context)] : []),
  ]
}

async function picturesOf(findings: Findings, context: ResultContext, { imageOf, draw, onProblem }: Pictures) {
  try {
    return await secondaryCaptures(findings, context, imageOf, draw)
  } catch (error) {
    if (!onProblem) throw error
    onProblem(error)
    return []
  }
}
