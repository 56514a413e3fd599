import { hostname } from 'node:os'
import type { AuditEntry, AuditKind } from './audit.js'

type Code = readonly [value: string, meaning: string]

/** Event ID (CID 400), Event Type Code (CID 401) where there is one, and the action: Create, Read, Update, Delete, Execute. */
const events: Readonly<Record<AuditKind, { id: Code; type?: Code; action: 'C' | 'R' | 'U' | 'D' | 'E' }>> = {
  'application-start': { id: ['110100', 'Application Activity'], type: ['110120', 'Application Start'], action: 'E' },
  'application-stop': { id: ['110100', 'Application Activity'], type: ['110121', 'Application Stop'], action: 'E' },
  'audit-log-used': { id: ['110101', 'Audit Log Used'], action: 'R' },
  'instances-accessed': { id: ['110103', 'DICOM Instances Accessed'], action: 'R' },
  'instances-received': { id: ['110104', 'DICOM Instances Transferred'], action: 'C' },
  'instances-sent': { id: ['110104', 'DICOM Instances Transferred'], action: 'R' },
  'study-deleted': { id: ['110105', 'DICOM Study Deleted'], action: 'D' },
  export: { id: ['110106', 'Export'], action: 'R' },
  query: { id: ['110112', 'Query'], action: 'E' },
  login: { id: ['110114', 'User Authentication'], type: ['110122', 'Login'], action: 'E' },
  logout: { id: ['110114', 'User Authentication'], type: ['110123', 'Logout'], action: 'E' },
  'access-refused': { id: ['110113', 'Security Alert'], type: ['110132', 'Use of Restricted Function'], action: 'E' },
  'sender-refused': { id: ['110113', 'Security Alert'], type: ['110126', 'Node Authentication'], action: 'E' },
  'configuration-changed': {
    id: ['110113', 'Security Alert'],
    type: ['110131', 'Software Configuration'],
    action: 'E',
  },
  'accounts-changed': {
    id: ['110113', 'Security Alert'],
    type: ['110137', 'User Security Attributes Changed'],
    action: 'E',
  },
  operated: { id: ['110100', 'Application Activity'], action: 'E' },
}

/** DICOM audit message of an entry (PS3.15 A.5.1). */
export function auditMessage({ at, event, outcome, data }: AuditEntry, aeTitle: string): string {
  const { id, type, action } = events[event]
  const { actor, study, instances, peer, detail } = data
  const code = (name: string, [value, meaning]: Code) =>
    `<${name} csd-code="${value}" codeSystemName="DCM" originalText="${escaped(meaning)}"/>`
  const [ours, theirs]: readonly (Code | undefined)[] =
    event === 'instances-received'
      ? [destination, source]
      : event === 'instances-sent' || event === 'export'
        ? [source, destination]
        : []
  const participant = (user: string, requestor: boolean, role: Code | undefined, address?: string) =>
    `<ActiveParticipant UserID="${escaped(user)}" UserIsRequestor="${requestor}"${
      address ? ` NetworkAccessPointID="${escaped(address)}" NetworkAccessPointTypeCode="2"` : ''
    }>${role ? code('RoleIDCode', role) : ''}</ActiveParticipant>`
  const isOurs = actor.name === 'radbridge'
  return [
    '<AuditMessage>',
    `<EventIdentification EventActionCode="${action}" EventDateTime="${at}" EventOutcomeIndicator="${outcome === 'success' ? 0 : 4}">`,
    code('EventID', id),
    type ? code('EventTypeCode', type) : '',
    '</EventIdentification>',
    isOurs ? '' : participant(actor.name, true, event === 'instances-received' ? theirs : undefined, actor.address),
    participant(aeTitle, isOurs, ours),
    peer && event !== 'instances-received' ? participant(peer, false, theirs) : '',
    `<AuditSourceIdentification AuditSourceID="radbridge@${escaped(hostname())}"><AuditSourceTypeCode csd-code="4"/></AuditSourceIdentification>`,
    study ? studyObject(study, instances) : '',
    detail ? detailObject(detail) : '',
    '</AuditMessage>',
  ].join('')
}

const source: Code = ['110153', 'Source Role ID']
const destination: Code = ['110152', 'Destination Role ID']

function studyObject(study: string, instances: number | undefined): string {
  const number = instances === undefined ? '' : `<SOPClass NumberOfInstances="${instances}"/>`
  return (
    `<ParticipantObjectIdentification ParticipantObjectID="${escaped(study)}" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">` +
    '<ParticipantObjectIDTypeCode csd-code="110180" codeSystemName="DCM" originalText="Study Instance UID"/>' +
    `<ParticipantObjectDescription>${number}</ParticipantObjectDescription></ParticipantObjectIdentification>`
  )
}

function detailObject(detail: Record<string, unknown>): string {
  const values = Object.entries(detail).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return `<ParticipantObjectDetail type="${escaped(name)}" value="${Buffer.from(text).toString('base64')}"/>`
  })
  return (
    '<ParticipantObjectIdentification ParticipantObjectID="radbridge" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="13">' +
    '<ParticipantObjectIDTypeCode csd-code="12" codeSystemName="RFC-3881" originalText="URI"/>' +
    `${values.join('')}</ParticipantObjectIdentification>`
  )
}

function escaped(text: string): string {
  return text.replace(
    /[&<>"\x00-\x1f]/g,
    character => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character] ?? ' ',
  )
}
