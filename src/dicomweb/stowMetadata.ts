import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DicomJson, DicomJsonElement } from '../dicom/dicomJson.js'
import { numberOf, textOf, textsOf } from '../dicom/dicomJson.js'
import { fromNativeXml, XmlProblem } from '../dicom/nativeXml.js'
import { elementHeader, fileMeta } from '../dicom/rewrite.js'
import { explicitVrLittleEndian, findTransferSyntax } from '../dicom/transferSyntaxes.js'
import { implementationClassUid } from '../dicom/uid.js'
import { type DataSetToWrite, writeDataSetBytes } from '../dicom/writePart10.js'
import { parseMediaType } from './mediaType.js'
import { MalformedMultipart } from './multipartSplitter.js'

/** Metadata of all instances of a request has to be in memory. */
const maxMetadataBytes = 256 * 1024 * 1024
/** Bulk data within sequences is in memory, too. */
const maxNestedBytes = 64 * 1024 * 1024
const maxUnwritten = 4 * 1024 * 1024

/** Bytes of one part of bulk data, in a file until the instances are put together. */
interface BulkPart {
  path: string
  length: number
  mediaType: string
  transferSyntax: string | undefined
}

/** Why an instance cannot be put together. */
export class AssemblyProblem extends Error {
  constructor(
    message: string,
    readonly dataset: DicomJson,
  ) {
    super(message)
  }
}

/**
 * A STOW-RS request of metadata and bulk data (PS3.18 8.7.3.3, 10.5.2): data sets in JSON or XML first, then parts that their Bulk Data URIs name by Content-Location.
 * Bulk data goes to files of a scratch folder.
 */
export class MetadataRequest {
  private readonly metadata: Buffer[][] = []
  private metadataBytes = 0
  private readonly bulk = new Map<string, BulkPart[]>()
  private current: { buffers: Buffer[] } | { part: BulkPart; file: Promise<FileHandle> } | undefined
  private writing: Promise<void> = Promise.resolve()
  private unwritten = 0
  private readonly paths: string[] = []

  constructor(
    private readonly form: 'json' | 'xml',
    private readonly scratch: string,
    /** Addresses may be relative to the service's. */
    private readonly base: string,
  ) {}

  beginPart(headers: Readonly<Record<string, string>>): void {
    const type = parseMediaType(headers['content-type'] ?? `application/dicom+${this.form}`)
    if (type?.type === `application/dicom+${this.form}`) {
      const buffers: Buffer[] = []
      this.metadata.push(buffers)
      this.current = { buffers }
      return
    }
    const path = join(this.scratch, `${randomUUID()}.bulk`)
    this.paths.push(path)
    const part: BulkPart = {
      path,
      length: 0,
      mediaType: type?.type ?? 'application/octet-stream',
      transferSyntax: type?.parameters['transfer-syntax'],
    }
    const location = this.absolute(headers['content-location'] ?? '')
    this.bulk.set(location, [...(this.bulk.get(location) ?? []), part])
    const file = open(path, 'w', 0o600)
    file.catch(() => {}) // told by what is written
    this.current = { part, file }
  }

  /** @returns a promise while the disk is slower than the network @throws MalformedMultipart */
  write(bytes: Buffer): Promise<void> | undefined {
    const { current } = this
    if (!current) return undefined
    if ('buffers' in current) {
      this.metadataBytes += bytes.length
      if (this.metadataBytes > maxMetadataBytes) throw new MalformedMultipart('the metadata is too long')
      current.buffers.push(bytes)
      return undefined
    }
    current.part.length += bytes.length
    this.unwritten += bytes.length
    this.writing = this.writing.then(async () => {
      await (await current.file).write(bytes)
      this.unwritten -= bytes.length
    })
    this.writing.catch(() => {}) // told when the instances are put together
    return this.unwritten > maxUnwritten ? this.writing : undefined
  }

  endPart(): void {
    const { current } = this
    if (current && 'file' in current) {
      this.writing = this.writing.then(async () => (await current.file).close())
      this.writing.catch(() => {})
    }
    this.current = undefined
  }

  /** The data sets of the request. @throws MalformedMultipart if they are none */
  async datasets(): Promise<DicomJson[]> {
    await this.writing
    return this.metadata.flatMap(buffers => {
      const text = Buffer.concat(buffers).toString('utf8')
      if (this.form === 'xml') return [readXml(text)]
      try {
        const parsed: unknown = JSON.parse(text)
        return (Array.isArray(parsed) ? parsed : [parsed]) as DicomJson[]
      } catch {
        throw new MalformedMultipart('the metadata is no JSON')
      }
    })
  }

  /** An instance as a Part 10 file. @throws AssemblyProblem */
  async *instance(dataset: DicomJson): AsyncGenerator<Buffer> {
    if (typeof dataset !== 'object' || dataset === null || Array.isArray(dataset))
      throw new AssemblyProblem('an entry of the metadata is no data set', {})
    const sent = this.partsOf(dataset, '7FE00010')
    const transferSyntaxUid = sent ? syntaxOf(sent, dataset) : explicitVrLittleEndian
    const syntax = findTransferSyntax(transferSyntaxUid)
    if (!syntax) throw new AssemblyProblem('the transfer syntax of the pixel data is not supported', dataset)
    if (!syntax.encapsulated && syntax.encoding !== 'explicit-little')
      throw new AssemblyProblem('uncompressed bulk data has to be Explicit VR Little Endian', dataset)
    yield fileMeta({
      sopClassUid: textOf(dataset, '00080016') ?? '',
      sopInstanceUid: textOf(dataset, '00080018') ?? '',
      transferSyntaxUid,
      implementationClassUid,
    })
    const tags = Object.keys(dataset).filter(tag => /^[0-9A-F]{8}$/.test(tag) && !tag.startsWith('0002'))
    for (const tag of [...new Set([...tags, '00080005'])].sort()) {
      const element = tag === '00080005' ? { vr: 'CS', Value: ['ISO_IR 192'] } : dataset[tag]!
      if (typeof element?.vr !== 'string' || element.vr.length !== 2)
        throw new AssemblyProblem(`attribute ${tag} has no vr`, dataset)
      if (element.BulkDataURI === undefined) yield await this.encoded(tag, element, dataset)
      else if (tag === '7FE00010' && syntax.encapsulated) yield* encapsulated(sent ?? [])
      else yield* this.value(tag, element.vr, dataset)
    }
  }

  /** Removes the files. */
  async dispose(): Promise<void> {
    const { current } = this
    if (current && 'file' in current)
      await current.file.then(
        file => file.close(),
        () => {},
      )
    await this.writing.catch(() => {})
    await Promise.all(this.paths.map(path => rm(path, { force: true })))
  }

  private absolute(location: string): string {
    return URL.canParse(location.trim(), `${this.base}/`) ? new URL(location.trim(), `${this.base}/`).href : location
  }

  /** @returns undefined if the attribute has no bulk data @throws AssemblyProblem if it was not sent */
  private partsOf(dataset: DicomJson, tag: string): BulkPart[] | undefined {
    const address = dataset[tag]?.BulkDataURI
    if (address === undefined) return undefined
    const parts = this.bulk.get(this.absolute(address))
    if (!parts)
      throw new AssemblyProblem(`no part has the Content-Location that the Bulk Data URI of ${tag} names`, dataset)
    return parts
  }

  private async *value(tag: string, vr: string, dataset: DicomJson): AsyncGenerator<Buffer> {
    const parts = this.partsOf(dataset, tag)!
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    const pixelVr = (numberOf(dataset, '00280100') ?? 16) > 8 ? 'OW' : 'OB'
    yield elementHeader(tag, tag === '7FE00010' ? pixelVr : vr, length + (length & 1))
    for (const { path } of parts) yield* bytesOf(path)
    if (length & 1) yield Buffer.alloc(1)
  }

  private async encoded(tag: string, element: DicomJsonElement, dataset: DicomJson): Promise<Buffer> {
    const complete = element.vr === 'SQ' ? await this.withBulkData({ [tag]: element }, dataset) : { [tag]: element }
    try {
      return writeDataSetBytes(complete as DataSetToWrite)
    } catch {
      throw new AssemblyProblem(`attribute ${tag} is not by the DICOM JSON Model`, dataset)
    }
  }

  /** Sequences with the bulk data that is named within them. */
  private async withBulkData(items: DicomJson, dataset: DicomJson): Promise<DataSetToWrite> {
    const complete: DataSetToWrite = {}
    for (const [tag, element] of Object.entries(items)) {
      const parts = this.partsOf(items, tag)
      if (parts) {
        if (parts.reduce((sum, part) => sum + part.length, 0) > maxNestedBytes)
          throw new AssemblyProblem(`the bulk data of ${tag} within a sequence is too long`, dataset)
        const bytes = Buffer.concat(await Promise.all(parts.map(part => readFile(part.path))))
        complete[tag] = { vr: element.vr, Value: [new Uint8Array(bytes).buffer] }
      } else if (element?.vr === 'SQ')
        complete[tag] = {
          vr: 'SQ',
          Value: await Promise.all((element.Value ?? []).map(item => this.withBulkData(item as DicomJson, dataset))),
        }
      else complete[tag] = element as DataSetToWrite[string]
    }
    return complete
  }
}

function readXml(text: string): DicomJson {
  try {
    return fromNativeXml(text)
  } catch (error) {
    if (error instanceof XmlProblem) throw new MalformedMultipart(error.message)
    throw error
  }
}

/** Transfer syntaxes of media types that name none (PS3.18 table 8.7.3-5); that of image/jpeg stands in its stream. */
const syntaxOfType: Readonly<Record<string, string>> = {
  'image/jls': '1.2.840.10008.1.2.4.80',
  'image/jp2': '1.2.840.10008.1.2.4.90',
  'image/jphc': '1.2.840.10008.1.2.4.201',
  'image/jxl': '1.2.840.10008.1.2.4.110',
  'image/dicom-rle': '1.2.840.10008.1.2.5',
  'image/jpeg': '1.2.840.10008.1.2.4.50',
}

/** What the part says, else the metadata (Available Transfer Syntax UID), else the media type. */
function syntaxOf([part]: readonly BulkPart[], dataset: DicomJson): string {
  if (part?.transferSyntax) return part.transferSyntax
  if (!part || part.mediaType === 'application/octet-stream') return explicitVrLittleEndian
  const [declared] = [...textsOf(dataset, '00083002'), ...textsOf(dataset, '00020010')]
  const byType = syntaxOfType[part.mediaType]
  if (declared && findTransferSyntax(declared)?.encapsulated) return declared
  if (!byType)
    throw new AssemblyProblem(`pixel data of media type ${part.mediaType.slice(0, 60)} is not supported`, dataset)
  return byType
}

/** Each part is a frame, in a fragment of its own, with an empty Basic Offset Table (PS3.5 A.4). */
async function* encapsulated(frames: readonly BulkPart[]): AsyncGenerator<Buffer> {
  const item = (length: number, tag = 0xe000fffe) => {
    const header = Buffer.alloc(8)
    header.writeUInt32LE(tag, 0)
    header.writeUInt32LE(length, 4)
    return header
  }
  yield elementHeader('7FE00010', 'OB', 0xffffffff)
  yield item(0)
  for (const { path, length } of frames) {
    yield item(length + (length & 1))
    yield* bytesOf(path)
    if (length & 1) yield Buffer.alloc(1)
  }
  yield item(0, 0xe0ddfffe)
}

async function* bytesOf(path: string): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
}
