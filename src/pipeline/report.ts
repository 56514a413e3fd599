import { crc32 } from 'node:zlib'
import type { Findings, ImageReference } from '../analysis/findings.js'
import { imagesOf } from '../analysis/normalizedImages.js'
import {
  type BlobKey,
  changeState,
  findRevision,
  type InstanceToIndex,
  indexInstances,
  instancesOfRevision,
  type StoredInstance,
} from '../archive/index.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { deriveUid } from '../dicom/uid.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { type Queryable, type Transaction, transaction } from '../platform/database.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import type { ResultContext } from '../results/resultContext.js'
import type { ResultObject } from '../results/resultObject.js'
import { secondaryCaptures } from '../results/secondaryCapture.js'
import { segmentations } from '../results/segmentation.js'
import { structuredReport } from '../results/structuredReport.js'
import { deliveryQueue, type PipelineContext } from './context.js'
import { decoderOf } from './normalizedStudy.js'

/** Writes the findings as DICOM objects into the archive and queues them for their destinations. */
export async function report(
  { study, revision }: JobPayloads['report'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database, blobs } = context
  const current = await findRevision(database, study, revision)
  if (current?.state !== 'reporting') return
  const { rows } = await database.query<{ route: string; arm: string; findings: Findings; startedAt: Date }>(
    `select route, arm, findings, started_at "startedAt" from analysis where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
    [study, revision],
  )
  const analysis = rows[0]!
  const predecessor = await findPredecessor(database, study, revision, analysis)
  const sources = await instancesOfRevision(database, study, revision)
  const resultContext: ResultContext = {
    studyInstanceUid: study,
    revision,
    route: analysis.route,
    arm: analysis.arm,
    sources,
    analyzedAt: analysis.startedAt,
    deviceSerialNumber: context.deviceSerialNumber,
    softwareVersion: context.softwareVersion,
    ...(predecessor ? { predecessor } : {}),
  }
  const route = context.endpoints.routes.find(entry => entry.name === analysis.route)
  const segmented = route?.results.includes('seg') ? segmentations(analysis.findings, resultContext) : []
  const pictures = route?.results.includes('sc')
    ? await picturesOf(analysis.findings, resultContext, sources, job, context)
    : []
  // The report refers to the segmentations: they come first, here and on the way to the destinations.
  const results = [...segmented, structuredReport(analysis.findings, resultContext, segmented), ...pictures]
  const keys = await Promise.all(results.map(result => keepBlob(result.bytes, context)))
  const stored = await transaction(database, async tx => {
    const now = await findRevision(tx, study, revision, true)
    if (now?.state !== 'reporting') return results.map(() => false)
    const outcomes = await indexInstances(
      tx,
      results.map((result, i) => toIndex(result, keys[i]!, revision)),
    )
    const refused = outcomes.find(outcome => outcome.outcome === 'refused')
    if (refused) throw new Error(`a result could not be indexed: ${refused.detail}`)
    await queueDeliveries(tx, study, revision, results, route?.deliverTo ?? [])
    return outcomes.map(outcome => outcome.outcome === 'stored')
  })
  await Promise.all(keys.filter((_, i) => !stored[i]).map(key => blobs.remove(key)))
  job.log.info('results written', { revision, segmentations: segmented.length, pictures: pictures.length })
}

/** Pictures are an addition: an image that cannot be decoded any more costs them, not the report. */
async function picturesOf(
  findings: Findings,
  resultContext: ResultContext,
  sources: readonly StoredInstance[],
  job: JobContext,
  context: PipelineContext,
): Promise<ResultObject[]> {
  try {
    return await secondaryCaptures(
      findings,
      resultContext,
      reference => imageOf(reference, sources, context),
      context.draw,
    )
  } catch (error) {
    if (!(error instanceof PixelProblem)) throw error
    job.log.warn('no pictures: an image cannot be decoded', { error: error.message })
    return []
  }
}

function imageOf(reference: ImageReference, sources: readonly StoredInstance[], context: PipelineContext) {
  const instance = sources.find(source => source.sopInstanceUid === reference.sopInstanceUid)
  return instance && imagesOf(instance, decoderOf(instance, context))[(reference.frame ?? 1) - 1]
}

async function findPredecessor(
  db: Queryable,
  study: string,
  revision: number,
  { route, arm }: { route: string; arm: string },
) {
  const candidates = Array.from({ length: revision - 1 }, (_, i) => deriveUid('sr', study, i + 1, route, arm))
  const { rows } = await db.query<NonNullable<ResultContext['predecessor']>>(
    `select sop_class_uid "sopClassUid", sop_instance_uid "sopInstanceUid", series_instance_uid "seriesInstanceUid"
       from instance where sop_instance_uid = any ($1) order by revision desc limit 1`,
    [candidates],
  )
  return rows[0]
}

async function keepBlob(bytes: Buffer, { blobs }: PipelineContext): Promise<BlobKey> {
  const blob = await blobs.receive(true)
  try {
    await blobs.write(blob, [bytes])
  } catch (error) {
    await blobs.discard(blob)
    throw error
  }
  return blobs.keep(blob)
}

function toIndex(result: ResultObject, blobKey: BlobKey, revision: number): InstanceToIndex {
  return {
    sopInstanceUid: result.sopInstanceUid,
    sopClassUid: result.sopClassUid,
    studyInstanceUid: result.studyInstanceUid,
    seriesInstanceUid: result.seriesInstanceUid,
    transferSyntaxUid: explicitVrLittleEndian,
    header: result.dataset,
    blobKey,
    byteLength: result.bytes.length,
    crc32: crc32(result.bytes),
    origin: 'result',
    revision,
  }
}

async function queueDeliveries(
  tx: Transaction,
  study: string,
  revision: number,
  results: readonly ResultObject[],
  destinations: readonly string[],
): Promise<void> {
  if (destinations.length === 0)
    return changeState(tx, study, revision, 'completed', { reason: 'results are in the archive' })
  await changeState(tx, study, revision, 'delivering', { destinations })
  const { rows } = await tx.query<{ id: number; destination: string }>(
    `insert into delivery (study_instance_uid, revision, sop_instance_uid, destination)
     select $1, $2, object, destination
       from unnest($3::text[]) with ordinality o(object, n), unnest($4::text[]) destination order by n
         on conflict do nothing returning id, destination`,
    [study, revision, results.map(result => result.sopInstanceUid), destinations],
  )
  for (const { id, destination } of rows) {
    await addJob(tx, 'deliver', { delivery: id }, { key: `deliver:${id}`, queue: deliveryQueue(destination, id) })
  }
}
