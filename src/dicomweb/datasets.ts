import { randomUUID } from 'node:crypto'
import type { Request, Response } from 'express'
import type { DicomJson } from '../dicom/dicomJson.js'
import { toNativeXml } from '../dicom/nativeXml.js'
import { datasetForm, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'

/** How a client wants data sets; undefined if it takes neither form, and has been told. */
export function formOfDatasets(req: Request, res: Response): 'json' | 'xml' | undefined {
  const form = datasetForm(parseAccept(req.headers.accept))
  if (form) return form
  const detail =
    'results are available as application/dicom+json, and as multipart/related; type="application/dicom+xml"'
  sendProblem(res, { status: 406, title: 'Not Acceptable', detail })
  return undefined
}

/** An array in JSON; in XML each data set in a part, and nothing where there is none (PS3.18 10.6.3.1). */
export function sendDatasets(res: Response, datasets: readonly DicomJson[], form: 'json' | 'xml'): void {
  if (form === 'json') return void res.type('application/dicom+json').send(JSON.stringify(datasets))
  if (datasets.length === 0) return void res.status(204).end()
  const boundary = randomUUID()
  const parts = datasets.map(
    dataset => `--${boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n${toNativeXml(dataset)}\r\n`,
  )
  res
    .set('Content-Type', `multipart/related; type="application/dicom+xml"; boundary=${boundary}`)
    .send(Buffer.from(`${parts.join('')}--${boundary}--\r\n`))
}
