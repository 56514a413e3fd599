import { randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import { headersOf, type RetrievableInstance } from '../archive/index.js'
import { type DicomJson, numberOf } from '../dicom/dicomJson.js'
import { toNativeXml } from '../dicom/nativeXml.js'
import { readBulkData } from '../dicom/readBulkData.js'
import { entityTag, isNotModified } from './conditional.js'
import { accepts, datasetForm, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'
import { ignoreHangUp, instancesAt, notFound, type WadoOptions } from './wado.js'

const pageSize = 250

/** Retrieve Metadata, PS3.18 10.4.1.1.4: data sets from the index, without a file being opened; bulk data by address. */
export function wadoMetadata({ database }: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const form = datasetForm(parseAccept(req.headers.accept))
    if (!form) {
      const detail =
        'metadata is available as application/dicom+json, and as multipart/related; type="application/dicom+xml"'
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
    }
    const instances = await instancesAt(database, req)
    if (instances.length === 0) return notFound(res)
    const base = baseUrl(req)
    if (isNotModified(req, res, entityTag(instances, `metadata ${form} ${base}`))) return
    const boundary = randomUUID()
    res.set(
      'Content-Type',
      form === 'json'
        ? 'application/dicom+json'
        : `multipart/related; type="application/dicom+xml"; boundary=${boundary}`,
    )
    if (req.method === 'HEAD') return void res.end()
    const datasets = inPages(instances, base, database)
    const body = form === 'json' ? asJson(datasets) : asXml(datasets, boundary)
    await pipeline(Readable.from(body, { objectMode: false }), res).catch(ignoreHangUp)
  }
}

/** Pages that the database works on while the one before them goes out. */
const pagesAhead = 3

/** JSON texts of data sets, as the database gives them: they are not parsed. */
async function* inPages(
  instances: readonly RetrievableInstance[],
  base: string,
  database: WadoOptions['database'],
): AsyncGenerator<string[]> {
  const load = async (page: readonly RetrievableInstance[]) => {
    const headers = await headersOf(
      database,
      page.map(({ sopInstanceUid }) => sopInstanceUid),
    )
    return page.flatMap(instance => {
      const header = headers.get(instance.sopInstanceUid)
      return header ? [withBulkData(header, instance, base)] : []
    })
  }
  const begun: Promise<string[]>[] = []
  for (let at = 0; at < instances.length || begun.length > 0; ) {
    while (begun.length < pagesAhead && at < instances.length) {
      const loading = load(instances.slice(at, at + pageSize))
      loading.catch(() => {}) // told when its turn comes
      begun.push(loading)
      at += pageSize
    }
    yield await begun.shift()!
  }
}

/** Bulk Data URIs become addresses; Pixel Data, which the index does not hold, gets one. */
function withBulkData(header: string, instance: RetrievableInstance, base: string): string {
  const { studyInstanceUid, seriesInstanceUid, sopInstanceUid } = instance
  const bulk = `${base}/studies/${studyInstanceUid}/series/${seriesInstanceUid}/instances/${sopInstanceUid}/bulkdata`
  const addressed = header.includes('"BulkDataURI"')
    ? header.replace(
        /"BulkDataURI": ?"([0-9A-F/]+)"/g,
        (_, path) => `"BulkDataURI": ${JSON.stringify(`${bulk}/${path}`)}`,
      )
    : header
  const bits = bitsOfImage(header)
  if (bits === undefined) return addressed
  const pixels = { vr: bits > 8 ? 'OW' : 'OB', BulkDataURI: `${bulk}/7FE00010` }
  return `${addressed.slice(0, -1)},"7FE00010":${JSON.stringify(pixels)}}`
}

/** Bits Allocated of an image; undefined for what has no Rows. Where a sequence stands before them, they might be those of an item: then the header is parsed. */
function bitsOfImage(header: string): number | undefined {
  const rows = header.indexOf('"00280010"')
  if (rows < 0) return undefined
  if (header.lastIndexOf('"SQ"', rows) >= 0) {
    const parsed = JSON.parse(header) as DicomJson
    return parsed['00280010'] && (numberOf(parsed, '00280100') ?? 16)
  }
  const bits = /"00280100": ?\{[^}]*"Value": ?\[(\d+)/.exec(header.slice(rows))
  return bits ? Number(bits[1]) : 16
}

async function* asJson(pages: AsyncGenerator<string[]>): AsyncGenerator<string> {
  let separator = '['
  for await (const page of pages) {
    yield separator + page.join(',')
    separator = ','
  }
  yield ']'
}

async function* asXml(pages: AsyncGenerator<string[]>, boundary: string): AsyncGenerator<string> {
  for await (const page of pages)
    for (const text of page)
      yield `--${boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n${toNativeXml(JSON.parse(text) as DicomJson)}\r\n`
  yield `--${boundary}--\r\n`
}

/** Retrieve Bulkdata (PS3.18 10.4.1.1.5) of attributes other than Pixel Data. */
export function wadoBulkData({ database, blobs }: WadoOptions) {
  return async (req: Request, res: Response): Promise<void> => {
    const [instance] = await instancesAt(database, req)
    const path = ([] as string[]).concat(req.params.path as string | string[]).join('/')
    if (!instance || !/^[0-9A-F]{8}(\/\d{1,6}\/[0-9A-F]{8})*$/.test(path)) return notFound(res)
    const accepted = parseAccept(req.headers.accept)
    const octets = 'application/octet-stream'
    const single = accepted.find(
      ({ type }) => accepts([{ type, parameters: {} }], octets) || type.startsWith('multipart/'),
    )
    if (!single)
      return sendProblem(res, { status: 406, title: 'Not Acceptable', detail: `bulk data is available as ${octets}` })
    if (isNotModified(req, res, entityTag([instance], path))) return
    const file = await open(await blobs.localPath(instance.blobKey), 'r')
    const value = await readBulkData(file, path).finally(() => file.close())
    if (!value) return notFound(res)
    if (single.type === octets || single.type === '*/*') return void res.type(octets).send(value)
    const boundary = randomUUID()
    res.set('Content-Type', `multipart/related; type="${octets}"; boundary=${boundary}`)
    const head = `--${boundary}\r\nContent-Type: ${octets}\r\nContent-Location: ${baseUrl(req)}${req.path}\r\n\r\n`
    res.send(Buffer.concat([Buffer.from(head), value, Buffer.from(`\r\n--${boundary}--\r\n`)]))
  }
}
