import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type FrameDecoder, imagesOf } from '../analysis/normalizedImages.js'
import type { NormalizedSeries, NormalizedStudy, StudyObject } from '../analysis/normalizedStudy.js'
import { instancesOfRevision, requireAllWhole, type StoredInstance } from '../archive/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { withoutPrivateElements } from '../dicom/privateElements.js'
import { findTransferSyntax } from '../dicom/transferSyntaxes.js'
import { isDecodable } from '../pixels/codecs/index.js'
import { type Deidentification, pseudonymousUid } from '../privacy/deidentify.js'
import type { PipelineContext } from './context.js'

/**
 * The study as an analyser gets it: headers from the index, pixels decoded when they are asked for.
 * @param privateCreators whose private elements the analyser may see
 * @throws DamagedBlob if an image is not as it was stored: nothing is concluded from it
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
  const images: StoredInstance[] = []
  for (const instance of instances) {
    const syntax = findTransferSyntax(instance.transferSyntaxUid)
    if (syntax && !isDecodable(syntax)) {
      undecodable.set(syntax.name, (undecodable.get(syntax.name) ?? 0) + 1)
      continue
    }
    const header = withoutPrivateElements(instance.header, privateCreators)
    const frames = imagesOf({ ...instance, header }, decoderOf(instance, context))
    if (frames.length === 0) continue
    images.push(instance)
    const entry = series.get(instance.seriesInstanceUid) ?? newSeries(instance)
    entry.images.push(...frames)
    series.set(instance.seriesInstanceUid, entry)
  }
  await requireAllWhole(context.blobs, images)
  return {
    studyInstanceUid: study,
    revision,
    series: [...series.values()],
    objects: (deidentify, only) => {
      const wanted = only ? images.filter(image => only.includes(image.sopInstanceUid)) : images
      return studyObjects(wanted, context, privateCreators, deidentify)
    },
    undecodable: [...undecodable].map(([transferSyntax, count]) => ({ transferSyntax, instances: count })),
  }
}

/** Made by the pixel threads, each in its turn. */
async function* studyObjects(
  instances: readonly StoredInstance[],
  { blobs, pixels }: PipelineContext,
  privateCreators: readonly string[],
  deidentify: Deidentification | undefined,
): AsyncGenerator<StudyObject> {
  const folder = await mkdtemp(join(tmpdir(), 'radbridge-objects-'))
  try {
    const known = (uid: string) => (deidentify ? pseudonymousUid(deidentify.key, uid) : uid)
    for (const { blobKey, sopClassUid, seriesInstanceUid, studyInstanceUid } of instances) {
      const path = join(folder, 'object.dcm')
      const options = { utf8: true, privateCreators, ...(deidentify ? { deidentify } : {}) }
      const { sopInstanceUid } = await pixels.file(await blobs.localPath(blobKey), path, options)
      yield {
        path,
        byteLength: (await stat(path)).size,
        sopClassUid,
        sopInstanceUid,
        seriesInstanceUid: known(seriesInstanceUid),
        studyInstanceUid: known(studyInstanceUid),
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
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
  return async frame => pixels.frame(await blobs.localPath(blobKey), frame)
}
