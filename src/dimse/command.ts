import { ProtocolError } from './pdu.js'

/** Elements of a command set by their element number in group 0000 (PS3.7 E.1): UIDs and text as text, numbers as numbers. */
export type Command = Partial<Record<number, string | number>>

export const field = {
  affectedSopClassUid: 0x0002,
  requestedSopClassUid: 0x0003,
  commandField: 0x0100,
  messageId: 0x0110,
  messageIdBeingRespondedTo: 0x0120,
  moveDestination: 0x0600,
  priority: 0x0700,
  commandDataSetType: 0x0800,
  status: 0x0900,
  errorComment: 0x0902,
  affectedSopInstanceUid: 0x1000,
  requestedSopInstanceUid: 0x1001,
  eventTypeId: 0x1002,
  actionTypeId: 0x1008,
  remainingSubOperations: 0x1020,
  completedSubOperations: 0x1021,
  failedSubOperations: 0x1022,
  warningSubOperations: 0x1023,
  moveOriginatorAeTitle: 0x1030,
  moveOriginatorMessageId: 0x1031,
} as const

export const commandField = {
  cStoreRequest: 0x0001,
  cGetRequest: 0x0010,
  cFindRequest: 0x0020,
  cMoveRequest: 0x0021,
  cEchoRequest: 0x0030,
  nEventReportRequest: 0x0100,
  nActionRequest: 0x0130,
  nCreateRequest: 0x0140,
  cCancelRequest: 0x0fff,
} as const
/** A response has the command field of its request with this bit. */
export const response = 0x8000
/** Command Data Set Type: there is none. */
export const noDataSet = 0x0101

const numbers = new Set<number>([
  field.commandField,
  field.messageId,
  field.messageIdBeingRespondedTo,
  field.priority,
  field.commandDataSetType,
  field.status,
  field.eventTypeId,
  field.actionTypeId,
  field.remainingSubOperations,
  field.completedSubOperations,
  field.failedSubOperations,
  field.warningSubOperations,
  field.moveOriginatorMessageId,
])
const uids = new Set<number>([
  field.affectedSopClassUid,
  field.affectedSopInstanceUid,
  field.requestedSopClassUid,
  field.requestedSopInstanceUid,
])

/** Statuses of PS3.7 annex C and of the service classes (PS3.4) that are no reasons of STOW-RS. */
export const status = {
  success: 0x0000,
  /** Matches or sub-operations go on. */
  pending: 0xff00,
  /** The same; a key of the query is not supported. */
  pendingWithUnsupportedKeys: 0xff01,
  cancelled: 0xfe00,
  noSuchSopInstance: 0x0112,
  noSuchEventType: 0x0113,
  noSuchAction: 0x0123,
  noSuchSopClass: 0x0118,
  unrecognizedOperation: 0x0211,
  unableToProcess: 0xc000,
  moveDestinationUnknown: 0xa801,
  identifierDoesNotMatch: 0xa900,
  subOperationsFailed: 0xa702,
  subOperationsWithFailures: 0xb000,
} as const

export const isPending = (code: number) => code === status.pending || code === status.pendingWithUnsupportedKeys

/** A command set in Implicit VR Little Endian, with its group length (PS3.7 6.3.1). */
export function encodeCommand(command: Command): Buffer {
  const parts: Buffer[] = []
  for (const element of Object.keys(command)
    .map(Number)
    .sort((a, b) => a - b)) {
    const value = command[element]
    if (value === undefined) continue
    let bytes: Buffer
    if (typeof value === 'number') {
      bytes = Buffer.alloc(2)
      bytes.writeUInt16LE(value)
    } else {
      bytes = Buffer.from(value, 'latin1')
      if (bytes.length % 2) bytes = Buffer.concat([bytes, Buffer.from(uids.has(element) ? '\0' : ' ')])
    }
    parts.push(header(element, bytes.length), bytes)
  }
  const length = Buffer.alloc(4)
  length.writeUInt32LE(parts.reduce((sum, part) => sum + part.length, 0))
  return Buffer.concat([header(0, 4), length, ...parts])
}

function header(element: number, length: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt16LE(element, 2)
  bytes.writeUInt32LE(length, 4)
  return bytes
}

/** @throws ProtocolError */
export function decodeCommand(bytes: Buffer): Command {
  const command: Command = {}
  for (let at = 0; at < bytes.length; ) {
    if (at + 8 > bytes.length) throw new ProtocolError('a command is cut')
    const [group, element, length] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2), bytes.readUInt32LE(at + 4)]
    const value = bytes.subarray(at + 8, at + 8 + length)
    if (group !== 0 || value.length !== length) throw new ProtocolError('a command is not by PS3.7 6.3.1')
    if (!numbers.has(element)) command[element] = value.toString('latin1').replace(/[\0 ]+$/, '')
    else if (length === 2) command[element] = value.readUInt16LE(0)
    else throw new ProtocolError(`command element ${element.toString(16).padStart(4, '0')} is no number of 16 bits`)
    at += 8 + length
  }
  if (typeof command[field.commandField] !== 'number') throw new ProtocolError('a command without Command Field')
  return command
}
