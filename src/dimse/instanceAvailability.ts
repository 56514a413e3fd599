import { type DicomJson, itemsOf, textOf } from '../dicom/dicomJson.js'
import { explicitVrLittleEndian, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { isValidUid, randomUid } from '../dicom/uid.js'
import { silentLog } from '../platform/log.js'
import type { OperationHandler } from './association.js'
import { commandField, field, status } from './command.js'
import { openAssociation, type Peer } from './openAssociation.js'
import { service } from './sopClasses.js'
import type { SopReference } from './storageCommitment.js'
import { hexStatus } from './storeScu.js'

/** What an Instance Availability Notification says (PS3.4 annex R). */
export interface Availability {
  studyInstanceUid: string
  instances: (SopReference & { seriesInstanceUid: string })[]
}

/** Takes notifications that instances of a study are available (N-CREATE). */
export function availabilityOperation(take: (told: Availability) => Promise<void>): OperationHandler {
  return async operation => {
    if (operation.command[field.affectedSopClassUid] !== service.instanceAvailability)
      return operation.respond(status.noSuchSopClass)
    const dataSet = operation.dataSet()
    const studyInstanceUid = textOf(dataSet, '0020000D') ?? ''
    if (!isValidUid(studyInstanceUid)) {
      const comment = 'Study Instance UID (0020,000D) is missing or not valid'
      return operation.respond(0x0120, { comment }) // missing attribute
    }
    const instances = itemsOf(dataSet, '00081115').flatMap(series =>
      itemsOf(series, '00081199')
        .filter(item => !['OFFLINE', 'UNAVAILABLE'].includes(textOf(item, '00080056') ?? ''))
        .map(item => ({
          seriesInstanceUid: textOf(series, '0020000E') ?? '',
          sopClassUid: textOf(item, '00081150') ?? '',
          sopInstanceUid: textOf(item, '00081155') ?? '',
        })),
    )
    await take({ studyInstanceUid, instances: instances.filter(entry => isValidUid(entry.sopInstanceUid)) })
    await operation.respond(status.success)
  }
}

/** Tells a peer that instances can be had from us. @throws Error in words */
export async function notifyAvailability(peer: Peer, { studyInstanceUid, instances }: Availability): Promise<void> {
  const proposal = {
    abstractSyntax: service.instanceAvailability,
    transferSyntaxes: [explicitVrLittleEndian, implicitVrLittleEndian],
  }
  const { association } = await openAssociation(peer, [proposal], { log: silentLog })
  try {
    const [context] = association.contextsOf(service.instanceAvailability)
    const series = bySeries(instances)
    const text = (vr: string, value: string) => ({ vr, Value: [value] })
    const dataSet: DicomJson = {
      '00081111': { vr: 'SQ' },
      '00081115': {
        vr: 'SQ',
        Value: series.map(([uid, entries]) => ({
          '00081199': {
            vr: 'SQ',
            Value: entries.map(({ sopClassUid, sopInstanceUid }) => ({
              '00080054': text('AE', peer.callingAeTitle),
              '00080056': text('CS', 'ONLINE'),
              '00081150': text('UI', sopClassUid),
              '00081155': text('UI', sopInstanceUid),
            })),
          },
          '0020000E': text('UI', uid),
        })),
      },
      '0020000D': text('UI', studyInstanceUid),
    }
    const answer = await association.askOnce(
      context!,
      {
        [field.affectedSopClassUid]: service.instanceAvailability,
        [field.affectedSopInstanceUid]: randomUid(),
        [field.commandField]: commandField.nCreateRequest,
      },
      dataSet,
    )
    if (answer.status !== 0) throw new Error(`the notification was answered with ${hexStatus(answer.status)}`)
  } finally {
    association.release()
  }
}

function bySeries(instances: Availability['instances']): [string, Availability['instances']][] {
  const groups = new Map<string, Availability['instances']>()
  for (const entry of instances) {
    const group = groups.get(entry.seriesInstanceUid)
    if (group) group.push(entry)
    else groups.set(entry.seriesInstanceUid, [entry])
  }
  return [...groups]
}
