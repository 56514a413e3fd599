import { ProviderProblem } from '../analysis/provider.js'
import type { DicomTransport } from '../analysis/providers/dicom/index.js'
import { type Answer, answersSince, type BlobStore, countAnswers } from '../archive/index.js'
import type { Deliverer } from '../delivery/index.js'
import { sopClass } from '../dicom/sopClasses.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import type { Database } from '../platform/database.js'
import type { DicomProviderConfiguration } from '../platform/providerSettings.js'
import { readFindings } from '../results/readFindings.js'
import { readSegmentation } from '../results/readSegmentation.js'

/** To a provider of kind `dicom` by the client that it is reached with, and back by what its source has sent to us. */
export function dicomTransport(
  { answersFrom }: DicomProviderConfiguration,
  client: Deliverer,
  { database, blobs }: { database: Database; blobs: BlobStore },
): DicomTransport {
  return {
    send: object => client.deliver(object),
    async now() {
      const { rows } = await database.query<{ now: Date }>('select clock_timestamp() now')
      return rows[0]!.now
    },
    count: (studyInstanceUid, since) => countAnswers(database, answersFrom, studyInstanceUid, since),
    read: async (studyInstanceUid, since) =>
      readAnswers(await answersSince(database, answersFrom, studyInstanceUid, since), blobs),
    close: () => client.close(),
  }
}

const segmentations: readonly string[] = [sopClass.segmentation, sopClass.labelMapSegmentation]

/** An object of the provider's that cannot be read is its fault, unlike an image of the study. */
function notOurs(error: unknown): never {
  if (!(error instanceof PixelProblem)) throw error
  throw new ProviderProblem(`a Segmentation of the answer cannot be read: ${error.message}`, false)
}

/** The latest report that holds measurements, with the masks of the Segmentations. @returns undefined while there is none */
async function readAnswers(answers: readonly Answer[], blobs: BlobStore) {
  const masks: Awaited<ReturnType<typeof readSegmentation>>[] = []
  for (const { sopClassUid, blobKey } of answers) // one at a time: each may be large
    if (segmentations.includes(sopClassUid))
      masks.push(await readSegmentation(await blobs.localPath(blobKey)).catch(notOurs))
  for (const { header } of answers.toReversed()) {
    const findings = readFindings(header, masks)
    if (findings) return findings
  }
  return undefined
}
