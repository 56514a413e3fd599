import type { DicomTransport } from '../analysis/providers/dicom/index.js'
import { type Answer, answersSince, type BlobStore } from '../archive/index.js'
import { StowClient } from '../delivery/index.js'
import { sopClass } from '../dicom/sopClasses.js'
import type { Database } from '../platform/database.js'
import type { DicomProviderConfiguration } from '../platform/providerSettings.js'
import { readFindings } from '../results/readFindings.js'
import { readSegmentation } from '../results/readSegmentation.js'

/** To a provider of kind `dicom` by STOW-RS, and back by what its source has sent to us. */
export function dicomTransport(
  { answersFrom, stow }: DicomProviderConfiguration,
  { database, blobs }: { database: Database; blobs: BlobStore },
): DicomTransport {
  const client = new StowClient(stow)
  return {
    send: object => client.deliver(object),
    async answers(studyInstanceUid, since) {
      const { answers, quietFor } = await answersSince(database, answersFrom, studyInstanceUid, since)
      return { count: answers.length, quietFor, read: () => readAnswers(answers, blobs) }
    },
    close: () => client.close(),
  }
}

const segmentations: readonly string[] = [sopClass.segmentation, sopClass.labelMapSegmentation]

/** The latest report that holds measurements, with the masks of the Segmentations. @returns undefined while there is none */
async function readAnswers(answers: readonly Answer[], blobs: BlobStore) {
  const masks: Awaited<ReturnType<typeof readSegmentation>>[] = []
  for (const { sopClassUid, blobKey } of answers) // one at a time: each may be large
    if (segmentations.includes(sopClassUid)) masks.push(await readSegmentation(blobs.pathOf(blobKey)))
  for (const { header } of answers.toReversed()) {
    const findings = readFindings(header, masks)
    if (findings) return findings
  }
  return undefined
}
