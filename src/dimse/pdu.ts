import { implementationClassUid } from '../dicom/uid.js'

/** Types of the protocol data units of the Upper Layer (PS3.8 9.3). */
export const pduType = {
  associateRequest: 0x01,
  associateAccept: 0x02,
  associateReject: 0x03,
  data: 0x04,
  releaseRequest: 0x05,
  releaseResponse: 0x06,
  abort: 0x07,
} as const

/** Longest A-ASSOCIATE that is read: 128 contexts with all transfer syntaxes have some 200 KiB. */
export const maxAssociateLength = 1024 * 1024
/** Longest P-DATA that we ask for. */
const ownMaxLength = 256 * 1024
/** DICOM Application Context Name (PS3.7 A.2.1). */
export const applicationContext = '1.2.840.10008.3.1.1.1'
const implementationVersion = 'RADBRIDGE'

export interface ProposedContext {
  /** Odd, 1 to 255. */
  id: number
  abstractSyntax: string
  transferSyntaxes: string[]
}

/** SCP/SCU Role Selection (PS3.7 D.3.3.4): which roles the one who asks for the association may take for a SOP class. */
export interface Role {
  abstractSyntax: string
  scu: boolean
  scp: boolean
}

/** Result of a presentation context (PS3.8 table 9-18). */
export const contextResult = { accepted: 0, abstractSyntaxUnknown: 3, transferSyntaxesUnknown: 4 } as const

export interface AnsweredContext {
  id: number
  result: number
  transferSyntax: string
}

/** A-ASSOCIATE-RQ (PS3.8 9.3.2). */
export interface AssociateRequest {
  calledAeTitle: string
  callingAeTitle: string
  applicationContext: string
  contexts: ProposedContext[]
  roles: Role[]
  /** Longest P-DATA that the other side takes; 0: any. */
  maxLength: number
}

/** A-ASSOCIATE-AC (PS3.8 9.3.3). */
export interface AssociateAccept {
  contexts: AnsweredContext[]
  roles: Role[]
  maxLength: number
}

/** A message that is not by the protocol. */
export class ProtocolError extends Error {}

/** A PDU of a type with its body. */
function pdu(type: number, ...body: Buffer[]): Buffer {
  const header = Buffer.alloc(6)
  header[0] = type
  header.writeUInt32BE(
    body.reduce((sum, part) => sum + part.length, 0),
    2,
  )
  return Buffer.concat([header, ...body])
}

/** An item of a type with its content (PS3.8 9.3.2.1). */
function item(type: number, ...content: Buffer[]): Buffer {
  const header = Buffer.alloc(4)
  header[0] = type
  header.writeUInt16BE(
    content.reduce((sum, part) => sum + part.length, 0),
    2,
  )
  return Buffer.concat([header, ...content])
}

const text = (value: string) => Buffer.from(value, 'latin1')
const aeTitle = (value: string) => text(value.slice(0, 16).padEnd(16))

function fixedFields(called: string, calling: string): Buffer {
  return Buffer.concat([Buffer.from([0, 1, 0, 0]), aeTitle(called), aeTitle(calling), Buffer.alloc(32)])
}

function userInformation(roles: readonly Role[]): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(ownMaxLength)
  return item(
    0x50,
    item(0x51, length),
    item(0x52, text(implementationClassUid)),
    ...roles.map(({ abstractSyntax, scu, scp }) => {
      const uidLength = Buffer.alloc(2)
      uidLength.writeUInt16BE(abstractSyntax.length)
      return item(0x54, uidLength, text(abstractSyntax), Buffer.from([Number(scu), Number(scp)]))
    }),
    item(0x55, text(implementationVersion)),
  )
}

export function associateRequest(
  calledAeTitle: string,
  callingAeTitle: string,
  contexts: readonly ProposedContext[],
  roles: readonly Role[] = [],
): Buffer {
  const proposed = contexts.map(({ id, abstractSyntax, transferSyntaxes }) =>
    item(
      0x20,
      Buffer.from([id, 0, 0, 0]),
      item(0x30, text(abstractSyntax)),
      ...transferSyntaxes.map(uid => item(0x40, text(uid))),
    ),
  )
  return pdu(
    pduType.associateRequest,
    fixedFields(calledAeTitle, callingAeTitle),
    item(0x10, text(applicationContext)),
    ...proposed,
    userInformation(roles),
  )
}

export function associateAccept(
  { calledAeTitle, callingAeTitle }: AssociateRequest,
  contexts: readonly AnsweredContext[],
  roles: readonly Role[] = [],
): Buffer {
  const answered = contexts.map(({ id, result, transferSyntax }) =>
    item(0x21, Buffer.from([id, 0, result, 0]), item(0x40, text(transferSyntax))),
  )
  return pdu(
    pduType.associateAccept,
    fixedFields(calledAeTitle, callingAeTitle),
    item(0x10, text(applicationContext)),
    ...answered,
    userInformation(roles),
  )
}

/** Why an association is refused (PS3.8 table 9-21): result, source and reason. */
export const rejection = {
  noReason: [1, 1, 1],
  applicationContext: [1, 1, 2],
  callingAeTitle: [1, 1, 3],
  calledAeTitle: [1, 1, 7],
  protocolVersion: [1, 2, 2],
  temporaryCongestion: [2, 3, 1],
  localLimit: [2, 3, 2],
} as const satisfies Record<string, readonly [number, number, number]>

export function associateReject([result, source, reason]: readonly [number, number, number]): Buffer {
  return pdu(pduType.associateReject, Buffer.from([0, result, source, reason]))
}

export const releaseRequest = pdu(pduType.releaseRequest, Buffer.alloc(4))
export const releaseResponse = pdu(pduType.releaseResponse, Buffer.alloc(4))

/** A-ABORT (PS3.8 9.3.8) by the service provider; `reason` 0: not said, 2: unexpected PDU, 6: invalid value. */
export function abort(reason = 0): Buffer {
  return pdu(pduType.abort, Buffer.from([0, 0, 2, reason]))
}

/** Header of a P-DATA that holds one fragment: its own, and that of the fragment (PS3.8 9.3.5, annex E.2). */
export function dataHeader(contextId: number, length: number, isCommand: boolean, isLast: boolean): Buffer {
  const header = Buffer.alloc(12)
  header[0] = pduType.data
  header.writeUInt32BE(length + 6, 2)
  header.writeUInt32BE(length + 2, 6)
  header[10] = contextId
  header[11] = (isCommand ? 1 : 0) | (isLast ? 2 : 0)
  return header
}

interface Item {
  type: number
  content: Buffer
}

function* items(bytes: Buffer): Generator<Item> {
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) throw new ProtocolError('an item of the association is cut')
    const length = bytes.readUInt16BE(at + 2)
    if (at + 4 + length > bytes.length) throw new ProtocolError('an item of the association is longer than the message')
    yield { type: bytes[at]!, content: bytes.subarray(at + 4, at + 4 + length) }
    at += 4 + length
  }
}

const textOf = (bytes: Buffer) => bytes.toString('latin1').replace(/[\0 ]+$/, '')

/** @param body of the PDU @throws ProtocolError */
export function readAssociateRequest(body: Buffer): AssociateRequest {
  if (body.length < 68) throw new ProtocolError('the association request is too short')
  if ((body.readUInt16BE(0) & 1) === 0) throw new ProtocolError('protocol version 1 is not among those asked for')
  const request: AssociateRequest = {
    calledAeTitle: textOf(body.subarray(4, 20)).trim(),
    callingAeTitle: textOf(body.subarray(20, 36)).trim(),
    applicationContext: '',
    contexts: [],
    roles: [],
    maxLength: 0,
  }
  for (const { type, content } of items(body.subarray(68))) {
    if (type === 0x10) request.applicationContext = textOf(content)
    else if (type === 0x20) request.contexts.push(readProposedContext(content))
    else if (type === 0x50) Object.assign(request, readUserInformation(content))
  }
  const ids = new Set(request.contexts.map(({ id }) => id))
  if (ids.size < request.contexts.length || [...ids].some(id => id % 2 === 0))
    throw new ProtocolError('presentation contexts need odd numbers, each another one (PS3.8 9.3.2.2)')
  if (request.contexts.length === 0) throw new ProtocolError('the association request proposes no presentation context')
  return request
}

function readProposedContext(content: Buffer): ProposedContext {
  if (content.length < 4) throw new ProtocolError('a presentation context is too short')
  const context: ProposedContext = { id: content[0]!, abstractSyntax: '', transferSyntaxes: [] }
  for (const { type, content: value } of items(content.subarray(4))) {
    if (type === 0x30) context.abstractSyntax = textOf(value)
    else if (type === 0x40) context.transferSyntaxes.push(textOf(value))
  }
  return context
}

function readUserInformation(content: Buffer): { maxLength: number; roles: Role[] } {
  const read = { maxLength: 0, roles: [] as Role[] }
  for (const { type, content: value } of items(content)) {
    if (type === 0x51 && value.length === 4) read.maxLength = value.readUInt32BE(0)
    if (type !== 0x54 || value.length < 4) continue
    const length = value.readUInt16BE(0)
    if (value.length < 4 + length) throw new ProtocolError('a role selection is cut')
    const abstractSyntax = textOf(value.subarray(2, 2 + length))
    read.roles.push({ abstractSyntax, scu: value[2 + length] === 1, scp: value[3 + length] === 1 })
  }
  return read
}

/** @throws ProtocolError */
export function readAssociateAccept(body: Buffer): AssociateAccept {
  if (body.length < 68) throw new ProtocolError('the answer to the association request is too short')
  const accept: AssociateAccept = { contexts: [], roles: [], maxLength: 0 }
  for (const { type, content } of items(body.subarray(68))) {
    if (type === 0x50) Object.assign(accept, readUserInformation(content))
    if (type !== 0x21 || content.length < 4) continue
    const [syntax] = [...items(content.subarray(4))].filter(entry => entry.type === 0x40)
    accept.contexts.push({
      id: content[0]!,
      result: content[2]!,
      transferSyntax: syntax ? textOf(syntax.content) : '',
    })
  }
  return accept
}

/** What a rejection says, in words (PS3.8 table 9-21). */
export function rejectionInWords(body: Buffer): string {
  const [, result, source, reason] = body
  const words: Record<string, string> = {
    '1 1': 'it gives no reason',
    '1 2': 'it does not know the application context',
    '1 3': 'it does not know our AE title',
    '1 7': 'it has another AE title than the one we called',
    '2 2': 'it speaks another version of the protocol',
    '3 1': 'it is congested',
    '3 2': 'it has too many associations',
  }
  return `the association was refused${result === 2 ? ' for the moment' : ''}: ${words[`${source} ${reason}`] ?? `source ${source}, reason ${reason}`}`
}
