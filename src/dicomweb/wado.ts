import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import { type BlobStore, findInstances, type StoredInstance } from '../archive/index.js'
import { type DicomJson, numberOf } from '../dicom/dicomJson.js'
import { explicitVrLittleEndian } from '../dicom/transferSyntaxes.js'
import type { PixelPool } from '../pixels/pool.js'
import type { Database } from '../platform/database.js'
import { type MediaType, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'

export interface WadoOptions {
  database: Database
  blobs: BlobStore
  pixels: PixelPool
}

/** WADO-RS, PS3.18 10.4: a study, a series or an instance as Part 10 files, each as it is stored. */
export function wado({ database, blobs }: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const instances = await findInstances(database, level(req))
    if (instances.length === 0) return notFound(res)
    const form = chooseForm(parseAccept(req.headers.accept), instances)
    if (!form) {
      const detail =
        'instances are available as application/dicom in the transfer syntax in which they are stored; ' +
        'ask for transfer-syntax=* to get them so'
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    }
    if (form === 'single') {
      const only = instances[0]!
      res.set({
        'Content-Type': `application/dicom; transfer-syntax=${only.transferSyntaxUid}`,
        'Content-Length': String(only.byteLength),
      })
      return pipeline(blobs.read(only.blobKey), res).catch(ignoreHangUp)
    }
    const boundary = randomUUID()
    res.set('Content-Type', `multipart/related; type="application/dicom"; boundary=${boundary}`)
    return pipeline(Readable.from(multipart(instances, blobs, boundary), { objectMode: false }), res).catch(
      ignoreHangUp,
    )
  }
}

/** Retrieve Metadata, PS3.18 10.4.1.1.4: data sets as DICOM JSON from the index; pixel data by address. */
export function wadoMetadata({ database }: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const instances = await findInstances(database, level(req))
    if (instances.length === 0) return notFound(res)
    const base = baseUrl(req)
    res.type('application/dicom+json').send(JSON.stringify(instances.map(instance => withPixelData(instance, base))))
  }
}

/** Pixel Data by address: a client that asks there gets the value as it is stored. */
function withPixelData(instance: StoredInstance, base: string): DicomJson {
  const { header, studyInstanceUid, seriesInstanceUid, sopInstanceUid } = instance
  if (!header['00280010']) return header
  const vr = (numberOf(header, '00280100') ?? 16) > 8 ? 'OW' : 'OB'
  const path = `studies/${studyInstanceUid}/series/${seriesInstanceUid}/instances/${sopInstanceUid}/bulkdata/7FE00010`
  return { ...header, '7FE00010': { vr, BulkDataURI: `${base}/${path}` } }
}

function level(req: Request): { study: string; series?: string; instance?: string } {
  return req.params as { study: string; series?: string; instance?: string }
}

function notFound(res: Response): void {
  sendProblem(res, { status: 404, title: 'Not Found', detail: 'nothing is stored under this address' })
}

/** Default transfer syntax is Explicit VR Little Endian (PS3.18 8.7.3.5.2); `*` takes what is stored. */
function chooseForm(
  accepted: readonly MediaType[],
  instances: readonly StoredInstance[],
): 'single' | 'multipart' | undefined {
  for (const type of accepted) {
    const wanted = type.parameters['transfer-syntax'] ?? explicitVrLittleEndian
    const available = wanted === '*' || instances.every(instance => instance.transferSyntaxUid === wanted)
    const single = type.type === 'application/dicom' && instances.length === 1
    const rootType = (type.parameters.type ?? 'application/dicom').toLowerCase()
    const multi = type.type === 'multipart/related' && (rootType === 'application/dicom' || rootType === '*/*')
    if (type.type === '*/*' || type.type === 'multipart/*') return 'multipart'
    if (available && single) return 'single'
    if (available && multi) return 'multipart'
  }
  return undefined
}

async function* multipart(
  instances: readonly StoredInstance[],
  blobs: BlobStore,
  boundary: string,
): AsyncGenerator<Buffer> {
  for (const instance of instances) {
    const head = `--${boundary}\r\nContent-Type: application/dicom; transfer-syntax=${instance.transferSyntaxUid}\r\n\r\n`
    yield Buffer.from(head)
    for await (const chunk of blobs.read(instance.blobKey)) yield chunk as Buffer
    yield Buffer.from('\r\n')
  }
  yield Buffer.from(`--${boundary}--\r\n`)
}

export function ignoreHangUp(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
}
