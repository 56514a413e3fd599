import { implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { silentLog } from '../platform/log.js'
import { commandField, field } from './command.js'
import { openAssociation, type Peer } from './openAssociation.js'
import { service } from './sopClasses.js'
import { hexStatus } from './storeScu.js'

/** C-ECHO (PS3.7 9.1.5). @throws Error in words */
export async function echo(peer: Peer): Promise<void> {
  const proposal = { abstractSyntax: service.verification, transferSyntaxes: [implicitVrLittleEndian] }
  const { association } = await openAssociation(peer, [proposal], { log: silentLog })
  try {
    const [context] = association.contextsOf(service.verification)
    const { status } = await association.askOnce(context!, {
      [field.affectedSopClassUid]: service.verification,
      [field.commandField]: commandField.cEchoRequest,
    })
    if (status !== 0) throw new Error(`C-ECHO was answered with status ${hexStatus(status)}`)
    association.release()
  } catch (error) {
    association.abort()
    throw error
  }
}
