import { crc32 } from 'node:zlib'
import type { Findings } from '../analysis/findings.js'
import {
  type BlobKey,
  changeState,
  findRevision,
  type InstanceToIndex,
  indexInstances,
  instancesOfRevision,
} from '../archive/index.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { deriveUid } from '../dicom/uid.js'
import { type Queryable, type Transaction, transaction } from '../platform/database.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import type { ResultContext } from '../results/resultContext.js'
import { type ResultObject, structuredReport } from '../results/structuredReport.js'
import { deliveryQueue, type PipelineContext } from './context.js'

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
  const result = structuredReport(analysis.findings, {
    studyInstanceUid: study,
    revision,
    route: analysis.route,
    arm: analysis.arm,
    sources: await instancesOfRevision(database, study, revision),
    analyzedAt: analysis.startedAt,
    deviceSerialNumber: context.deviceSerialNumber,
    softwareVersion: context.softwareVersion,
    ...(predecessor ? { predecessor } : {}),
  })
  const key = await keepBlob(result.bytes, context)
  const stored = await transaction(database, async tx => {
    const now = await findRevision(tx, study, revision, true)
    if (now?.state !== 'reporting') return false
    const [outcome] = await indexInstances(tx, [toIndex(result, key, revision)])
    if (outcome?.outcome === 'refused') throw new Error(`the report could not be indexed: ${outcome.detail}`)
    await queueDeliveries(tx, study, revision, result, analysis.route, context)
    return outcome?.outcome === 'stored'
  })
  if (!stored) await blobs.remove(key)
  job.log.info('report written', { revision, sr: result.sopInstanceUid })
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
  result: ResultObject,
  routeName: string,
  { endpoints }: PipelineContext,
): Promise<void> {
  const destinations = endpoints.routes.find(route => route.name === routeName)?.deliverTo ?? []
  if (destinations.length === 0)
    return changeState(tx, study, revision, 'completed', { reason: 'results are in the archive' })
  await changeState(tx, study, revision, 'delivering', { destinations })
  const { rows } = await tx.query<{ id: number; destination: string }>(
    `insert into delivery (study_instance_uid, revision, sop_instance_uid, destination)
     select $1, $2, $3, unnest($4::text[]) on conflict do nothing returning id, destination`,
    [study, revision, result.sopInstanceUid, destinations],
  )
  for (const { id, destination } of rows) {
    await addJob(tx, 'deliver', { delivery: id }, { key: `deliver:${id}`, queue: deliveryQueue(destination, id) })
  }
}
