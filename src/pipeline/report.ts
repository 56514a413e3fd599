import { crc32 } from '@node-rs/crc32'
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
import { PixelProblem } from '../pixels/imageDescription.js'
import { type Queryable, type Transaction, transaction } from '../platform/database.js'
import type { Route } from '../platform/endpoints.js'
import { addJob, type JobContext, type JobPayloads } from '../platform/jobs.js'
import { type Pictures, type ResultKind, resultObjects } from '../results/index.js'
import type { InstanceReference, ResultContext } from '../results/resultContext.js'
import { defaultFormat, type ResultFormat } from '../results/resultFormat.js'
import type { ResultObject } from '../results/resultObject.js'
import { reportUid } from '../results/structuredReport.js'
import { deliveryQueue, type PipelineContext, urgentPriority } from './context.js'
import { finishStudy } from './finishStudy.js'
import { decoderOf } from './normalizedStudy.js'
import { priorExamination } from './priorExamination.js'

/** Writes the findings as DICOM objects into the archive and queues them for their destinations. */
export async function report(
  { study, revision, urgent }: JobPayloads['report'],
  job: JobContext,
  context: PipelineContext,
): Promise<void> {
  const { database, blobs } = context
  const [current, { rows }, sources] = await Promise.all([
    findRevision(database, study, revision),
    database.query<AnalysisRow>(
      `select route, arm, findings, started_at "startedAt" from analysis where study_instance_uid = $1 and revision = $2 and arm = 'primary'`,
      [study, revision],
    ),
    instancesOfRevision(database, study, revision),
  ])
  if (current?.state !== 'reporting') return
  const analysis = rows[0]!
  const route = context.endpoints.routes.find(entry => entry.name === analysis.route)
  const written = await writeResults(study, revision, analysis, sources, route, job, context)
  const results = [
    ...new Map(written.flatMap(({ objects }) => objects).map(object => [object.sopInstanceUid, object])).values(),
  ]
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
    await queueDeliveries(tx, study, revision, written, urgent ? urgentPriority : 0)
    return outcomes.map(outcome => outcome.outcome === 'stored')
  })
  await Promise.all(keys.filter((_, i) => !stored[i]).map(key => blobs.remove(key)))
  job.log.info('results written', { revision, objects: results.length, formats: written.length })
}

interface AnalysisRow {
  route: string
  arm: string
  findings: Findings
  startedAt: Date
}

/** Objects, in the order of delivery, and the destinations that get them. */
interface Written {
  objects: ResultObject[]
  destinations: string[]
}

/** What a format does not change is made once. */
const formatted: readonly ResultKind[] = ['sr', 'seg', 'longitudinal']

/** The objects of an analysis, in each format that a destination of its route wants; in the default one if there is no destination. */
async function writeResults(
  study: string,
  revision: number,
  { route: name, arm, findings, startedAt }: AnalysisRow,
  sources: readonly StoredInstance[],
  route: Route | undefined,
  job: JobContext,
  context: PipelineContext,
): Promise<Written[]> {
  const { database } = context
  const prior = await priorExamination(database, study, findings)
  const base: ResultContext = {
    studyInstanceUid: study,
    revision,
    route: name,
    arm,
    sources,
    analyzedAt: startedAt,
    deviceSerialNumber: context.deviceSerialNumber,
    softwareVersion: context.softwareVersion,
    format: defaultFormat,
    ...(prior ? { prior } : {}),
  }
  const kinds: readonly ResultKind[] = route?.results ?? ['sr']
  const pictures: Pictures = {
    imageOf: reference => imageOf(reference, sources, context),
    draw: context.draw,
    onProblem(error) {
      if (!(error instanceof PixelProblem)) throw error
      job.log.warn('no pictures: an image cannot be decoded', { error: error.message })
    },
  }
  const unformatted = await resultObjects(
    findings,
    base,
    kinds.filter(kind => !formatted.includes(kind)),
    pictures,
  )
  const written: Written[] = []
  for (const { format, destinations } of formatsOf(route, context)) {
    const predecessor = await findPredecessor(database, { ...base, format })
    const own = await resultObjects(
      findings,
      { ...base, format, ...(predecessor ? { predecessor } : {}) },
      kinds.filter(kind => formatted.includes(kind)),
      pictures,
    )
    written.push({ objects: [...own, ...unformatted], destinations })
  }
  return written
}

function formatsOf(
  route: Route | undefined,
  { endpoints }: PipelineContext,
): { format: ResultFormat; destinations: string[] }[] {
  const formats = new Map<string, { format: ResultFormat; destinations: string[] }>()
  for (const name of route?.deliverTo ?? []) {
    const format: ResultFormat = endpoints.destinations.find(entry => entry.name === name)?.format ?? defaultFormat
    const entry = formats.get(JSON.stringify(format)) ?? { format, destinations: [] }
    entry.destinations.push(name)
    formats.set(JSON.stringify(format), entry)
  }
  return formats.size > 0 ? [...formats.values()] : [{ format: defaultFormat, destinations: [] }]
}

function imageOf(reference: ImageReference, sources: readonly StoredInstance[], context: PipelineContext) {
  const instance = sources.find(source => source.sopInstanceUid === reference.sopInstanceUid)
  return instance && imagesOf(instance, decoderOf(instance, context))[(reference.frame ?? 1) - 1]
}

/** The latest report that this one supersedes: of an earlier revision, or of an attempt that failed. */
async function findPredecessor(db: Queryable, context: ResultContext): Promise<InstanceReference | undefined> {
  const earlier = Array.from({ length: context.revision }, (_, i) => ({ ...context, revision: context.revision - i }))
  const candidates = earlier.flatMap((revision, i) => [
    ...(i > 0 ? [reportUid({ status: 'findings' }, revision)] : []),
    reportUid({ status: 'failed' }, revision),
  ])
  const { rows } = await db.query<InstanceReference>(
    `select sop_class_uid "sopClassUid", sop_instance_uid "sopInstanceUid", series_instance_uid "seriesInstanceUid"
       from instance where sop_instance_uid = any ($1) order by array_position($1, sop_instance_uid) limit 1`,
    [candidates],
  )
  return rows[0]
}

async function keepBlob(bytes: Buffer, { blobs }: PipelineContext): Promise<BlobKey> {
  const blob = blobs.receive()
  try {
    blob.write(bytes)
    return await blob.keep()
  } catch (error) {
    await blob.discard()
    throw error
  }
}

function toIndex(result: ResultObject, blobKey: BlobKey, revision: number): InstanceToIndex {
  return {
    sopInstanceUid: result.sopInstanceUid,
    sopClassUid: result.sopClassUid,
    studyInstanceUid: result.studyInstanceUid,
    seriesInstanceUid: result.seriesInstanceUid,
    transferSyntaxUid: result.transferSyntaxUid,
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
  written: readonly Written[],
  priority: number,
): Promise<void> {
  const pairs = written.flatMap(({ objects, destinations }) =>
    objects.flatMap(object => destinations.map(destination => ({ object: object.sopInstanceUid, destination }))),
  )
  if (pairs.length === 0) return finishStudy(tx, study, revision, 'results are in the archive')
  await changeState(tx, study, revision, 'delivering', {
    destinations: [...new Set(pairs.map(pair => pair.destination))],
  })
  const { rows } = await tx.query<{ id: number; destination: string }>(
    `insert into delivery (study_instance_uid, revision, sop_instance_uid, destination)
     select $1, $2, object, destination
       from unnest($3::text[], $4::text[]) with ordinality o(object, destination, n) order by n
         on conflict do nothing returning id, destination`,
    [study, revision, pairs.map(pair => pair.object), pairs.map(pair => pair.destination)],
  )
  for (const { id, destination } of rows) {
    const options = { key: `deliver:${id}`, queue: deliveryQueue(destination, id), priority }
    await addJob(tx, 'deliver', { delivery: id }, options)
  }
}
