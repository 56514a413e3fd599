import { type DicomJson, itemsOf, numberOf, textOf } from '../dicom/dicomJson.js'
import { explicitVrLittleEndian, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { isValidUid } from '../dicom/uid.js'
import { silentLog } from '../platform/log.js'
import type { Association, Context, OperationHandler } from './association.js'
import { commandField, field, status } from './command.js'
import { openAssociation, type Peer } from './openAssociation.js'
import { service, storageCommitmentInstance } from './sopClasses.js'
import { hexStatus } from './storeScu.js'

export interface SopReference {
  sopClassUid: string
  sopInstanceUid: string
}

/** What somebody promises to keep, and what not (PS3.4 table J.3-2). */
export interface CommitmentReport {
  transactionUid: string
  committed: SopReference[]
  failed: (SopReference & { reason: number })[]
}

const proposal = {
  abstractSyntax: service.storageCommitment,
  transferSyntaxes: [explicitVrLittleEndian, implicitVrLittleEndian],
}
const requestAction = 1
const eventType = { allCommitted: 1, failuresExist: 2 } as const
/** So long the association of a request stays open for its report, which else comes over one of its own. */
const waitMilliseconds = 3000

/**
 * Asks a peer to commit to keeping objects (N-ACTION, PS3.4 J.3.2). Done when the peer has taken the request. Its report may come at once, over the same association, or hours later over one that the peer asks for.
 * @throws Error in words
 */
export async function requestCommitment(
  peer: Peer,
  transactionUid: string,
  objects: readonly SopReference[],
  take: (report: CommitmentReport) => Promise<void>,
): Promise<void> {
  let reported = () => {}
  const report = new Promise<void>(resolve => {
    reported = resolve
  })
  const operations = new Map([
    [
      commandField.nEventReportRequest as number,
      eventReportOperation(async told => {
        await take(told)
        reported()
      }),
    ],
  ])
  const { association, closed } = await openAssociation(peer, [proposal], { log: silentLog, operations })
  try {
    const [context] = association.contextsOf(service.storageCommitment)
    const answer = await association.askOnce(
      context!,
      {
        [field.requestedSopClassUid]: service.storageCommitment,
        [field.requestedSopInstanceUid]: storageCommitmentInstance,
        [field.commandField]: commandField.nActionRequest,
        [field.actionTypeId]: requestAction,
      },
      {
        '00081195': { vr: 'UI', Value: [transactionUid] },
        '00081199': { vr: 'SQ', Value: objects.map(referenceItem) },
      },
    )
    if (answer.status !== 0) throw new Error(`storage commitment was answered with ${hexStatus(answer.status)}`)
  } catch (error) {
    association.release()
    throw error
  }
  // Nobody waits for it: most peers report over an association of their own.
  const timer = setTimeout(reported, waitMilliseconds)
  timer.unref()
  void Promise.race([report, closed]).then(() => {
    clearTimeout(timer)
    association.release()
  })
}

/** N-EVENT-REPORT of what was committed, to the one who asked for it, over an association in which we are SCP. @throws Error in words */
export async function reportCommitment(peer: Peer, report: CommitmentReport): Promise<void> {
  const roles = [{ abstractSyntax: service.storageCommitment, scu: false, scp: true }]
  const { association } = await openAssociation(peer, [proposal], { log: silentLog, roles })
  try {
    await reportOver(association, association.contextsOf(service.storageCommitment)[0]!, report)
  } finally {
    association.release()
  }
}

export async function reportOver(association: Association, context: Context, report: CommitmentReport): Promise<void> {
  const { transactionUid, committed, failed } = report
  const dataSet: DicomJson = {
    '00081195': { vr: 'UI', Value: [transactionUid] },
    ...(failed.length > 0
      ? {
          '00081198': {
            vr: 'SQ',
            Value: failed.map(entry => ({ ...referenceItem(entry), '00081197': { vr: 'US', Value: [entry.reason] } })),
          },
        }
      : {}),
    ...(committed.length > 0 ? { '00081199': { vr: 'SQ', Value: committed.map(referenceItem) } } : {}),
  }
  const answer = await association.askOnce(
    context,
    {
      [field.affectedSopClassUid]: service.storageCommitment,
      [field.affectedSopInstanceUid]: storageCommitmentInstance,
      [field.commandField]: commandField.nEventReportRequest,
      [field.eventTypeId]: failed.length > 0 ? eventType.failuresExist : eventType.allCommitted,
    },
    dataSet,
  )
  if (answer.status !== 0)
    throw new Error(`the report of a storage commitment was answered with ${hexStatus(answer.status)}`)
}

/** Storage Commitment as SCP: what is asked for is looked for, and told when the request has been answered. */
export function commitmentOperation(
  check: (objects: readonly SopReference[]) => Promise<Omit<CommitmentReport, 'transactionUid'>>,
  tell: (report: CommitmentReport, over: { association: Association; context: Context }) => Promise<void>,
): OperationHandler {
  return async operation => {
    const { command } = operation
    if (command[field.requestedSopClassUid] !== service.storageCommitment)
      return operation.respond(status.noSuchSopClass)
    if (command[field.actionTypeId] !== requestAction) return operation.respond(status.noSuchAction)
    const dataSet = operation.dataSet()
    const transactionUid = textOf(dataSet, '00081195') ?? ''
    const objects = itemsOf(dataSet, '00081199').map(referenceOf)
    if (!isValidUid(transactionUid) || objects.length === 0) {
      const comment = 'a Transaction UID and a Referenced SOP Sequence are needed'
      return operation.respond(0x0115, { comment }) // invalid argument value
    }
    const found = await check(objects)
    await operation.respond(status.success, { fields: { [field.actionTypeId]: requestAction } })
    await tell({ transactionUid, ...found }, operation)
  }
}

/** Takes reports of what a peer has committed to keep, as SCU. */
export function eventReportOperation(take: (report: CommitmentReport) => Promise<void>): OperationHandler {
  return async operation => {
    const { command } = operation
    const sopClass = command[field.affectedSopClassUid]
    if (sopClass !== service.storageCommitment) return operation.respond(status.noSuchSopClass)
    const dataSet = operation.dataSet()
    await take({
      transactionUid: textOf(dataSet, '00081195') ?? '',
      committed: itemsOf(dataSet, '00081199').map(referenceOf),
      failed: itemsOf(dataSet, '00081198').map(item => ({
        ...referenceOf(item),
        reason: numberOf(item, '00081197') ?? 0x0110,
      })),
    })
    await operation.respond(status.success, { fields: { [field.eventTypeId]: command[field.eventTypeId] ?? 1 } })
  }
}

const referenceItem = ({ sopClassUid, sopInstanceUid }: SopReference): DicomJson => ({
  '00081150': { vr: 'UI', Value: [sopClassUid] },
  '00081155': { vr: 'UI', Value: [sopInstanceUid] },
})

const referenceOf = (item: DicomJson): SopReference => ({
  sopClassUid: textOf(item, '00081150') ?? '',
  sopInstanceUid: textOf(item, '00081155') ?? '',
})
