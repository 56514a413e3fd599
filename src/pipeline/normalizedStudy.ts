import { type FrameDecoder, imagesOf } from '../analysis/normalizedImages.js'
import type { NormalizedSeries, NormalizedStudy } from '../analysis/normalizedStudy.js'
import { instancesOfRevision, type StoredInstance } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { withoutPrivateElements } from '../dicom/privateElements.js'
import { findTransferSyntax } from '../dicom/transferSyntaxes.js'
import { isDecodable } from '../pixels/codecs/index.js'
import type { PipelineContext } from './context.js'

/**
 * The study as an analyser gets it: headers from the index, pixels decoded when they are asked for.
 * @param privateCreators whose private elements the analyser may see
 */
export async function normalizedStudy(
  study: string,
  revision: number,
  context: PipelineContext,
  privateCreators: readonly string[] = [],
): Promise<NormalizedStudy> {
  const instances = await instancesOfRevision(context.database, study, revision)
  const series = new Map<string, NormalizedSeries>()
  const undecodable = new Map<string, number>()
  for (const instance of instances) {
    const syntax = findTransferSyntax(instance.transferSyntaxUid)
    if (syntax && !isDecodable(syntax)) {
      undecodable.set(syntax.name, (undecodable.get(syntax.name) ?? 0) + 1)
      continue
    }
    const header = withoutPrivateElements(instance.header, privateCreators)
    const images = imagesOf({ ...instance, header }, decoderOf(instance, context))
    if (images.length === 0) continue
    const entry = series.get(instance.seriesInstanceUid) ?? newSeries(instance)
    entry.images.push(...images)
    series.set(instance.seriesInstanceUid, entry)
  }
  return {
    studyInstanceUid: study,
    revision,
    series: [...series.values()],
    undecodable: [...undecodable].map(([transferSyntax, count]) => ({ transferSyntax, instances: count })),
  }
}

function newSeries({ seriesInstanceUid, header }: StoredInstance): NormalizedSeries {
  const bodyPart = textOf(header, '00180015')
  return {
    seriesInstanceUid,
    modality: textOf(header, '00080060') ?? '',
    ...(bodyPart ? { bodyPart } : {}),
    images: [],
  }
}

/** Decodes frames of a stored instance in a pixel thread. */
export function decoderOf({ blobKey }: StoredInstance, { blobs, pixels }: PipelineContext): FrameDecoder {
  return frame => pixels.frame(blobs.pathOf(blobKey), frame)
}
