import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Deliverer, DeliveryOutcome, ObjectToDeliver } from '../delivery/index.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'
import { reason } from '../dicom/reasons.js'
import { explicitVrLittleEndian, implicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import { PixelProblem } from '../pixels/imageDescription.js'
import { asImplicit, type TranscodedObject } from '../pixels/transcode.js'
import { silentLog } from '../platform/log.js'
import type { Association, Context } from './association.js'
import { type Command, commandField, field } from './command.js'
import { type OpenAssociation, openAssociation, type Peer, Refused } from './openAssociation.js'

export interface StoreScuOptions {
  /** Decodes what the peer does not take as it is stored; absent: such an object is refused. */
  decode?: ((path: string) => Promise<TranscodedObject>) | undefined
  /** Added to each C-STORE request: who has asked for it by C-MOVE. */
  command?: Command
}

const keptMilliseconds = 3000
const chunk = 128 * 1024

/**
 * Delivers objects by C-STORE (PS3.4 annex B) as they are, byte for byte, in the transfer syntax that they are stored in, or decoded if the peer does not take that. An association is
 * kept a little while for the next object of the same kind.
 */
export function storeScu(peer: Peer, options: StoreScuOptions = {}): Deliverer {
  const kept = new Map<string, { open: OpenAssociation; timer: NodeJS.Timeout }>()
  const take = async (key: string, sopClassUid: string, transferSyntax: string) => {
    const known = kept.get(key)
    if (!known) {
      const proposals = proposed(sopClassUid, transferSyntax, options.decode !== undefined)
      return { open: await openAssociation(peer, proposals, { log: silentLog }), fresh: true }
    }
    kept.delete(key)
    clearTimeout(known.timer)
    return { open: known.open, fresh: false }
  }
  const keep = (key: string, open: OpenAssociation) => {
    if (kept.has(key)) return open.association.release()
    const timer = setTimeout(() => {
      kept.delete(key)
      open.association.release()
    }, keptMilliseconds)
    kept.set(key, { open, timer })
    void open.closed.then(() => {
      if (kept.get(key)?.open !== open) return
      clearTimeout(timer)
      kept.delete(key)
    })
  }
  const deliver = async (object: ObjectToDeliver): Promise<DeliveryOutcome> => {
    const { transferSyntax, dataSetOffset } = await placeOf(object.path)
    const key = `${object.sopClassUid} ${transferSyntax}`
    for (;;) {
      const { open, fresh } = await take(key, object.sopClassUid, transferSyntax)
      try {
        const outcome = await storeOver(open.association, { ...object, transferSyntax, dataSetOffset }, options)
        keep(key, open)
        return outcome
      } catch (error) {
        open.association.abort()
        if (fresh || error instanceof Refused) throw error
        // The peer has given up an association that was kept: with a new one it may succeed.
      }
    }
  }
  return {
    async deliver(object) {
      try {
        return await deliver(object)
      } catch (error) {
        if (error instanceof Refused) return { outcome: 'refused', detail: error.message }
        const { code, message } = error as NodeJS.ErrnoException
        return { outcome: 'failed', detail: code ? `no answer (${code})` : message }
      }
    },
    async close() {
      for (const { open, timer } of kept.values()) {
        clearTimeout(timer)
        open.association.release()
      }
      kept.clear()
    },
  }
}

/** An object, and how it is stored. */
export interface PlacedObject extends ObjectToDeliver {
  transferSyntax: string
  dataSetOffset: number
}

/**
 * C-STORE of one object over an association that has contexts for its SOP class.
 * @throws Refused if none of them can take it
 */
export async function storeOver(
  association: Association,
  object: PlacedObject,
  { decode, command = {} }: StoreScuOptions,
): Promise<DeliveryOutcome> {
  const context = chooseContext(association.contextsOf(object.sopClassUid), object.transferSyntax)
  if (!context)
    throw new Refused(`it does not take objects of SOP class ${object.sopClassUid} in any transfer syntax that we have`)
  const request = {
    [field.affectedSopClassUid]: object.sopClassUid,
    [field.commandField]: commandField.cStoreRequest,
    [field.priority]: 0,
    [field.affectedSopInstanceUid]: object.sopInstanceUid,
    ...command,
  }
  if (context.transferSyntax === object.transferSyntax) {
    const answer = await association.askOnce(context, request, dataSetOf(object.path, object.dataSetOffset))
    return judge(answer.status, answer.comment)
  }
  const isExplicit = object.transferSyntax === explicitVrLittleEndian
  const native = isExplicit ? undefined : await decoded(object.path, decode)
  try {
    const { path, dataSetOffset } = native ?? object
    const implicit = context.transferSyntax === implicitVrLittleEndian
    const answer = await association.askOnce(
      context,
      request,
      implicit ? asImplicit(path) : dataSetOf(path, dataSetOffset),
    )
    return judge(answer.status, answer.comment)
  } finally {
    await native?.dispose()
  }
}

async function decoded(path: string, decode: StoreScuOptions['decode']): Promise<TranscodedObject> {
  if (!decode) throw new Refused('it does not take the transfer syntax in which the object is stored')
  try {
    return await decode(path)
  } catch (error) {
    if (!(error instanceof PixelProblem)) throw error
    throw new Refused(`it does not take the transfer syntax of the object, which cannot be decoded: ${error.message}`)
  }
}

/** The bytes of a data set; the file is open while they are read, and not before. */
async function* dataSetOf(path: string, start: number): AsyncGenerator<Buffer> {
  yield* createReadStream(path, { start, highWaterMark: chunk }) as AsyncIterable<Buffer>
}

/** As stored first; decoded, Explicit before Implicit, for those who take nothing else. */
function chooseContext(contexts: readonly Context[], stored: string): Context | undefined {
  for (const wanted of [stored, explicitVrLittleEndian, implicitVrLittleEndian]) {
    const context = contexts.find(({ transferSyntax }) => transferSyntax === wanted)
    if (context) return context
  }
  return undefined
}

/** Contexts for objects of a class in a syntax, each syntax in one of its own, so that all that the peer takes are known. */
export function proposed(sopClassUid: string, transferSyntax: string, mayDecode: boolean) {
  const syntaxes = new Set([transferSyntax])
  if (mayDecode) syntaxes.add(explicitVrLittleEndian)
  if (mayDecode || transferSyntax === explicitVrLittleEndian) syntaxes.add(implicitVrLittleEndian)
  return [...syntaxes].map(syntax => ({ abstractSyntax: sopClassUid, transferSyntaxes: [syntax] }))
}

export async function placeOf(path: string): Promise<{ transferSyntax: string; dataSetOffset: number }> {
  const file = await open(path, 'r')
  try {
    const { outcome } = await readHeaderOf(file)
    if (outcome.outcome === 'refused') throw new Refused(outcome.detail)
    return { transferSyntax: outcome.header.transferSyntax.uid, dataSetOffset: outcome.header.dataSetOffset }
  } finally {
    await file.close()
  }
}

export const hexStatus = (status: number) => status.toString(16).toUpperCase().padStart(4, '0')

/** What a C-STORE status says (PS3.4 table B.2-1). */
export function judge(status: number, comment: string): DeliveryOutcome {
  const said = comment ? `: ${comment}` : ''
  if (status === 0) return { outcome: 'delivered', detail: 'stored (C-STORE 0000)' }
  if ((status & 0xf000) === 0xb000 || status === 0x0001 || status === 0x0107 || status === 0x0116)
    return { outcome: 'delivered', detail: `stored with warning ${hexStatus(status)}${said}` }
  if (status === reason.duplicateSopInstance)
    return { outcome: 'delivered', detail: 'it was there already (C-STORE 0111)' }
  const detail = `the destination answered C-STORE with ${hexStatus(status)}${said}`
  return (status & 0xff00) === 0xa700 ? { outcome: 'failed', detail } : { outcome: 'refused', detail }
}
