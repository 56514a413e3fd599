import { findRevision, instancesToRetrieve } from '../archive/index.js'
import { reason } from '../dicom/reasons.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import type { OperationHandler } from '../dimse/association.js'
import { commandField, status } from '../dimse/command.js'
import { type Availability, availabilityOperation, notifyAvailability } from '../dimse/instanceAvailability.js'
import { type Peer, peerOf } from '../dimse/openAssociation.js'
import { findOperation } from '../dimse/queryScp.js'
import { getOperation, moveOperation } from '../dimse/retrieveScp.js'
import type { Caller } from '../dimse/scp.js'
import { service } from '../dimse/sopClasses.js'
import {
  type CommitmentReport,
  commitmentOperation,
  eventReportOperation,
  reportCommitment,
  reportOver,
  type SopReference,
} from '../dimse/storageCommitment.js'
import { addJob, type JobPayloads } from '../platform/jobs.js'
import type { PipelineContext } from './context.js'
import { commitmentReported } from './deliver.js'

/** What application entities may ask us for, besides C-STORE and C-ECHO. */
export function associationServices(
  context: PipelineContext,
): (caller: Caller) => ReadonlyMap<number, OperationHandler> {
  const { database, blobs, transcode, aeTitle, audit, log } = context
  const decode = (path: string) => transcode(path, explicitVrLittleEndian)
  const retrieve = { database, blobs, decode, log, moveDestination: (title: string) => addressOf(title, context) }
  /** Keeps who has asked. */
  const kept =
    (
      event: 'query' | 'instances-accessed',
      what: string,
      caller: Caller,
      handler: OperationHandler,
    ): OperationHandler =>
    operation => {
      audit.tally({ event, actor: { name: caller.source ?? caller.aeTitle.trim() }, detail: { by: what } })
      return handler(operation)
    }
  return caller =>
    new Map([
      of(
        'cFindRequest',
        ['patientRootFind', 'studyRootFind'],
        kept('query', 'C-FIND', caller, findOperation(database, aeTitle)),
      ),
      of(
        'cMoveRequest',
        ['patientRootMove', 'studyRootMove'],
        kept('instances-accessed', 'C-MOVE', caller, moveOperation(retrieve, caller.aeTitle)),
      ),
      of(
        'cGetRequest',
        ['patientRootGet', 'studyRootGet'],
        kept('instances-accessed', 'C-GET', caller, getOperation(retrieve)),
      ),
      of('nActionRequest', ['storageCommitment'], commitmentScp(caller, context)),
      of(
        'nEventReportRequest',
        ['storageCommitment'],
        eventReportOperation(report => commitmentReported(report, context)),
      ),
      of(
        'nCreateRequest',
        ['instanceAvailability'],
        availabilityOperation(told => announced(told, context)),
      ),
    ])
}

/** An operation, and the SOP classes that it belongs to: over the context of another one it is none. */
function of(
  name: keyof typeof commandField,
  classes: readonly (keyof typeof service)[],
  handler: OperationHandler,
): [number, OperationHandler] {
  const uids = classes.map(key => service[key] as string)
  return [
    commandField[name],
    operation =>
      uids.includes(operation.context.abstractSyntax)
        ? handler(operation)
        : operation.respond(status.unrecognizedOperation),
  ]
}

/** Where an application entity can be reached: as a destination, or as a source with an address of its own. */
function addressOf(title: string, { endpoints, aeTitle }: PipelineContext): Peer | undefined {
  for (const destination of endpoints.destinations)
    if ('dimse' in destination && destination.dimse.aeTitle === title) return peerOf(destination.dimse, aeTitle)
  for (const { dimse } of endpoints.sources)
    if (dimse?.aeTitle === title && dimse.host && dimse.port)
      return peerOf({ aeTitle: title, host: dimse.host, port: dimse.port, timeoutSeconds: 60 }, aeTitle)
  return undefined
}

/** The report goes over an association of its own where we know an address, as most expect it; else over that of the request. */
function commitmentScp({ aeTitle }: Caller, context: PipelineContext): OperationHandler {
  return commitmentOperation(
    objects => checkStored(objects, context),
    async (report, over) => {
      if (addressOf(aeTitle, context)) await addJob(context.database, 'reportCommitment', { aeTitle, report })
      else await reportOver(over.association, over.context, report)
    },
  )
}

/** An object is ours to keep if it stands in the index and its file is there, as long as it was. */
async function checkStored(objects: readonly SopReference[], { database, blobs }: PipelineContext) {
  const stored = await instancesToRetrieve(database, { instances: objects.map(object => object.sopInstanceUid) })
  const found = new Map(stored.map(instance => [instance.sopInstanceUid, instance]))
  const checked = await Promise.all(
    objects.map(async object => {
      const instance = found.get(object.sopInstanceUid)
      if (!instance) return { ...object, reason: status.noSuchSopInstance }
      if (instance.sopClassUid !== object.sopClassUid) return { ...object, reason: classInstanceConflict }
      const isThere = (await blobs.lengthOf(instance.blobKey)) === instance.byteLength
      return isThere ? object : { ...object, reason: reason.processingFailure }
    }),
  )
  return {
    committed: checked.filter(entry => !('reason' in entry)),
    failed: checked.filter((entry): entry is SopReference & { reason: number } => 'reason' in entry),
  }
}

/** PS3.7 C.5.7. */
const classInstanceConflict = 0x0119

/** Brings the report of a storage commitment to the one who asked for it; tried again while it cannot be reached. */
export async function tellCommitment(
  { aeTitle, report }: JobPayloads['reportCommitment'],
  context: PipelineContext,
): Promise<void> {
  const peer = addressOf(aeTitle, context)
  if (peer) await reportCommitment(peer, report as CommitmentReport)
}

/** What is announced of a study is looked for when it settles, which it now may do at once. */
async function announced({ studyInstanceUid, instances }: Availability, { database, log }: PipelineContext) {
  await database.query(
    `insert into announced_instance (study_instance_uid, series_instance_uid, sop_instance_uid)
     select $1, * from unnest($2::text[], $3::text[]) on conflict do nothing`,
    [studyInstanceUid, instances.map(entry => entry.seriesInstanceUid), instances.map(entry => entry.sopInstanceUid)],
  )
  log.info('instances of a study were announced', { study: studyInstanceUid, instances: instances.length })
  const current = await findRevision(database, studyInstanceUid)
  if (current?.state === 'receiving')
    await addJob(database, 'settle', { study: studyInstanceUid }, { key: `settle:${studyInstanceUid}` })
}

/** Tells a destination which results of a study can be had here. */
export async function tellAvailability(
  { study, revision, destination: name }: JobPayloads['notifyAvailability'],
  { database, endpoints, aeTitle }: PipelineContext,
): Promise<void> {
  const destination = endpoints.destinations.find(entry => entry.name === name)
  if (!destination || !('dimse' in destination)) return
  const { rows } = await database.query<Availability['instances'][number]>(
    `select i.sop_class_uid "sopClassUid", i.sop_instance_uid "sopInstanceUid", i.series_instance_uid "seriesInstanceUid"
       from delivery d join instance i using (sop_instance_uid)
      where d.study_instance_uid = $1 and d.revision = $2 and d.destination = $3 and d.state = 'delivered'`,
    [study, revision, name],
  )
  if (rows.length === 0) return
  await notifyAvailability(peerOf(destination.dimse, aeTitle), { studyInstanceUid: study, instances: rows })
}
