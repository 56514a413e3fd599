import { Agent, type Dispatcher } from 'undici'
import type { DicomJson } from '../dicom/dicomJson.js'
import type { StowDestination } from '../platform/endpoints.js'
import { authorizationOf } from '../platform/secret.js'

const maxAnswerBytes = 16 * 1024 * 1024

/** Searches and retrieves from a DICOMweb server (QIDO-RS, WADO-RS; PS3.18 10.6, 10.4). */
export class DicomwebReader {
  private readonly agent: Agent

  constructor(private readonly options: StowDestination['stow']) {
    const timeout = options.timeoutSeconds * 1000
    this.agent = new Agent({ headersTimeout: timeout, bodyTimeout: timeout, connect: { timeout: 10_000 } })
  }

  /** Studies that match. @throws Error in words, without what was searched for */
  async searchStudies(query: Readonly<Record<string, string>>): Promise<DicomJson[]> {
    const { statusCode, body } = await this.get(`/studies?${new URLSearchParams(query)}`, 'application/dicom+json')
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

  /** All instances of a study as they are stored there, as a multipart body. @throws Error in words */
  async retrieveStudy(studyInstanceUid: string): Promise<{ contentType: string; body: AsyncIterable<Buffer> }> {
    const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    const { statusCode, headers, body } = await this.get(`/studies/${studyInstanceUid}`, accept)
    if (statusCode === 200 || statusCode === 206) return { contentType: String(headers['content-type'] ?? ''), body }
    await body.dump()
    throw new Error(`a study asked for by WADO-RS was answered with ${statusCode}`)
  }

  close(): Promise<void> {
    return this.agent.destroy()
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
