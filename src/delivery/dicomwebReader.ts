import type { Agent, Dispatcher } from 'undici'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import type { StowDestination } from '../platform/endpoints.js'
import { httpAgent } from '../platform/httpAgent.js'
import { authorizationOf } from '../platform/secret.js'

const maxAnswerBytes = 64 * 1024 * 1024
const pageSize = 1000

/** Searches and retrieves from a DICOMweb server (QIDO-RS, WADO-RS; PS3.18 10.6, 10.4). */
export class DicomwebReader {
  private readonly agent: Agent

  constructor(private readonly options: StowDestination['stow']) {
    const timeout = options.timeoutSeconds * 1000
    this.agent = httpAgent({ headersTimeout: timeout, bodyTimeout: timeout, connect: { timeout: 10_000 } })
  }

  /** Studies that match. @throws Error in words, without what was searched for */
  searchStudies(query: Readonly<Record<string, string>>): Promise<DicomJson[]> {
    return this.search(`/studies?${new URLSearchParams(query)}`)
  }

  /** The instances of a study. @throws Error in words */
  async searchInstances(studyInstanceUid: string): Promise<DicomJson[]> {
    const found = new Map<string, DicomJson>()
    // Page by page; a server that knows no pages gives all at once, and nothing new after that.
    for (;;) {
      const before = found.size
      const page = await this.search(`/studies/${studyInstanceUid}/instances?limit=${pageSize}&offset=${before}`)
      for (const instance of page) found.set(textOf(instance, '00080018') ?? '', instance)
      if (page.length < pageSize || found.size === before) return [...found.values()]
    }
  }

  /** Instances as they are stored there, as a multipart body. @param path below the address, for example `/studies/1.2.3` @throws Error in words */
  async retrieve(path: string): Promise<{ contentType: string; body: AsyncIterable<Buffer> }> {
    const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    const { statusCode, headers, body } = await this.get(path, accept)
    if (statusCode === 200 || statusCode === 206) return { contentType: String(headers['content-type'] ?? ''), body }
    await body.dump()
    throw new Error(`WADO-RS was answered with ${statusCode}`)
  }

  close(): Promise<void> {
    return this.agent.destroy()
  }

  private async search(path: string): Promise<DicomJson[]> {
    const { statusCode, body } = await this.get(path, 'application/dicom+json')
    if (statusCode === 204) {
      await body.dump()
      return []
    }
    if (statusCode !== 200) {
      await body.dump()
      throw new Error(`a QIDO-RS search was answered with ${statusCode}`)
    }
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of body) {
      length += (chunk as Buffer).length
      if (length > maxAnswerBytes) throw new Error('the answer to a QIDO-RS search is too long')
      chunks.push(chunk as Buffer)
    }
    const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (!Array.isArray(parsed)) throw new Error('the answer to a QIDO-RS search is no list')
    return parsed as DicomJson[]
  }

  private get(path: string, accept: string): Promise<Dispatcher.ResponseData> {
    const base = new URL(this.options.url)
    return this.agent.request({
      origin: base.origin,
      path: base.pathname.replace(/\/$/, '') + path,
      method: 'GET',
      headers: { Accept: accept, ...authorizationOf(this.options) },
    })
  }
}
